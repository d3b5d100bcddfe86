"""Which files of a folder are pictures that can be read, and which are not."""

from pathlib import Path

from PIL import Image

from .reading import DRAWINGS

_NO_PIXELS = frozenset((*DRAWINGS, "BUFR", "GRIB", "HDF5", "MPEG", "PDF"))
"""Formats that Pillow recognises and does not turn into pixels by itself."""


def picture_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files below a folder: pictures, and everything else; both sorted, hidden files left aside.

    A file counts as a picture when its ending is that of a format that `read_picture` opens, or when it has another
    ending and begins like one. Whether it is whole is seen when it is read.
    """
    pictures: list[Path] = []
    others: list[Path] = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.is_file():
            (pictures if is_picture_file(path) else others).append(path)
    return pictures, others


def is_picture_file(path: Path) -> bool:
    """Whether a file is a picture by its ending, or else by its beginning."""
    Image.init()
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind in Image.OPEN:
        return kind not in _NO_PIXELS
    try:
        with Image.open(path) as opened:
            return opened.format not in _NO_PIXELS
    except Exception:  # whatever Pillow raises, it is no picture
        return False
