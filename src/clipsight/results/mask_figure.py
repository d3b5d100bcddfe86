"""Classes drawn over their picture: filled, outlined, named, and on a sheet with a legend."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import Bool, Integer, UInt8
from PIL import Image
from scipy import ndimage

from . import heat
from .explanation import OVERLAY_SIDE
from .figure import FAINT, GAP, INK, LEAD, MARGIN, NARROWEST, QUIET, SMALL, TITLE, Panel, _Sheet, layout
from .palette import Colour
from .scaling import Number
from .segmentation import NOTHING, Segmentation
from .typeset import Measure, font, readable, title

MOST_NAMES = 40  # in a legend, and written into a picture
SEARCH_SIDE = 480  # places for names are looked for at this size
FINER = 2  # edges are drawn at this scale and made smooth by averaging
ENTRY, SWATCH, LINE = 270, 18, 27
CLEAR = 205  # grey of the swatch of what is not coloured


def draw_overlay(
    segmentation: Segmentation,
    *,
    alpha: Number,
    contours: bool,
    names: bool,
    size: tuple[int, int] | None,
) -> Image.Image:
    """See `Segmentation.overlay`. Errors: ValueError for an alpha outside [0, 1]."""
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha {alpha} is outside [0, 1]; it is the opacity of the areas, such as 0.5.")
    picture = Image.fromarray(segmentation.image)
    if size is None:
        shrink = min(1.0, OVERLAY_SIDE / max(picture.size))
        size = max(round(picture.height * shrink), 1), max(round(picture.width * shrink), 1)
    numbers = _foreground(segmentation)
    colour = _layer(numbers, _table(segmentation), size, alpha, contours)
    drawn = heat.lay_over(heat.fit(picture, size), colour)
    return _named(drawn, segmentation, numbers) if names else drawn


def draw_sheet(segmentation: Segmentation, *, alpha: Number) -> Image.Image:
    """See `Segmentation.grid`."""
    picture = Image.fromarray(segmentation.image)
    columns, width, height = layout(2, picture.width / picture.height)
    cell = max(width, NARROWEST)
    measure = Measure()
    name = readable(segmentation.source) if segmentation.source else "the picture"
    found, asked = len(segmentation.present), len(segmentation.classes) - segmentation.background
    panels = [
        Panel(
            title=measure.wrap(name, font(TITLE, bold=True), cell, 2),
            picture=heat.fit(picture, (height, width)),
        ),
        Panel(
            title=[f"{found} of {asked} names"],
            picture=draw_overlay(segmentation, alpha=alpha, contours=True, names=True, size=(height, width)),
        ),
    ]
    sheet = cell * columns + GAP * (columns - 1)
    plate = _Plate(measure, columns, cell, height, heat.CMAP, alpha, "")
    return plate.plate(panels, _entries(segmentation, alpha), _foot(segmentation, measure, sheet))


def _foreground(segmentation: Segmentation) -> Integer[np.ndarray, "H W"]:
    """Numbers among the coloured classes, -1 for background and nothing."""
    return np.maximum(segmentation.labels.numpy() - int(segmentation.background), -1).astype(np.int32)


def _table(segmentation: Segmentation) -> UInt8[np.ndarray, "C 3"]:
    start = int(segmentation.background)
    return np.array([segmentation.colour(k) for k in range(start, len(segmentation.classes))], np.uint8)


def _layer(
    numbers: Integer[np.ndarray, "H W"],
    table: UInt8[np.ndarray, "C 3"],
    size: tuple[int, int],
    alpha: Number,
    contours: bool,
) -> Image.Image:
    """The RGBA layer at `size` = (H, W): every area in its colour, its outline opaque on its own side."""
    height, width = size
    large = Image.fromarray(numbers).resize((FINER * width, FINER * height), Image.Resampling.NEAREST)
    there = np.asarray(large)
    rgba = np.zeros((*there.shape, 4), np.uint8)
    shown = there >= 0
    rgba[shown, :3] = table[there[shown]]
    rgba[shown, 3] = round(255 * alpha)
    if contours:
        rgba[shown & _edges(there, max(FINER, round(FINER * max(size) / 420))), 3] = 255
    return Image.fromarray(rgba).resize((width, height), Image.Resampling.BOX)


def _edges(numbers: Integer[np.ndarray, "H W"], reach: int) -> Bool[np.ndarray, "H W"]:
    """Pixels no more than `reach` from another class; the border of the picture is no edge."""
    cells = 2 * reach + 1
    highest = ndimage.maximum_filter(numbers, cells, mode="nearest")
    return highest != ndimage.minimum_filter(numbers, cells, mode="nearest")


def _named(picture: Image.Image, segmentation: Segmentation, numbers: np.ndarray) -> Image.Image:
    """The names of the largest areas written where they fit."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke
    from matplotlib.text import Text

    width, height = picture.size
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    figure.set_layout_engine("none")
    canvas = FigureCanvasAgg(figure)
    figure.figimage(np.asarray(picture), origin="upper")
    letters = float(np.clip(max(picture.size) / 38, 11, 26))
    prop, measure, taken = font(letters, bold=True), Measure(), []
    for name in segmentation.present[:MOST_NAMES]:
        words = readable(name)
        wide = measure.width(words, prop) + 0.5 * letters
        mask = numbers == segmentation.index(name) - segmentation.background
        place = _place(mask, (height, width), wide, 1.25 * letters)
        if place is None or any(_touch(place, wide, 1.25 * letters, other) for other in taken):
            continue
        taken.append((*place, wide))
        text = Text(place[0], height - place[1], words, color=INK, fontproperties=prop)
        text.set(horizontalalignment="center", verticalalignment="center_baseline")
        text.set(usetex=False, parse_math=False)
        text.set_path_effects([withStroke(linewidth=letters / 5, foreground="white")])
        figure.add_artist(text)
        text.set_transform(_pixels())
    if not taken:
        return picture
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _pixels():  # noqa: ANN202 - matplotlib is loaded by the first drawing
    from matplotlib.transforms import IdentityTransform

    return IdentityTransform()


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
    place: tuple[float, float], wide: Number, high: Number, other: tuple[float, float, Number]
) -> bool:
    return abs(place[0] - other[0]) < (wide + other[2]) / 2 and abs(place[1] - other[1]) < high


@dataclass(frozen=True)
class _Entry:
    """A line of the legend; no colour is the picture's own grey."""

    name: str
    words: str
    colour: Colour | None


def _entries(segmentation: Segmentation, alpha: Number) -> list[_Entry]:
    made = []
    for k, name in [(segmentation.index(name), name) for name in segmentation.present[:MOST_NAMES]]:
        share, score = float(segmentation.areas[k]), float(segmentation.scores[k])
        made.append(_Entry(title(name, k), f"{_percent(share)} · {score:.2f}", segmentation.colour(k)))
    left = 1 - sum(float(segmentation.areas[segmentation.index(name)]) for name in segmentation.present)
    if left > 1e-6:
        name = readable(segmentation.classes[0]) if segmentation.background else NOTHING
        made.append(_Entry(name, _percent(left), None))
    return made


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 else "< 0.1 %"


def _foot(segmentation: Segmentation, measure: Measure, width: Number) -> list[str]:
    lines = ["Beside each name: its share of the pixels · its mean probability there, among all names."]
    present = set(segmentation.present)
    absent = [name for name in segmentation.classes[int(segmentation.background) :] if name not in present]
    if len(segmentation.present) > MOST_NAMES:
        lines.append(f"{len(segmentation.present) - MOST_NAMES} smaller classes are drawn and not listed.")
    if absent:
        lines.append(f"No pixel: {', '.join(map(readable, absent))}.")
    lines += [segmentation.provenance.line(), *segmentation.notes]
    return [part for line in lines for part in measure.wrap(readable(line), font(SMALL), width, 2)]


class _Plate(_Sheet):
    """A sheet of two pictures over a legend."""

    def plate(self, panels: Sequence[Panel], entries: Sequence[_Entry], foot: Sequence[str]) -> Image.Image:
        """Set the panels, the legend in columns beneath them, and the foot."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.transforms import IdentityTransform

        self.pixels = IdentityTransform()
        rows = [panels[k : k + self.columns] for k in range(0, len(panels), self.columns)]
        inner = self.columns * self.cell + (self.columns - 1) * GAP
        across = max(int((inner + GAP) // (ENTRY + GAP)), 1)
        deep = ceil(len(entries) / across)
        heads = [max(len(p.title) for p in row) * TITLE * LEAD + 8 for row in rows]
        legend = 22 + deep * LINE
        below = 24 + len(foot) * SMALL * LEAD
        self.height = ceil(
            2 * MARGIN + sum(heads) + len(rows) * self.picture + (len(rows) - 1) * GAP + legend + below
        )
        width = inner + 2 * MARGIN
        self.figure = Figure(
            figsize=(width / 72, self.height / 72), dpi=72, facecolor="white", edgecolor="white"
        )
        self.figure.set_layout_engine("none")
        canvas = FigureCanvasAgg(self.figure)
        top = float(MARGIN)
        for row, head in zip(rows, heads, strict=True):
            for column, panel in enumerate(row):
                self._panel(panel, MARGIN + column * (self.cell + GAP), top, head)
            top += head + self.picture + GAP
        top += 22 - GAP
        step = (inner + GAP) / across
        for k, entry in enumerate(entries):
            column, line = divmod(k, deep)
            self._entry(entry, MARGIN + column * step, top + line * LINE, step - GAP)
        top += deep * LINE + 14
        self._rule(MARGIN, top - 8, inner)
        for k, words in enumerate(foot):
            self._text(MARGIN, top + k * SMALL * LEAD + 6, words, SMALL, QUIET if k == 0 else FAINT)
        canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())

    def _entry(self, entry: _Entry, left: Number, top: Number, wide: Number) -> None:
        swatch = np.full((SWATCH, SWATCH, 3), CLEAR, np.uint8)
        if entry.colour is not None:
            swatch[:] = entry.colour
            mixed = (1 - self.alpha) * 150 + self.alpha * np.array(entry.colour)
            swatch[2:-2, 2:-2] = np.round(mixed)
        self._image(left, top, swatch)
        room = wide - SWATCH - 24 - self.measure.width(entry.words, font(SMALL))
        name = self.measure.wrap(entry.name, font(SMALL, bold=True), room, 1)
        self._text(left + SWATCH + 8, top + 1, name[0], SMALL, INK, bold=True)
        self._text(left + wide, top + 1, entry.words, SMALL, QUIET, align="right")
