"""A caption whose words have scores, on one sheet: the picture, the words in colour, a bar for each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from PIL import Image, ImageDraw

from . import typeset
from .layout import (
    FAINT,
    INK,
    QUIET,
    SMALL,
    TITLE,
    Block,
    beside,
    flow,
    glued,
    page,
    paper,
    picture,
    rounded,
    stack,
    text,
)
from .palette import LOWERS, RAISES, signed
from .scaling import Number
from .sheet import MARGIN, rule_block, thumbnail

WIDTH = 1440
PICTURE = (340, 340)  # widest and tallest
CAPTION, CAPTION_LEAD, PAD = 27, 54, 4
ROW = 27
MOST_ROWS, MOST_BESIDE = 40, 20
WHITE = (255, 255, 255)

LEGEND = "underlined: object · ‹ ›: attribute · « »: relation"


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A stretch of the caption: a word with its score as a fraction of the strongest, or what lies between (None).

    `before` and `after` are brackets around it; neighbours of one role share theirs. `dropped` is not seen.
    """

    text: str
    fraction: Number | None = None
    role: str = ""
    before: str = ""
    after: str = ""
    dropped: bool = False
    tip: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the bars: name, role, score in figures and as a fraction of the longest bar, None without a bar."""

    name: str
    role: str
    figure: str
    fraction: Number | None


@dataclass(frozen=True, kw_only=True)
class CaptionFacts:
    """Everything that drawings, pages and terminals say of a caption."""

    image: np.ndarray | None
    headline: str
    summary: str
    stretches: tuple[Stretch, ...]
    rows: tuple[Row, ...]
    roles: bool  # whether words have roles, so that marks need a legend
    strongest: str
    unit: str
    role_line: str
    foils: tuple[str, ...]
    trust: tuple[str, ...]
    dropped: str
    made_by: str
    notes: tuple[str, ...]


def caption_sheet(facts: CaptionFacts) -> Image.Image:
    """The sheet, RGB, 1,440 pixels wide."""
    rows, hidden = strongest_rows(facts.rows)
    apart = len(rows) > MOST_BESIDE
    photo = [] if facts.image is None else [picture(thumbnail(facts.image, PICTURE))]
    right = stack(
        text(facts.headline, TITLE, colour=INK, bold=True, most=2),
        text(facts.summary, most=2),
        paper_of(11),
        strip(facts.stretches),
        text(LEGEND, colour=FAINT) if facts.roles else None,
        None if apart else stack(paper_of(10), bar_rows(rows)),
    )
    deep = ceil(len(rows) / 2)
    below = beside(bar_rows(rows[:deep], rows), bar_rows(rows[deep:], rows), gap=48, shares=(1, 1))
    block = stack(
        beside(*photo, right, gap=40),
        below if apart else None,
        stack(rule_block, text(_foot(facts, hidden), most=3)),
        gap=20,
    )
    return page(block, WIDTH, MARGIN)


def paper_of(height: int) -> Block:
    """Room left free."""
    return lambda width: paper(1, height)


def strip(stretches: Sequence[Stretch], size: int = CAPTION) -> Block:
    """The caption set like a text: each word on the colour of its score, roles marked by line and brackets."""

    def drawn(room: int) -> Image.Image:
        blank = round(typeset.width("a a", size) - typeset.width("aa", size))
        pieces: list[Image.Image | int] = []
        for one in stretches:
            if not one.text.strip():
                pieces.append(blank)
                continue
            for piece in _pieces(one, room, size):
                marks = [_plain(mark, size, FAINT) for mark in (one.before, one.after)]
                pieces.append(
                    glued([marks[0], _chip(one, piece, size), marks[1]], 0, align="top", down=False)
                )
                if one.fraction is None:
                    pieces.append(blank)
        return flow(pieces, 2 * size)(room)

    return drawn


def _pieces(one: Stretch, room: int, size: int) -> list[str]:
    """A word as one piece, or as many as its width asks for; what is not seen word by word, ten at most."""
    shown = typeset.readable(one.text)
    if one.fraction is not None:
        return typeset.wrap(shown, room - 60, 20, size)
    words = shown.split()
    return [*words[:10], *(["…"] if len(words) > 10 else [])]


def _plain(words: str, size: int, colour: str) -> Image.Image:
    out = paper(typeset.width(words, size) if words else 0, 2 * size)
    typeset.write(ImageDraw.Draw(out), (0, round(1.22 * size)), words, size, colour)
    return out


def _chip(one: Stretch, piece: str, size: int) -> Image.Image:
    wide = ceil(typeset.width(piece, size)) + 2 * PAD
    out = paper(wide, 2 * size)
    pen, baseline = ImageDraw.Draw(out), round(1.22 * size)
    if one.fraction is not None:
        rounded(out, (0, 0, wide, round(1.63 * size)), signed(one.fraction, WHITE, 0.75), 6)
    typeset.write(pen, (PAD, baseline), piece, size, FAINT if one.dropped else INK)
    line = round(1.45 * size) if one.role == "object" else round(0.9 * size) if one.dropped else None
    if line:
        pen.line((PAD, line, wide - PAD, line), FAINT if one.dropped else INK, 2)
    return out


def strongest_rows(rows: Sequence[Row]) -> tuple[list[Row], int]:
    """The rows that are drawn, in their order, and how many words are left out: of very long captions the weakest."""
    parts = [row for row in rows if row.fraction is not None]
    kept = {id(row) for row in sorted(parts, key=lambda row: -abs(row.fraction or 0.0))[:MOST_ROWS]}
    shown = [row for row in rows if row.fraction is None or id(row) in kept]
    return shown, len(rows) - len(shown)


def bar_rows(rows: Sequence[Row], scaled: Sequence[Row] | None = None) -> Block:
    """Names, roles, figures, bars around one zero; `scaled`: rows that share the scale."""

    def drawn(room: int) -> Image.Image:
        every = rows if scaled is None else scaled
        parts = [row.fraction for row in every if row.fraction is not None]
        low, high = min((*parts, 0.0)), max((*parts, 0.0))
        widest = max((typeset.width(typeset.readable(r.name), SMALL, bold=True) for r in every), default=0)
        names, roles, digits = min(widest, 0.25 * room), 84 if any(row.role for row in every) else 0, 78
        start = names + 18
        begin = start + roles + digits + 16
        unit = (room - begin) / ((high - low) or 1.0)
        zero = begin - low * unit
        out = paper(room, ROW * max(len(rows), 1) + 8)
        pen = ImageDraw.Draw(out)
        for k, row in enumerate(rows):
            y, bold = k * ROW, row.fraction is not None
            name = typeset.wrap(typeset.readable(row.name), names + 1, 1, SMALL, bold=bold)
            typeset.write(pen, (0, y + 17), "".join(name), SMALL, INK if bold else QUIET, bold=bold)
            typeset.write(pen, (start, y + 17), row.role, SMALL, QUIET)
            right = start + roles + digits - typeset.width(row.figure, SMALL)
            typeset.write(pen, (right, y + 17), row.figure, SMALL, INK)
            if row.fraction is not None:
                end = zero + row.fraction * unit
                box = (min(zero, end), y + 4, max(zero, end, min(zero, end) + 1), y + 19)
                rounded(out, box, RAISES if row.fraction >= 0 else LOWERS, 2)
        if parts:
            pen.line((zero, 0, zero, sum(row.fraction is not None for row in rows) * ROW), QUIET, 1)
        return out

    return drawn


def _foot(facts: CaptionFacts, hidden: int) -> Iterator[str]:
    if facts.roles and facts.role_line:
        yield facts.role_line
    yield (
        f"Orange raises the score, blue lowers it; full colour is the strongest word, {facts.strongest} "
        f"({facts.unit})."
    )
    if hidden:
        yield f"{hidden} further words have no bar here; .json and .html list all."
    if facts.dropped:
        yield "Struck through: not seen, beyond the model's context."
    yield from (*facts.foils, *facts.trust, facts.made_by, *facts.notes)
