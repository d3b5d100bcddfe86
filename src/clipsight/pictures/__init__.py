"""Reading any picture into eight-bit sRGB, upright, or refusing it in one sentence that names it."""

from .ranges import ValueRange
from .reading import PictureSource, picture_name, read_noted, read_picture

__all__ = ["PictureSource", "ValueRange", "picture_name", "read_noted", "read_picture"]
