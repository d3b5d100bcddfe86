"""A folder of entries: content-addressed, checked, bounded, shared by processes, never trusted.

An entry's name is a hash of everything that determines its value (`keys`), so nothing has to be made invalid: what
depends on other weights has another name. An entry begins with a line that states its format, its own name, its length
and the SHA-256 of what follows. One that does not keep to that, because it is damaged, half there, renamed or of
another format, is removed and counted, and is the same as none. Several processes may use a folder at once: a file is
written under a name of its own, then renamed. Texts do not appear in names.

A value is kept in one of two ways: one value for its facts (`get`, `put`), or packs of many small ones that were worked
out under the same facts at different times (`packs`, `add`), such as the features of pictures.
"""

import hashlib
import json
import os
import re
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from clipsight.errors import ClipsightWarning
from clipsight.store.keys import Facts, key_of

_FORMAT = 1
_NAME = re.compile(r"clipsight-[a-z]+-[0-9a-f]{64}(-[0-9a-f]{16})?(\.\w+\.part)?")
"""Names of our files: whatever else lies in the folder is never touched."""
_ABANDONED = 3600.0
"""Seconds after which an unfinished file is one of a process that died."""
_complained: set[Path] = set()


class Store:
    """Values by the facts that determine them; the folder is made when the first one is written.

    Args:
        path: the folder.
        limit: most bytes that it holds; the least recently used entries go first.

    Attributes:
        bad: entries that were damaged, so far, and are worked out again.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self.path, self.limit, self.bad = path, limit, 0

    def get(self, kind: str, facts: Facts) -> bytes | None:
        """The value of these facts, None if there is none that is whole."""
        return self._read(_name(kind, facts))

    def put(self, kind: str, facts: Facts, value: bytes) -> None:
        """Keep a value; what is larger than a quarter of the limit is not kept.

        A folder that cannot be written is warned of once and otherwise the same as none.
        """
        self._write(_name(kind, facts), value)

    def packs(self, kind: str, facts: Facts) -> Iterator[bytes]:
        """All packs that were added under these facts and are whole, in the order of their names."""
        start = f"{_name(kind, facts)}-"
        names = sorted(Path(file).name for _, _, file in self._entries())
        for name in names:
            if name.startswith(start) and not name.endswith(".part"):
                content = self._read(name)
                if content is not None:
                    yield content

    def add(self, kind: str, facts: Facts, value: bytes) -> None:
        """Keep another pack, as `put` does."""
        self._write(f"{_name(kind, facts)}-{hashlib.sha256(value).hexdigest()[:16]}", value)

    def reject(self) -> None:
        """Count a value that was whole and still not what its reader can use."""
        self.bad += 1

    def file_of(self, kind: str, facts: Facts) -> tuple[Path, int]:
        """Where the value of these facts lies, if it is kept: the file, and the byte at which it begins."""
        file = self.path / _name(kind, facts)
        with file.open("rb") as opened:
            return file, len(opened.readline())

    def size(self) -> int:
        """Bytes that the folder holds."""
        return sum(size for _, size, _ in self._entries())

    def _read(self, name: str) -> bytes | None:
        file = self.path / name
        try:
            stored = file.read_bytes()
        except OSError:
            return None
        header, _, content = stored.partition(b"\n")
        if header + b"\n" != _header(name, content):
            self.bad += 1
            with suppress(OSError):  # one that cannot be removed is found damaged again
                file.unlink()
            return None
        with suppress(OSError):  # a folder that may only be read serves as well, its order of use just stays
            os.utime(file)
        return content

    def _write(self, name: str, content: bytes) -> None:
        if len(content) > self.limit // 4:
            return
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._replace(self.path / name, _header(name, content) + content)
            self._shrink()
        except OSError as error:
            if self.path not in _complained:
                _complained.add(self.path)
                warnings.warn(
                    f"the cache {self.path} cannot be written ({error.strerror or error}): what is worked out is kept "
                    "in memory only. Name a folder that can be written (CLIPSIGHT_CACHE, --cache), or turn it off "
                    "(CLIPSIGHT_CACHE=off).",
                    ClipsightWarning,
                    stacklevel=4,
                )

    def _replace(self, file: Path, stored: bytes) -> None:
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


def _name(kind: str, facts: Facts) -> str:
    return f"clipsight-{kind}-{key_of(kind, facts)}"


def _header(name: str, content: bytes) -> bytes:
    said = [_FORMAT, name, len(content), hashlib.sha256(content).hexdigest()]
    return json.dumps(said).encode() + b"\n"
