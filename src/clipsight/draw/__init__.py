"""Drawings: arrays, words and numbers in, pictures out. Knows no result and no model."""

from .caption import LEGEND, CaptionFacts, Row, Stretch, caption_sheet, strip
from .heat import ALPHA, CMAP, Interpolation, is_diverging
from .palette import LOWERS, RAISES, colour, hexadecimal, signed
from .scaling import Number, Scale, ScaleChoice, choose_scale
from .sheet import Panel, arrange, badge, bars, colour_bar, compose, png_bytes, thumbnail
from .wording import number, printable

__all__ = [
    "ALPHA",
    "CMAP",
    "LEGEND",
    "LOWERS",
    "RAISES",
    "CaptionFacts",
    "Interpolation",
    "Number",
    "Panel",
    "Row",
    "Scale",
    "ScaleChoice",
    "Stretch",
    "arrange",
    "badge",
    "bars",
    "caption_sheet",
    "choose_scale",
    "colour",
    "colour_bar",
    "compose",
    "hexadecimal",
    "is_diverging",
    "number",
    "png_bytes",
    "printable",
    "signed",
    "strip",
    "thumbnail",
]
