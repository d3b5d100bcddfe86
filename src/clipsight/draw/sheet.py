"""Pictures side by side on one sheet, each with its title above and its words below: how every verb is drawn."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isfinite

import numpy as np
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from . import heat
from .layout import (
    FAINT,
    INK,
    QUIET,
    SMALL,
    TITLE,
    Block,
    beside,
    page,
    paper,
    picture,
    pill,
    rule,
    stack,
    text,
)
from .scaling import Number, Scale
from .typeset import LEAD, readable, width, wrap, write
from .wording import number

GREEN, AMBER, RED, GREY = "#1a7f4b", "#a86500", "#b3372f", "#6b7480"
MARGIN, GAP, ROW_GAP = 40, 28, 34
SHEET = 1440  # widest sheet
NARROWEST = 248  # a panel narrower than this cannot hold its words
TALLEST = (620, 480, 360)  # pictures in a panel: lower ones when there are several rows
WIDEST_BAR = 700


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One cell of a sheet: a title, a picture, and what stands beneath it."""

    title: str
    picture: Image.Image
    below: tuple[Block, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """How many panels stand in a row, and the pixels of each panel and of its picture."""

    columns: int
    width: int
    height: int

    @property
    def cell(self) -> int:
        """Width of a panel: the picture's, or what its words need."""
        return max(self.width, NARROWEST)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the picture."""
        return self.height, self.width


def arrange(count: int, aspect: Number, columns: int | None = None) -> Arrangement:
    """An arrangement of `count` panels of pictures with width/height `aspect`.

    Takes the one with the largest pictures whose sheet is not much taller than wide, and dislikes
    empty cells and narrow sheets. ValueError when `columns` is below 1.
    """
    if columns is not None and columns < 1:
        raise ValueError(f"columns {columns} is below 1; leave it out to let the sheet choose.")
    best: tuple[tuple[bool, float], Arrangement] | None = None
    for c in [columns] if columns else range(1, min(count, 6) + 1):
        cell = (SHEET - 2 * MARGIN - (c - 1) * GAP) / c
        if cell < NARROWEST and c > 1 and not columns:
            break
        rows = ceil(count / c)
        for tallest in TALLEST:
            wide = min(cell, tallest * aspect)
            high = wide / aspect
            tall = rows * (high + 160 + ROW_GAP)
            within = tall <= 0.8 * SHEET
            used = (c * max(wide, NARROWEST) + (c - 1) * GAP) / (SHEET - 2 * MARGIN)
            merit = wide * high * used**3 * (count / (rows * c)) ** 4 if within else -tall
            choice = Arrangement(columns=c, width=max(round(wide), 1), height=max(round(high), 1))
            if best is None or (within, merit) > best[0]:
                best = (within, merit), choice
    assert best is not None
    return best[1]


def compose(
    panels: Sequence[Panel], foot: Sequence[str], arranged: Arrangement, legend: Block | None = None
) -> Image.Image:
    """The sheet, RGB: panels row by row, a legend, and beneath a line the sentences of the foot."""
    columns, cell = arranged.columns, arranged.cell
    rows = [panels[k : k + columns] for k in range(0, len(panels), columns)]
    inner = cell * columns + GAP * (columns - 1)
    ink, *others = foot
    block = stack(
        stack(*(_row(row, columns) for row in rows), gap=ROW_GAP),
        legend,
        stack(rule_block, text(ink, most=3), text(others, colour=FAINT, most=3), gap=0),
        gap=22,
    )
    return page(block, inner + 2 * MARGIN, MARGIN)


def rule_block(width: int) -> Image.Image:
    """A line with room beneath it."""
    out = paper(width, 10)
    out.paste(rule(width))
    return out


def _row(panels: Sequence[Panel], columns: int) -> Block:
    blank: list[Block] = [lambda width: paper(1, 1)] * (columns - len(panels))
    shares = [1] * columns

    def across(*blocks: Block, align: str = "top") -> Block:
        return beside(*blocks, *blank, gap=GAP, shares=shares, align=align)

    return stack(  # titles sit on their pictures, however many lines they have
        across(
            *(text(p.title, TITLE, colour=INK, bold=True, most=3) for p in panels),
            align="bottom",
        ),
        across(*(picture(p.picture) for p in panels)),
        across(*(stack(*p.below, gap=9) for p in panels)) if any(p.below for p in panels) else None,
        gap=8,
    )


def badge(presence: Number, *, absent: bool = False) -> Block:
    """Presence as a coloured field; "absent" by verdict says so in words, for eyes and prints without colour."""
    if not isfinite(presence):
        return pill("presence not measured", GREY)
    colour = RED if absent else GREEN if presence >= 0.6 else AMBER
    return pill(f"absent · presence {presence:.2f}" if absent else f"presence {presence:.2f}", colour)


def colour_bar(
    scale: Scale, unit: str, wide: int, *, cmap: str = heat.CMAP, alpha: Number = heat.ALPHA
) -> Block:
    """The colours from the bottom of the scale to its top, with the scores at both ends and the unit."""

    def drawn(room: int) -> Image.Image:
        full = min(max(wide, NARROWEST), WIDEST_BAR, room)
        out = paper(full, 13 + SMALL * LEAD)
        pen = ImageDraw.Draw(out)
        baseline = 13 + SMALL
        if scale.flat:
            out.paste(paper(full, 9, GREY))
            write(pen, (0, baseline), f"flat · {unit}", SMALL, QUIET)
            return out
        out.paste(Image.fromarray(heat.bar(scale, full, 9, cmap=cmap, alpha=alpha)))
        low, high = (number(end) if end else "0" for end in (scale.low, scale.high))
        low = f"≤ {low}" if scale.clipped else low
        write(pen, (0, baseline), low, SMALL, QUIET)
        write(pen, (full - width(high, SMALL), baseline), high, SMALL, QUIET)
        middle = (full - width(unit, SMALL)) / 2
        write(pen, (middle, baseline), unit, SMALL, FAINT)
        if scale.low < 0 < scale.high:
            x = full * -scale.low / (scale.high - scale.low)
            pen.line((x, 0, x, 12), INK, 2)
            if abs(x - full / 2) > full / 2 - middle + 8 and min(x, full - x) > 60:
                write(pen, (x - 4, baseline), "0", SMALL, INK)
        return out

    return drawn


def bars(
    rows: Sequence[tuple[str, Number, str, str]], *, mark: Number | None = None, name_width: int = 190
) -> Block:
    """(name, fraction, figure, colour) as horizontal bars from 0 to 1, with a line at `mark`; NaN has no bar."""

    def drawn(room: int) -> Image.Image:
        step, names, digits = 26, min(name_width, room // 3), 62
        out = paper(room, step * len(rows))
        pen, full = ImageDraw.Draw(out), room - names - digits - 20
        for k, (name, fraction, figure, colour) in enumerate(rows):
            shown = "".join(wrap(readable(name), names, 1, SMALL))
            y = k * step
            write(pen, (names - width(shown, SMALL), y + 18), shown, SMALL, INK)
            out.paste(paper(full, 14, "#eef0f2"), (names + 10, y + 6))
            if isfinite(fraction) and fraction > 0:
                out.paste(paper(max(full * min(fraction, 1), 1), 14, colour), (names + 10, y + 6))
            write(pen, (room - width(figure, SMALL), y + 18), figure, SMALL, QUIET)
        if mark is not None:
            x = names + 10 + full * mark
            pen.line((x, 0, x, out.height), INK, 1)
        return out

    return drawn


def png_bytes(image: Image.Image, settings: str) -> bytes:
    """PNG whose text chunk "clipsight" holds `settings` (JSON), so that a drawing carries how it was made."""
    info = PngInfo()
    info.add_text("Software", "clipsight")
    info.add_text("clipsight", settings)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=info, optimize=False)
    return buffer.getvalue()


def thumbnail(image: np.ndarray | Image.Image, most: tuple[int, int]) -> Image.Image:
    """The picture as large as fits into `most` = (W, H) pixels."""
    whole = image if isinstance(image, Image.Image) else Image.fromarray(image)
    shrink = min(most[0] / whole.width, most[1] / whole.height)
    return heat.fit(whole, (max(round(whole.height * shrink), 1), max(round(whole.width * shrink), 1)))
