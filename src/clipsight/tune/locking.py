"""One process at a time writes into a run's folder."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import get_ident

from filelock import FileLock, Timeout

from clipsight.errors import ClipsightError

_NAME = ".lock"
_held: dict[str, int] = {}
"""Folders that this process holds, and the thread that does: what it has locked it may use further inside."""


@contextmanager
def folder_held(folder: Path) -> Iterator[None]:
    """Hold a run's folder, which is made if needed; the system lets go of it when the process ends, however it does.

    The folder itself is locked where the system can do that, else a file `.lock` in it.

    Raises:
        ClipsightError: another run holds it.
    """
    place = os.path.realpath(folder)
    if (holder := _held.get(place)) is not None:
        if holder != get_ident():
            raise _refusal(folder)
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        _held[place] = get_ident()
        try:
            yield
        finally:
            del _held[place]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle: int | None = None
    if sys.platform != "win32":
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise _refusal(folder) from None
        except OSError:  # some network file systems lock no folders
            os.close(handle)
            handle = None
    if handle is not None:
        try:
            yield
        finally:
            os.close(handle)
        return
    lock = FileLock(folder / _NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise _refusal(folder) from None
    try:
        yield
    finally:
        lock.release()
        with suppress(OSError):
            os.unlink(folder / _NAME)


def _refusal(folder: Path) -> ClipsightError:
    return ClipsightError(
        f"another run is writing into {folder}; wait until it has ended, or choose another folder for this one."
    )
