"""Read any picture as upright 8-bit sRGB, or refuse it with an error that names it."""

from .decoding import refusing_broken
from .listing import is_picture_file, picture_files
from .naming import shown
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
    "refusing_broken",
    "shown",
]
