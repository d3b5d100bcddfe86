"""Reading any picture into eight-bit sRGB, upright, or refusing it in one sentence that names it."""

from .reading import PictureSource, picture_name, read_noted, read_picture

__all__ = ["PictureSource", "picture_name", "read_noted", "read_picture"]
