"""What was worked out before, on disk between programs: a folder of small files, bounded, shared, never trusted.

An entry's name is a hash of everything that its content depends on, so nothing has to be made invalid: what depends on
other weights has another name. An entry carries the hash of its content; one that is damaged, half there or gone is the
same as none. Several processes may use a folder at once: a file is written under a name of its own, then renamed. Texts
do not appear in it, neither in names nor in contents.
"""

import hashlib
import os
import re
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Literal

from clipsight.errors import ClipsightWarning

VARIABLE = "CLIPSIGHT_CACHE"
"""Environment variable with the folder; "off" or nothing in it: no cache on disk."""

LIMIT = 256 * 2**20
"""Most bytes that the folder holds."""

_NAME = re.compile(r"clipsight-(texts|weights)-[0-9a-f]{64}(\.\w+\.part)?")
"""Names of our files: whatever else lies in the folder is never touched."""
_DIGEST = 32
_ABANDONED = 3600.0
"""Seconds after which an unfinished file is one of a process that died."""
_complained: set[Path] = set()


def cache_path() -> Path | None:
    """The folder that the environment asks for, None where it says off; it need not exist."""
    said = os.environ.get(VARIABLE)
    if said is not None:
        return None if said.strip().lower() in ("", "off") else Path(said).expanduser()
    home = Path(os.path.expanduser("~"))
    if not home.is_absolute():
        return None  # an account without a home, as in some containers
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "clipsight" / "cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "clipsight"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "clipsight"


def entry_name(kind: Literal["texts", "weights"], *depends: bytes | memoryview) -> str:
    """The name of what depends on these and nothing else."""
    digest = hashlib.sha256()
    for part in depends:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return f"clipsight-{kind}-{digest.hexdigest()}"


def open_cache() -> "DiskCache | None":
    """The cache that the environment asks for, None where it says off."""
    path = cache_path()
    return None if path is None else DiskCache(path)


class DiskCache:
    """A folder of entries; it is made when the first one is written.

    Args:
        path: the folder.
        limit: most bytes that it holds; the least recently used entries go first.
    """

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self.path, self.limit = path, limit

    def read(self, name: str) -> bytes | None:
        """The content of an entry by its `entry_name`, None if there is none that is whole."""
        file = self.path / name
        try:
            stored = file.read_bytes()
        except OSError:
            return None
        content = stored[_DIGEST:]
        if hashlib.sha256(content).digest() != stored[:_DIGEST]:
            return None
        with suppress(OSError):  # a folder that may only be read serves as well, its order of use just stays
            os.utime(file)
        return content

    def write(self, name: str, content: bytes) -> None:
        """Keep an entry; what is larger than a quarter of the folder's limit is not kept.

        A folder that cannot be written is warned of once and otherwise the same as no cache.
        """
        if len(content) > self.limit // 4:
            return
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(self.path / name, hashlib.sha256(content).digest() + content)
            self._shrink()
        except OSError as error:
            if self.path not in _complained:
                _complained.add(self.path)
                warnings.warn(
                    f"the cache {self.path} cannot be written ({error.strerror or error}): what is worked out is kept "
                    f"in memory only. Set {VARIABLE} to a folder that can be written, or to off.",
                    ClipsightWarning,
                    stacklevel=3,
                )

    def size(self) -> int:
        """Bytes that the folder holds."""
        return sum(size for _, size, _ in self._entries())

    def _write(self, file: Path, stored: bytes) -> None:
        handle, temporary = tempfile.mkstemp(prefix=f"{file.name}.", suffix=".part", dir=self.path)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(stored)
            os.replace(temporary, file)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary)
            if not file.is_file():  # another process that holds the same entry open may keep it, on Windows
                raise

    def _shrink(self) -> None:
        """Remove the least recently used entries until the folder is within its limit."""
        entries = self._entries()
        surplus = sum(size for _, size, _ in entries) - self.limit
        for used, size, file in sorted(entries):
            unfinished = file.endswith(".part")
            if unfinished and used > time.time() - _ABANDONED:
                continue
            if unfinished or surplus > 0:
                surplus -= size
                with suppress(OSError):  # another process was faster
                    os.unlink(file)

    def _entries(self) -> list[tuple[float, int, str]]:
        """(last use, bytes, file) of every file of ours."""
        found = []
        with suppress(OSError), os.scandir(self.path) as listing:
            for entry in listing:
                if not _NAME.fullmatch(entry.name):
                    continue
                with suppress(OSError):  # gone since it was listed
                    facts = entry.stat()
                    found.append((facts.st_mtime, facts.st_size, entry.path))
        return found
