"""The picture beside its maps on one sheet, set in pixels: what `explanation.grid()` gives."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, isfinite

import numpy as np
from PIL import Image

from . import heat
from .explanation import Explanation
from .scaling import Number, Scale, ScaleChoice
from .typeset import Measure, font, readable, title
from .wording import number

INK, QUIET, FAINT, RULE = "#16191d", "#4a525b", "#7c858f", "#d5d9de"
GREEN, AMBER, RED, GREY = "#1a7f4b", "#a86500", "#b3372f", "#6b7480"

MARGIN, GAP, ROW_GAP = 40, 28, 34
SHEET = 1440  # widest sheet
NARROWEST = 248  # a panel narrower than this cannot hold its words
TALLEST = (620, 480, 360)  # pictures in a panel: lower ones when there are several rows
WIDEST_BAR = 700
TITLE, SMALL = 21.0, 14.0  # font sizes in pixels, readable when a page shows the sheet at two thirds
LEAD = 1.36  # line height per font size
BAR_SPACE, BADGE_SPACE = 42, 33


@dataclass
class Panel:
    """One cell of the sheet: what stands in it, in reading order."""

    title: list[str]
    picture: Image.Image
    scale: Scale | None = None
    presence: float | None = None
    lines: list[str] = field(default_factory=list)

    @property
    def height_below(self) -> Number:
        """Pixels that the words under the picture need."""
        bar = 0 if self.scale is None else BAR_SPACE
        badge = 0 if self.presence is None else BADGE_SPACE
        return bar + badge + 10 + len(self.lines) * SMALL * LEAD


def layout(count: int, aspect: Number, columns: int | None = None) -> tuple[int, int, int]:
    """(columns, picture width, picture height) in pixels for `count` panels of pictures with width/height `aspect`.

    Takes the arrangement with the largest pictures whose sheet is not much taller than wide, and dislikes
    empty cells and narrow sheets. ValueError when `columns` is below 1.
    """
    if columns is not None and columns < 1:
        raise ValueError(f"columns {columns} is below 1; leave it out to let the sheet choose.")
    best: tuple[tuple[bool, float], tuple[int, int, int]] | None = None
    for c in [columns] if columns else range(1, min(count, 6) + 1):
        cell = (SHEET - 2 * MARGIN - (c - 1) * GAP) / c
        if cell < NARROWEST and c > 1 and not columns:
            break
        rows = ceil(count / c)
        for tallest in TALLEST:
            width = min(cell, tallest * aspect)
            height = width / aspect
            tall = rows * (height + 160 + ROW_GAP)
            within = tall <= 0.8 * SHEET
            used = (c * max(width, NARROWEST) + (c - 1) * GAP) / (SHEET - 2 * MARGIN)
            merit = width * height * used**3 * (count / (rows * c)) ** 4 if within else -tall
            choice = (c, max(round(width), 1), max(round(height), 1))
            if best is None or (within, merit) > best[0]:
                best = (within, merit), choice
    assert best is not None
    return best[1]


def draw_grid(
    explanation: Explanation,
    *,
    scale: ScaleChoice,
    cmap: str,
    alpha: Number,
    columns: int | None,
    interpolation: heat.Interpolation,
) -> Image.Image:
    """The sheet as an RGB picture; see `Explanation.grid`."""
    picture = Image.fromarray(explanation.image)
    count = len(explanation.texts) + 1
    columns, width, height = layout(count, picture.width / picture.height, columns)
    cell = max(width, NARROWEST)
    measure = Measure()
    small = heat.fit(picture, (height, width))
    panels = [_first_panel(explanation, small, measure, cell)]
    scales = [explanation.scale_of(k, scale, cmap=cmap) for k in range(count - 1)]
    for k, own in enumerate(scales):
        scores = explanation.maps[k].numpy()
        colour = heat.layer(scores, own, (height, width), cmap=cmap, alpha=alpha, interpolation=interpolation)
        words = [own.note, explanation.trust[k]]
        panels.append(
            Panel(
                title=measure.wrap(title(explanation.texts[k], k), font(TITLE, bold=True), cell, 3),
                picture=heat.lay_over(small, colour),
                scale=own,
                presence=float(explanation.presence[k]),
                lines=_wrapped([w for w in words if w], measure, cell, 5),
            )
        )
    sheet = cell * columns + GAP * (columns - 1)
    foot = _foot(explanation, scale, scales, measure, sheet)
    return _Sheet(measure, columns, cell, height, cmap, alpha, explanation.provenance.unit).draw(panels, foot)


def _wrapped(sentences: Sequence[str], measure: Measure, width: Number, lines: int) -> list[str]:
    return [line for s in sentences for line in measure.wrap(readable(s), font(SMALL), width, lines)]


def _first_panel(explanation: Explanation, picture: Image.Image, measure: Measure, cell: int) -> Panel:
    height, width = explanation.image.shape[:2]
    name = readable(explanation.source) if explanation.source else "the picture"
    lines = [f"{width} × {height} px"]
    missing = any(not isfinite(p) for p in explanation.presence.tolist())
    if missing and explanation.presence_reason:
        lines.append(f"Presence not measured: {explanation.presence_reason}")
    return Panel(
        title=measure.wrap(name, font(TITLE, bold=True), cell, 3),
        picture=picture,
        lines=_wrapped(lines, measure, cell, 5),
    )


def _foot(
    explanation: Explanation, choice: ScaleChoice, scales: Sequence[Scale], measure: Measure, width: Number
) -> list[str]:
    provenance = explanation.provenance
    how = {"own": "each map on its own scale", "shared": "one scale for all maps"}
    legend = f"Colour: raw score ({provenance.unit}), {how.get(str(choice), 'a given scale')}."
    if any(s.clipped for s in scales):
        low = min(s.low for s in scales if s.clipped)
        because = (
            ": there the contrast fits at least as well" if low == 0 and provenance.contrast != "none" else ""
        )
        legend += f" The picture stays grey at or below {number(low) if low else 'zero'}{because}."
    return _wrapped([legend, provenance.line(), *provenance.notes], measure, width, 3)


class _Sheet:
    """A figure addressed in pixels from its top left corner."""

    def __init__(
        self, measure: Measure, columns: int, cell: int, picture: int, cmap: str, alpha: Number, unit: str
    ) -> None:
        self.measure, self.columns, self.cell, self.picture = measure, columns, cell, picture
        self.cmap, self.alpha, self.unit = cmap, alpha, unit

    def draw(self, panels: Sequence[Panel], foot: Sequence[str]) -> Image.Image:
        """Set all panels row by row and the foot beneath them."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.transforms import IdentityTransform

        self.pixels = IdentityTransform()
        rows = [panels[k : k + self.columns] for k in range(0, len(panels), self.columns)]
        heads = [max(len(p.title) for p in row) * TITLE * LEAD + 8 for row in rows]
        heights = [
            head + self.picture + max(p.height_below for p in row)
            for head, row in zip(heads, rows, strict=True)
        ]
        width = 2 * MARGIN + self.columns * self.cell + (self.columns - 1) * GAP
        below = 22 + len(foot) * SMALL * LEAD
        self.height = ceil(MARGIN + sum(heights) + (len(rows) - 1) * ROW_GAP + below + MARGIN - 10)
        figure = Figure(figsize=(width / 72, self.height / 72), dpi=72, facecolor="white", edgecolor="white")
        figure.set_layout_engine("none")
        canvas = FigureCanvasAgg(figure)
        self.figure = figure
        top = float(MARGIN)
        for row, head, height in zip(rows, heads, heights, strict=True):
            for column, panel in enumerate(row):
                self._panel(panel, MARGIN + column * (self.cell + GAP), top, head)
            top += height + ROW_GAP
        top += 22 - ROW_GAP
        self._rule(MARGIN, top - 10, width - 2 * MARGIN)
        for k, line in enumerate(foot):
            self._text(MARGIN, top + k * SMALL * LEAD + 4, line, SMALL, QUIET if k == 0 else FAINT)
        canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())

    def _panel(self, panel: Panel, left: Number, top: Number, head: Number) -> None:
        unused = head - 8 - len(panel.title) * TITLE * LEAD  # titles sit on their picture
        for k, line in enumerate(panel.title):
            self._text(left, top + unused + k * TITLE * LEAD, line, TITLE, INK, bold=True)
        y = top + head
        self._image(left, y, np.asarray(panel.picture))
        y += self.picture + 10
        if panel.scale is not None:
            self._colour_bar(panel.scale, left, y, panel.picture.width)
            y += BAR_SPACE
        if panel.presence is not None:
            self._badge(panel.presence, left, y)
            y += BADGE_SPACE
        for k, line in enumerate(panel.lines):
            self._text(left, y + k * SMALL * LEAD, line, SMALL, QUIET)

    def _colour_bar(self, scale: Scale, left: Number, top: Number, picture: int) -> None:
        width = min(max(picture, NARROWEST), WIDEST_BAR)
        if scale.flat:
            self._image(left, top, np.full((9, width, 3), 150, np.uint8))
            self._text(left, top + 13, f"flat · {self.unit}", SMALL, QUIET)
            return
        self._image(left, top, heat.bar(width, 9, cmap=self.cmap, alpha=self.alpha))
        low = ("≤ " if scale.clipped else "") + (number(scale.low) if scale.low else "0")
        high = number(scale.high)
        self._text(left, top + 13, low, SMALL, QUIET)
        self._text(left + width, top + 13, high, SMALL, QUIET, align="right")
        self._text(left + width / 2, top + 13, self.unit, SMALL, FAINT, align="center")
        if scale.low < 0 < scale.high:
            x = left + width * -scale.low / (scale.high - scale.low)
            self._zero_mark(x, top, left, left + width)

    def _zero_mark(self, x: Number, top: Number, left: Number, right: Number) -> None:
        from matplotlib.lines import Line2D

        y = self.height - top
        self.figure.add_artist(
            Line2D([x, x], [y + 3, y - 11], color=INK, linewidth=1.4, transform=self.pixels)
        )
        unit = self.measure.width(self.unit, font(SMALL)) / 2 + 8
        if abs(x - (left + right) / 2) > unit and min(x - left, right - x) > 60:
            self._text(x, top + 13, "0", SMALL, INK, align="center")

    def _badge(self, presence: float, left: Number, top: Number) -> None:
        from matplotlib.patches import FancyBboxPatch

        known = isfinite(presence)
        words = f"presence {presence:.2f}" if known else "presence not measured"
        colour = GREY if not known else GREEN if presence >= 0.5 else AMBER if presence >= 0.2 else RED
        width = self.measure.width(words, font(SMALL, bold=True)) + 22
        box = FancyBboxPatch(
            (left, self.height - round(top) - 24), width, 24, boxstyle="round,pad=0,rounding_size=12",
            facecolor=colour, edgecolor="none", linewidth=0, transform=self.pixels,
        )  # fmt: skip
        self.figure.add_artist(box)
        self._text(left + width / 2, top + 4, words, SMALL, "white", bold=True, align="center")

    def _image(self, left: Number, top: Number, pixels: np.ndarray) -> None:
        bottom = self.height - round(top) - pixels.shape[0]
        self.figure.figimage(pixels, xo=round(left), yo=bottom, origin="upper")

    def _rule(self, left: Number, top: Number, width: Number) -> None:
        from matplotlib.lines import Line2D

        y = self.height - round(top) + 0.5
        self.figure.add_artist(
            Line2D([left, left + width], [y, y], color=RULE, linewidth=1, transform=self.pixels)
        )

    def _text(
        self,
        x: Number,
        top: Number,
        words: str,
        size: Number,
        colour: str,
        *,
        bold: bool = False,
        align: str = "left",
    ) -> None:
        from matplotlib.text import Text

        baseline = round(self.height - top - size)
        text = Text(x, baseline, words, color=colour, fontproperties=font(size, bold=bold))
        text.set(horizontalalignment=align, verticalalignment="baseline", transform=self.pixels)
        text.set(usetex=False, parse_math=False)  # a dollar sign is a dollar sign
        self.figure.add_artist(text)


def png_bytes(picture: Image.Image, settings: str) -> bytes:
    """PNG whose text chunk "clipsight" holds `settings` (JSON), so that a figure carries how it was made."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Software", "clipsight")
    info.add_text("clipsight", settings)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=info, optimize=False)
    return buffer.getvalue()
