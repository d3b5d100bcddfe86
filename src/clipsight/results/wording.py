"""Texts of the user made safe to show; they lie in `clipsight.draw`."""

from clipsight.draw.wording import number, printable

__all__ = ["number", "printable"]
