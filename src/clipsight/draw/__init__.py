"""Drawings: arrays, words and numbers in, pictures out. Knows no result and no model."""

from .caption import LEGEND, CaptionFacts, Row, Stretch, caption_sheet, strip
from .drawing import Drawing, dots, stamp
from .heat import ALPHA, CMAP, Interpolation, is_diverging
from .palette import LOWERS, RAISES, colour, hexadecimal, signed
from .scaling import Number, Scale, ScaleChoice, choose_scale
from .sheet import Panel, arrange, badge, bars, colour_bar, compose, png_bytes, thumbnail
from .tiles import Tile, contact_sheet, tile_row
from .wording import number, printable

__all__ = [
    "ALPHA",
    "CMAP",
    "LEGEND",
    "LOWERS",
    "RAISES",
    "CaptionFacts",
    "Drawing",
    "Interpolation",
    "Number",
    "Panel",
    "Row",
    "Scale",
    "ScaleChoice",
    "Stretch",
    "Tile",
    "arrange",
    "badge",
    "bars",
    "caption_sheet",
    "choose_scale",
    "colour",
    "colour_bar",
    "compose",
    "contact_sheet",
    "dots",
    "hexadecimal",
    "is_diverging",
    "number",
    "png_bytes",
    "printable",
    "signed",
    "stamp",
    "strip",
    "thumbnail",
    "tile_row",
]
