"""Write a data set's folder so that it is either complete or unchanged."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OURS = (
    "captions.tsv",
    "images",
    "classes.txt",
    "ImageSets",
    "JPEGImages",
    "SegmentationClass",
    "SegmentationObject",
)
"""Entries of the data sets of this room, beside shards."""


@contextmanager
def replacing_folder(out: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A new folder for a data set: it becomes `out` when the block ends, and is removed if it raises.

    Args:
        out: must not exist or be empty, unless `overwrite` is given and it holds a data set of this room and nothing
            else. What a killed run left beside it is removed.

    Raises:
        FileExistsError: `out` is a file, a symbolic link, or holds something that is kept.
    """
    held = _held(out)
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise FileExistsError(f"{out} exists and is not a folder; give a new name. Nothing was written.")
    if held and not overwrite:
        raise FileExistsError(f"{out} is not empty and was kept; give a new name or pass overwrite=True.")
    if strange := [name for name in held if not _is_ours(name)]:
        raise FileExistsError(
            f"{out} holds {strange[0]!r}, which is not of a data set of the emoji world, and was kept; give a new name."
        )
    made, before = (out.with_name(f".{out.name}.clipsight-{what}") for what in ("new", "old"))
    if before.exists() and not out.exists():
        before.rename(out)  # killed between the two renames below
    for left in (made, before):
        shutil.rmtree(left, ignore_errors=True)
    made.mkdir(parents=True)
    try:
        yield made
        if out.exists():
            out.rename(before)
        made.rename(out)
    finally:
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)


def _held(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def _is_ours(name: str) -> bool:
    return name in OURS or (name.startswith("scenes-") and name.endswith(".tar"))
