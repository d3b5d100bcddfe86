"""PyTorch files that are either whole or absent, and a full disk said in one sentence."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from clipsight.errors import ClipsightError
from clipsight.results import atomic_write

_NO_ROOM = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota of the disk is used up"}


def write_torch(path: str | os.PathLike[str], content: object) -> None:
    """`torch.save` under a name that appears, or is replaced, only when everything is on the disk.

    Raises:
        OSError: the system's, with the file's name.
    """
    with atomic_write(path, overwrite=True) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # Where a write fails in the middle, PyTorch's writer complains of its own position in the first place.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


@contextmanager
def disk_full_said(what: str, kept: str) -> Iterator[None]:
    """Turn a disk that fills up inside the block into one sentence.

    Args:
        what: what was to be written, such as "the model folder runs/cae".
        kept: what is still there, as a sentence without its full stop.

    Raises:
        ClipsightError: in place of the OSError; other errors pass.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise ClipsightError(
            f"{what} could not be written, because {_NO_ROOM[error.errno]}. {kept}; make room and write again."
        ) from error
