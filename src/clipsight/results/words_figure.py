"""A word attribution on one sheet, set in pixels: what `attribution.figure()` gives."""

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from . import heat
from .figure import FAINT, INK, LEAD, MARGIN, QUIET, SMALL, TITLE, _Sheet
from .scaling import Number
from .typeset import Measure, font, readable
from .wording import number
from .words import WordAttribution, WordScore
from .words_drawn import (
    LEGEND,
    LOWERS,
    RAISES,
    figures,
    foil_lines,
    fraction,
    headline,
    in_order,
    kept_apart,
    longest,
    made_by,
    mixed,
    role_line,
    segments,
    summary,
)

if TYPE_CHECKING:
    from matplotlib.font_manager import FontProperties
else:
    FontProperties = Any  # matplotlib is loaded by the first drawing, not by this module

WIDTH = 1440
PICTURE = (340, 340)  # widest and tallest
CAPTION, CAPTION_LEAD = 27.0, 54
ROW, PAD = 27, 4
MOST_ROWS, MOST_BESIDE = 40, 20
PAPER = (255, 255, 255)


@dataclass(frozen=True)
class _Chip:
    """A stretch of the caption where it stands on the sheet."""

    text: str
    left: Number
    line: int
    width: Number
    part: WordScore | None
    dropped: bool
    bracket: bool = False


@dataclass(frozen=True)
class _Row:
    """A line of the bars: name, role, number and the signed fraction of the strongest, None without a bar."""

    name: str
    role: str
    score: float | int
    part: float | None


def draw(attribution: WordAttribution) -> Image.Image:
    """The sheet as an RGB picture; see `WordAttribution.figure`."""
    return _Words(Measure(), 1, WIDTH, 0, heat.CMAP, 1.0, attribution.unit).sheet(attribution)


class _Words(_Sheet):
    """Picture, coloured caption, bars, foot."""

    def sheet(self, attribution: WordAttribution) -> Image.Image:
        """Set everything."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.transforms import IdentityTransform

        self.pixels = IdentityTransform()
        photo = None if attribution.image is None else _fitted(attribution.image)
        left = MARGIN if photo is None else MARGIN + photo.width + 40
        room = WIDTH - MARGIN - left
        title = self.measure.wrap(readable(headline(attribution)), font(TITLE, bold=True), room, 2)
        chips, lines = self._set(attribution, room)
        rows, hidden = _rows(attribution)
        across = 2 if len(rows) > MOST_BESIDE else 1
        deep = ceil(len(rows) / across)
        head = len(title) * TITLE * LEAD + 30
        beside = head + lines * CAPTION_LEAD + (26 if attribution.roles_by else 6)
        if across == 1:
            beside += deep * ROW + 14
        top = max(beside, 0 if photo is None else photo.height + 10)
        below = deep * ROW + 20 if across == 2 else 0
        foot = [
            line
            for said in self._foot(attribution, hidden)
            for line in self.measure.wrap(readable(said), font(SMALL), WIDTH - 2 * MARGIN, 3)
        ]
        self.height = ceil(MARGIN + top + below + 30 + len(foot) * SMALL * LEAD + MARGIN - 10)
        self.figure = Figure(
            figsize=(WIDTH / 72, self.height / 72), dpi=72, facecolor="white", edgecolor="white"
        )
        self.figure.set_layout_engine("none")
        canvas = FigureCanvasAgg(self.figure)
        if photo is not None:
            self._image(MARGIN, MARGIN, np.asarray(photo))
        for k, line in enumerate(title):
            self._text(left, MARGIN + k * TITLE * LEAD, line, TITLE, INK, bold=True)
        self._text(left, MARGIN + len(title) * TITLE * LEAD, readable(summary(attribution)), SMALL, QUIET)
        y = MARGIN + head
        for chip in chips:
            self._chip(chip, left, y, attribution.strongest)
        y += lines * CAPTION_LEAD
        if attribution.roles_by:
            self._text(left, y - 4, LEGEND, SMALL, FAINT)
            y += 22
        parts = [row.part for row in rows if row.part is not None]
        names = max(self.measure.width(row.name, font(SMALL, bold=True)) for row in rows)
        roles = 84 if any(row.role for row in rows) else 0
        reach = min(names, 0.25 * room / across), roles, min((*parts, 0.0)), max((*parts, 0.0))
        if across == 1:
            self._bars(rows, left, y + 8, room, reach, attribution.strongest)
        else:
            y = MARGIN + top
            wide = (WIDTH - 2 * MARGIN - 48) / 2
            for k, some in enumerate((rows[:deep], rows[deep:])):
                self._bars(some, MARGIN + k * (wide + 48), y, wide, reach, attribution.strongest)
        y = MARGIN + top + below + 16
        self._rule(MARGIN, y - 6, WIDTH - 2 * MARGIN)
        for k, line in enumerate(foot):
            self._text(MARGIN, y + 6 + k * SMALL * LEAD, line, SMALL, QUIET)
        canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())

    def _set(self, attribution: WordAttribution, room: Number) -> tuple[list[_Chip], int]:
        """The caption broken into lines, parts never apart from their brackets."""
        prop, blank = (
            font(CAPTION),
            self.measure.width("a a", font(CAPTION)) - self.measure.width("aa", font(CAPTION)),
        )
        chips: list[_Chip] = []
        x, line = 0.0, 0
        for one in segments(attribution):
            if not one.text.strip():
                x += blank if x else 0
                continue
            sides = [self.measure.width(mark, prop) if mark else 0.0 for mark in (one.before, one.after)]
            for piece in self._pieces(readable(one.text), room, prop, whole=one.part is not None):
                width = self.measure.width(piece, prop) + 2 * PAD
                if x and x + width + sum(sides) > room:
                    x, line = 0.0, line + 1
                if one.before:
                    chips.append(_Chip(one.before, x, line, sides[0], None, False, bracket=True))
                chips.append(_Chip(piece, x + sides[0], line, width, one.part, one.dropped))
                x += sides[0] + width
                if one.after:
                    chips.append(_Chip(one.after, x, line, sides[1], None, False, bracket=True))
                x += sides[1] + (0 if one.part else blank)
        return chips, line + 1

    def _pieces(self, text: str, room: Number, prop: FontProperties, *, whole: bool) -> list[str]:
        """A part as one piece, or as many as its width asks for; what is not seen word by word, ten at most."""
        if whole:
            return self.measure.wrap(text, prop, room - 60, 20)
        words = text.split()
        return [*words[:10], *(["…"] if len(words) > 10 else [])]

    def _chip(self, chip: _Chip, left: Number, top: Number, strongest: float) -> None:
        y = top + chip.line * CAPTION_LEAD
        x = left + chip.left
        if chip.bracket or chip.part is None:
            colour = FAINT if chip.bracket or chip.dropped else INK
            self._text(x + (0 if chip.bracket else PAD), y + 6, chip.text, CAPTION, colour)
            if chip.dropped:
                self._line(x + PAD, y + 6 + 0.68 * CAPTION, chip.width - 2 * PAD, FAINT, 1.5)
            return
        part = fraction(chip.part.score, strongest)
        self._box(x, y, chip.width, 44, mixed(part, PAPER, 0.75))
        self._text(x + PAD, y + 6, chip.text, CAPTION, INK)
        if chip.part.role == "object":
            self._line(x + PAD, y + 39, chip.width - 2 * PAD, INK, 2.2)

    def _bars(
        self,
        rows: list[_Row],
        left: Number,
        top: Number,
        room: Number,
        layout: tuple[Number, Number, float, float],
        strongest: float,
    ) -> None:
        """Names, roles, numbers, bars around one zero; `layout`: widths of names and roles, lowest, highest bar."""
        names, roles, low, high = layout
        start, digits = left + names + 18, 78
        begin = start + roles + digits + 16
        scale = (left + room - begin) / ((high - low) or 1.0)
        zero = begin - low * scale
        for k, row in enumerate(rows):
            y = top + k * ROW
            name = self.measure.wrap(row.name, font(SMALL, bold=True), names + 1, 1)
            self._text(
                left,
                y + 3,
                name[0] if name else "",
                SMALL,
                QUIET if row.part is None else INK,
                bold=row.part is not None,
            )
            if row.role:
                self._text(start, y + 3, row.role, SMALL, QUIET)
            self._text(
                start + roles + digits, y + 3, figures(row.score, strongest), SMALL, INK, align="right"
            )
            if row.part is not None:
                wide = abs(row.part) * scale
                colour = RAISES if row.part >= 0 else LOWERS
                self._box(zero if row.part >= 0 else zero - wide, y + 4, max(wide, 1), 15, colour, round_by=2)
        if rows:
            self._line(zero, top, 0, QUIET, 1, down=sum(row.part is not None for row in rows) * ROW)

    def _foot(self, attribution: WordAttribution, hidden: int) -> list[str]:
        lines = [role_line(attribution)] if attribution.roles_by else []
        lines.append(
            "Orange raises the score, blue lowers it; full colour is the strongest word, "
            f"{number(attribution.strongest)} ({attribution.unit})."
        )
        if hidden:
            lines.append(f"{hidden} further words have no bar here; .json and .html list all.")
        if attribution.dropped:
            lines.append("Struck through: not seen, beyond the model's context.")
        return [
            *lines,
            *foil_lines(attribution),
            *attribution.trust,
            made_by(attribution),
            *attribution.provenance.notes,
        ]

    def _box(
        self,
        left: Number,
        top: Number,
        width: Number,
        height: Number,
        colour: tuple[int, int, int],
        round_by: Number = 6,
    ) -> None:
        from matplotlib.patches import FancyBboxPatch

        radius = min(round_by, width / 2, height / 2)
        box = FancyBboxPatch(
            (left, self.height - top - height), width, height, boxstyle=f"round,pad=0,rounding_size={radius}",
            facecolor=[c / 255 for c in colour], edgecolor="none", linewidth=0, transform=self.pixels,
        )  # fmt: skip
        self.figure.add_artist(box)

    def _line(
        self, left: Number, top: Number, width: Number, colour: str, thick: Number, down: Number = 0
    ) -> None:
        from matplotlib.lines import Line2D

        y = self.height - top
        self.figure.add_artist(
            Line2D([left, left + width], [y, y - down], color=colour, linewidth=thick, transform=self.pixels)
        )


def _rows(attribution: WordAttribution) -> tuple[list[_Row], int]:
    """A row for each word, then phrases, then what is kept apart; of very long captions the strongest words."""
    parts, reach = in_order(attribution), longest(attribution)
    kept = {id(one) for one in sorted(parts, key=lambda one: -abs(fraction(one.score, reach)))[:MOST_ROWS]}
    shown = [one for one in parts if id(one) in kept]
    listed = [*((one, one.role) for one in shown), *((one, "asked") for one in attribution.spans)]
    rows = [_Row(readable(one.text), role, one.score, fraction(one.score, reach)) for one, role in listed]
    rows += [_Row(name, "", score, None) for name, score in kept_apart(attribution)]
    return rows, len(parts) - len(shown)


def _fitted(image: np.ndarray) -> Image.Image:
    picture = Image.fromarray(image)
    shrink = min(PICTURE[0] / picture.width, PICTURE[1] / picture.height)
    return heat.fit(picture, (max(round(picture.height * shrink), 1), max(round(picture.width * shrink), 1)))
