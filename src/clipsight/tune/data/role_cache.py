"""Roles of captions by an extractor, found once and kept: in a file that several processes may use at a time.

Captions do not appear in the file, only their hashes; an entry belongs to one extractor and one version of it.
"""

import json
import sqlite3
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from hashlib import blake2b
from pathlib import Path

from clipsight.errors import ClipsightWarning
from clipsight.roles.extract import CaptionRoles, Role, extract_roles
from clipsight.tune.data.example import RoleSpan
from clipsight.tune.data.options import Progress
from clipsight.tune.data.processes import in_processes

Spans = tuple[RoleSpan, ...]

FILE = "roles.sqlite3"
_ASKED: tuple[Role, ...] = ("object", "attribute", "relation")
_CHUNK = 2000
_AT_ONCE = 500
"""Hashes in one question to the file."""
_PATIENCE = 60.0
"""Seconds to wait while another process writes."""


def phrases_of(found: CaptionRoles) -> Spans:
    """The phrases of a caption that have a role, in order; neighbouring words of one role are one phrase."""
    return tuple(sorted((start, end, role) for role in _ASKED for start, end in found.spans(role)))


def cached_roles(
    captions: Sequence[str],
    extractor: str,
    *,
    cache: Path | None = None,
    processes: int = 1,
    progress: Progress | None = None,
) -> tuple[list[Spans], str]:
    """The phrases with a role of each caption, and the extractor's version.

    Args:
        captions: repeated ones are read once. extractor: id, see `clipsight.roles.extract`.
        cache: folder of the file; None keeps nothing. A file that cannot be used is warned of, and nothing is kept.
        processes: how many read captions. progress: told of captions that are not in the file.

    Raises:
        Unsupported: the extractor's package is not installed.
    """
    version = extract_roles("a red dog", extractor).version
    hashes = {caption: blake2b(caption.encode(), digest_size=16).digest() for caption in captions}
    known: dict[bytes, Spans] = {}
    store = None if cache is None else _Store(cache / FILE, f"{extractor} {version}")
    if store is not None:
        known.update(store.read(hashes.values()))
    missing = [caption for caption, mark in hashes.items() if mark not in known]
    jobs = [missing[start : start + _CHUNK] for start in range(0, len(missing), _CHUNK)]
    done = 0
    found = in_processes(partial(_read, extractor=extractor), jobs, processes)
    for job, spans in zip(jobs, found, strict=True):
        new = {hashes[caption]: one for caption, one in zip(job, spans, strict=True)}
        known.update(new)
        if store is not None:
            store.write(new)
        done += len(job)
        if progress is not None:
            progress("roles", done, len(missing))
    return [known[hashes[caption]] for caption in captions], version


def _read(captions: Sequence[str], extractor: str) -> list[Spans]:
    return [phrases_of(extract_roles(caption, extractor)) for caption in captions]


class _Store:
    """The file's entries of one extractor and version.

    Args:
        path: of the file; it and its folder are made. owner: extractor and version.
    """

    def __init__(self, path: Path, owner: str) -> None:
        self._path, self._owner, self._usable = path, owner, True

    def read(self, marks: Iterable[bytes]) -> dict[bytes, Spans]:
        """Those of the hashes that have an entry."""
        known: dict[bytes, Spans] = {}
        try:
            with closing(self._opened()) as file:
                for some in _several(list(marks)):
                    slots = ",".join("?" * len(some))
                    rows = file.execute(
                        f"SELECT mark, spans FROM roles WHERE owner = ? AND mark IN ({slots})",
                        (self._owner, *some),
                    )
                    known.update((mark, _spans(written)) for mark, written in rows)
        except (sqlite3.Error, OSError, ValueError) as error:
            self._give_up(error)
            return {}
        return known

    def write(self, new: dict[bytes, Spans]) -> None:
        """Add entries, all or none."""
        if not self._usable:
            return
        rows = [(self._owner, mark, json.dumps(spans)) for mark, spans in new.items()]
        try:
            with closing(self._opened()) as file, file:
                file.executemany("INSERT OR REPLACE INTO roles VALUES (?, ?, ?)", rows)
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def _opened(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = sqlite3.connect(self._path, timeout=_PATIENCE)
        try:
            file.execute(
                "CREATE TABLE IF NOT EXISTS roles "
                "(owner TEXT, mark BLOB, spans TEXT, PRIMARY KEY (owner, mark)) WITHOUT ROWID"
            )
        except sqlite3.Error:
            file.close()
            raise
        return file

    def _give_up(self, error: Exception) -> None:
        self._usable = False
        warnings.warn(
            f"roles cannot be kept in {self._path} ({error}): they are found anew each time. Remove that file, or name "
            "a cache folder that can be written.",
            ClipsightWarning,
            stacklevel=4,
        )


def _several(marks: list[bytes]) -> Iterator[list[bytes]]:
    for start in range(0, len(marks), _AT_ONCE):
        yield marks[start : start + _AT_ONCE]


def _spans(written: str) -> Spans:
    return tuple((int(start), int(end), str(role)) for start, end, role in json.loads(written))
