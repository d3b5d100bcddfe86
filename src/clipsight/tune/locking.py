"""One process at a time writes into a run's folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from clipsight.errors import ClipsightError

LOCK = ".lock"
_held: set[str] = set()
"""Folders that this process holds: what it has locked it may use further inside."""


@contextmanager
def folder_held(folder: Path) -> Iterator[None]:
    """Hold a run's folder, which is made if needed; the system lets go of it when the process ends, however it does.

    Raises:
        ClipsightError: another run holds it.
    """
    place = os.path.realpath(folder)
    if place in _held:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ClipsightError(
            f"another run is writing into {folder}; wait until it has ended, or choose another folder for this one."
        ) from None
    _held.add(place)
    try:
        yield
    finally:
        _held.discard(place)
        lock.release()
