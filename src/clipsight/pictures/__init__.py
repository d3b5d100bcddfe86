"""Reading any picture into eight-bit sRGB, upright, or refusing it in one sentence that names it."""

from .listing import is_picture_file, picture_files
from .ranges import ValueRange
from .reading import PictureSource, picture_name, read_noted, read_picture

__all__ = [
    "PictureSource",
    "ValueRange",
    "is_picture_file",
    "picture_files",
    "picture_name",
    "read_noted",
    "read_picture",
]
