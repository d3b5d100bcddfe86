"""Colours of classes: told apart by people of any colour vision up to twenty, generated beyond.

The first seven are the colours of Okabe and Ito (Color Universal Design, 2008). The other thirteen were chosen one
after the other, each as far as possible from all before it, in CIELAB as seen with full colour vision, without red
cones and without green cones (Machado, Oliveira and Fernandes 2009): any two of the twenty differ by 17 or more in
each of them.
"""

import colorsys
from functools import lru_cache

Colour = tuple[int, int, int]

DISTINCT = (
    "0072B2", "E69F00", "009E73", "CC79A7", "56B4E9", "D55E00", "F0E442", "0000FF", "AAFFAA", "881111",
    "7766FF", "663355", "77FFFF", "2233AA", "66BB66", "99DDBB", "CCEE77", "771177", "6699FF", "774444",
)  # fmt: skip

_GOLDEN = 0.6180339887498949
_TONES = ((0.65, 0.9), (0.9, 0.6), (0.4, 0.75), (0.95, 0.95), (0.5, 0.5))


@lru_cache(maxsize=4096)
def colour(index: int) -> Colour:
    """RGB in 0…255 of the class with this number among the foreground classes; the same in every drawing.

    From the twentieth on hues turn by the golden angle through five tones: no two of the first 255 are equal, but so
    many cannot all be told apart. Names are written beside them.
    """
    if index < len(DISTINCT):
        value = DISTINCT[index]
        return int(value[:2], 16), int(value[2:4], 16), int(value[4:], 16)
    saturation, brightness = _TONES[index % len(_TONES)]
    r, g, b = colorsys.hsv_to_rgb(index * _GOLDEN % 1, saturation, brightness)
    return round(255 * r), round(255 * g), round(255 * b)


def hexadecimal(value: Colour) -> str:
    """As in style sheets: "#0072B2"."""
    return "#{:02X}{:02X}{:02X}".format(*value)
