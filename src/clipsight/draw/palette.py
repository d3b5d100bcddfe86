"""Colours of classes: thirty that people of any colour vision tell apart; after them the same thirty, hatched.

The first seven are the colours of Okabe and Ito (Color Universal Design, 2008). The others were chosen one after the
other, each as far as possible from all before it, in CIELAB as seen with full colour vision, without red cones and
without green cones (Machado, Oliveira and Fernandes 2009): in each of them any two of the first twenty differ by 17 or
more, any two of the thirty by 14 or more.
"""

import numpy as np
from jaxtyping import Bool, Integer

Colour = tuple[int, int, int]

DISTINCT = (
    "0072B2", "E69F00", "009E73", "CC79A7", "56B4E9", "D55E00", "F0E442", "0000FF", "AAFFAA", "881111",
    "7766FF", "663355", "77FFFF", "2233AA", "66BB66", "99DDBB", "CCEE77", "771177", "6699FF", "774444",
    "550011", "CC4433", "0000BB", "331144", "55CCDD", "2266CC", "3344EE", "330077", "557777", "339955",
)  # fmt: skip
RAISES, LOWERS = (213, 94, 0), (0, 114, 178)
"""Colours of positive and negative scores, of Okabe and Ito: told apart by people of any colour vision."""

_SLOPES = ((1, 1), (1, -1), (1, 0), (0, 1))


def colour(index: int) -> Colour:
    """RGB in 0…255 of the class with this number among the foreground classes; the same in every drawing."""
    value = DISTINCT[index % len(DISTINCT)]
    return int(value[:2], 16), int(value[2:4], 16), int(value[4:], 16)


def hatching(index: int) -> int:
    """Which stripes lie over a class's colour, 0 for none: with its colour it is no other class's."""
    return max(index, 0) // len(DISTINCT)


def hatched(numbers: Integer[np.ndarray, "H W"], period: int) -> Bool[np.ndarray, "H W"]:
    """Where the stripes of each pixel's class let the picture through; stripes come every `period` pixels or wider."""
    styles = np.maximum(numbers, 0) // len(DISTINCT)
    out = np.zeros(numbers.shape, bool)
    down, across = np.ogrid[: numbers.shape[0], : numbers.shape[1]]
    for style in np.unique(styles[styles > 0]).tolist():
        cycle, slope = divmod(style - 1, len(_SLOPES))
        every = period * (cycle + 1)
        a, b = _SLOPES[slope]
        out |= (styles == style) & ((a * down + b * across) % every < period // 2)
    return out


def hexadecimal(value: Colour) -> str:
    """As in style sheets: "#0072B2"."""
    return "#{:02X}{:02X}{:02X}".format(*value)


def signed(fraction: float | int, paper: Colour, most: float | int) -> Colour:
    """The colour of a score from -1 to 1 of the strongest on paper; `most` is its opacity at full strength."""
    opacity = most * abs(fraction)
    own = RAISES if fraction >= 0 else LOWERS
    r, g, b = (round((1 - opacity) * p + opacity * c) for p, c in zip(paper, own, strict=True))
    return r, g, b
