"""Classes drawn over their picture: filled, outlined, named, and listed in a legend."""

from collections.abc import Sequence
from math import ceil

import numpy as np
from jaxtyping import Bool, Integer
from PIL import Image, ImageDraw
from scipy import ndimage

from . import heat
from .layout import INK, QUIET, SMALL, Block, paper
from .palette import Colour, colour, hatched
from .scaling import Number
from .typeset import readable, width, wrap, write

SEARCH_SIDE = 480  # places for names are looked for at this size
FINER = 2  # edges are drawn at this scale and made smooth by averaging
ENTRY, SWATCH, LINE = 270, 18, 27
CLEAR = (205, 205, 205)  # the swatch of what is not coloured
BLACK = 60  # of the picture under areas, which would hide it if it were paler


def layer(
    numbers: Integer[np.ndarray, "H W"], size: tuple[int, int], *, alpha: Number, contours: bool
) -> Image.Image:
    """The RGBA layer at `size` = (H, W): every area in its colour, its outline opaque on its own side.

    Args:
        numbers: of the coloured classes from 0; -1 where nothing is drawn.
        size: of the layer.
        alpha: opacity of the areas.
        contours: whether outlines are drawn.

    Raises:
        ValueError: an alpha outside [0, 1].
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha {alpha} is outside [0, 1]; it is the opacity of the areas, such as 0.5.")
    high, wide = size
    large = Image.fromarray(numbers.astype(np.int32)).resize(
        (FINER * wide, FINER * high), Image.Resampling.NEAREST
    )
    there = np.asarray(large)
    shown = there >= 0
    table = np.array([colour(k) for k in range(int(there.max(initial=0)) + 1)], np.uint8)
    reach = max(FINER, round(FINER * max(size) / 420))
    rgba = np.zeros((*there.shape, 4), np.uint8)
    rgba[shown, :3] = table[there[shown]]
    rgba[shown, 3] = round(255 * alpha)
    rgba[shown & hatched(there, 4 * reach), 3] = 0
    if contours:
        rgba[shown & _edges(there, reach), 3] = 255
    return Image.fromarray(rgba).resize((wide, high), Image.Resampling.BOX)


def _edges(numbers: Integer[np.ndarray, "H W"], reach: int) -> Bool[np.ndarray, "H W"]:
    """Pixels no more than `reach` from another class; the border of the picture is no edge."""
    cells = 2 * reach + 1
    highest = ndimage.maximum_filter(numbers, cells, mode="nearest")
    return highest != ndimage.minimum_filter(numbers, cells, mode="nearest")


def overlay(
    image: Image.Image,
    numbers: Integer[np.ndarray, "H W"],
    names: Sequence[tuple[int, str]],
    size: tuple[int, int],
    *,
    alpha: Number,
    contours: bool,
) -> Image.Image:
    """The greyed picture at `size` = (H, W) with its classes, and `names` (number, text) written where they fit."""
    drawn = heat.lay_over(heat.fit(image, size), layer(numbers, size, alpha=alpha, contours=contours), BLACK)
    pen, taken = ImageDraw.Draw(drawn), []
    letters = float(np.clip(max(size) / 38, 11, 26))
    for number, name in names:
        words = readable(name)
        wide, high = width(words, letters, bold=True) + 0.5 * letters, 1.25 * letters
        place = _place(numbers == number, size, wide, high)
        if place is None or any(_touch(place, wide, high, other) for other in taken):
            continue
        taken.append((*place, wide))
        left, baseline = place[0] - wide / 2 + 0.25 * letters, place[1] + 0.36 * letters
        write(pen, (left, baseline), words, letters, INK, bold=True, halo=(round(letters / 10), "white"))
    return drawn


def _place(
    mask: Bool[np.ndarray, "H W"], size: tuple[int, int], wide: Number, high: Number
) -> tuple[float, float] | None:
    """(x, y) of the middle of a name at the innermost point of its area, None where it has no room."""
    scale = min(1.0, SEARCH_SIDE / max(size))
    across, down = max(round(size[1] * scale), 1), max(round(size[0] * scale), 1)
    seen = np.asarray(Image.fromarray(mask).resize((across, down), Image.Resampling.NEAREST))
    depth = np.asarray(ndimage.distance_transform_edt(np.pad(seen, 1)))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    if 2.2 * depth[row, column] < scale * high:
        return None
    line = seen[row]
    gaps = np.flatnonzero(~line)
    left = gaps[gaps < column].max(initial=-1) + 1
    right = gaps[gaps > column].min(initial=len(line))
    if 1.1 * (right - left) < scale * wide:
        return None
    middle = float(np.clip((left + right) / 2 / scale, wide / 2, max(size[1] - wide / 2, wide / 2)))
    return middle, (float(row) + 0.5) / scale


def _touch(
    place: tuple[Number, Number], wide: Number, high: Number, other: tuple[Number, Number, Number]
) -> bool:
    return abs(place[0] - other[0]) < (wide + other[2]) / 2 and abs(place[1] - other[1]) < high


def legend(entries: Sequence[tuple[str, str, int | None]], *, alpha: Number, gap: int) -> Block:
    """(name, figures, number of the class or None for the picture's own grey) in columns."""

    def drawn(room: int) -> Image.Image:
        across = max((room + gap) // (ENTRY + gap), 1)
        deep, step = ceil(len(entries) / across), (room + gap) / across
        out = paper(room, deep * LINE)
        for k, entry in enumerate(entries):
            column, line = divmod(k, deep)
            _entry(out, entry, round(column * step), line * LINE, step - gap, alpha)
        return out

    return drawn


def _entry(
    out: Image.Image, entry: tuple[str, str, int | None], left: int, top: int, wide: Number, alpha: Number
) -> None:
    name, figures, number = entry
    out.paste(swatch(number, alpha), (left, top))
    pen, measured = ImageDraw.Draw(out), width(figures, SMALL)
    shown = wrap(readable(name), wide - SWATCH - 24 - measured, 1, SMALL, bold=True)
    write(pen, (left + SWATCH + 8, top + SMALL + 1), "".join(shown), SMALL, INK, bold=True)
    write(pen, (left + wide - measured, top + SMALL + 1), figures, SMALL, QUIET)


def swatch(number: int | None, alpha: Number) -> Image.Image:
    """A square as a class looks on a mid-grey picture, with its outline; a clear one for None."""
    square = Image.new("RGB", (SWATCH, SWATCH), CLEAR)
    if number is None:
        return square
    shown = layer(np.full((SWATCH, SWATCH), number), (SWATCH, SWATCH), alpha=alpha, contours=False)
    inner = Image.new("RGB", (SWATCH, SWATCH), (150, 150, 150))
    inner.paste(shown.convert("RGB"), mask=shown.getchannel("A"))
    own: Colour = colour(number)
    square.paste(own, (0, 0, SWATCH, SWATCH))
    square.paste(inner.crop((2, 2, SWATCH - 2, SWATCH - 2)), (2, 2))
    return square
