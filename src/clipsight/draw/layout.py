"""Sheets put together from blocks: a width goes down to each block, a picture as high as it needs comes back."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from math import ceil

from PIL import Image, ImageDraw

from . import typeset
from .scaling import Number

Block = Callable[[int], Image.Image]
"""What may stand on a sheet: from the pixels it may be wide to its picture, RGB on white paper, no wider than that."""

PAPER, INK, QUIET, FAINT, RULE = "#ffffff", "#16191d", "#4a525b", "#7c858f", "#d5d9de"
TITLE, SMALL = 21, 14  # letters in pixels, readable when a page shows a sheet of 1,440 pixels at two thirds
FINER = 4  # round corners are drawn at this scale and made smooth by averaging


def paper(width: Number, height: Number, colour: str = PAPER) -> Image.Image:
    """An empty sheet of at least one pixel."""
    return Image.new("RGB", (max(ceil(width), 1), max(ceil(height), 1)), colour)


def picture(image: Image.Image) -> Block:
    """A picture as it is."""
    return lambda width: image


def text(
    words: str | Iterable[str],
    size: Number = SMALL,
    *,
    colour: str = QUIET,
    bold: bool = False,
    most: int = 99,
    align: str = "left",
) -> Block:
    """Sentences, each from a new line and of at most `most` lines; `readable` makes them safe to draw."""
    sentences = [words] if isinstance(words, str) else list(words)

    def drawn(width: int) -> Image.Image:
        lines = [
            line
            for one in sentences
            for line in typeset.wrap(typeset.readable(one), width, most, size, bold=bold)
        ]
        wide = [typeset.width(line, size, bold=bold) for line in lines]
        lead = size * typeset.LEAD
        out = paper(min(max(wide, default=0), width), lead * len(lines))
        pen = ImageDraw.Draw(out)
        for k, (line, own) in enumerate(zip(lines, wide, strict=True)):
            x = {"left": 0.0, "right": out.width - own, "center": (out.width - own) / 2}[align]
            typeset.write(pen, (x, round(k * lead + size)), line, size, colour, bold=bold)
        return out

    return drawn


def stack(*blocks: Block | None, gap: Number = 0, align: str = "left") -> Block:
    """Blocks beneath each other; None is left out."""
    kept = [block for block in blocks if block is not None]
    return lambda width: glued([block(width) for block in kept], gap, align=align, down=True)


def beside(*blocks: Block, gap: Number = 0, shares: Sequence[Number] = (), align: str = "top") -> Block:
    """Blocks in a row. `shares` divides the width among them; without it each takes what the former left."""

    def drawn(width: int) -> Image.Image:
        left, made = width, []
        for k, block in enumerate(blocks):
            own = int((width - gap * (len(blocks) - 1)) * shares[k] / sum(shares)) if shares else left
            one = block(max(own, 1))
            made.append(wider(one, own) if shares else one)
            left = int(max(left - made[-1].width - gap, 1))
        return glued(made, gap, align=align, down=False)

    return drawn


def flow(pieces: Sequence[Image.Image | int], lead: int) -> Block:
    """Pieces of one height set like words, in lines `lead` pixels apart; a number is a blank, not drawn first."""

    def drawn(width: int) -> Image.Image:
        places, x, line = [], 0, 0
        for one in pieces:
            if isinstance(one, int):
                x += one if x else 0
                continue
            if x and x + one.width > width:
                x, line = 0, line + 1
            places.append((one, (x, line * lead)))
            x += one.width
        out = paper(width, (line + 1) * lead)
        for one, place in places:
            out.paste(one, place)
        return out

    return drawn


def rule(width: int) -> Image.Image:
    """A thin line from side to side."""
    return paper(width, 1, RULE)


def pill(words: str, ground: str, ink: str = "white", size: Number = SMALL) -> Block:
    """A short line in a coloured field with round ends."""

    def drawn(width: int) -> Image.Image:
        shown = typeset.wrap(words, width - 22, 1, size, bold=True)
        wide = ceil(typeset.width(shown[0], size, bold=True)) + 22
        out = paper(wide, 24)
        rounded(out, (0, 0, wide, 24), ground, 12)
        typeset.write(ImageDraw.Draw(out), (11, 17), shown[0], size, ink, bold=True)
        return out

    return drawn


def page(block: Block, width: int, margin: int) -> Image.Image:
    """The block on paper with a margin all around; `width` is the sheet's."""
    inner = block(width - 2 * margin)
    out = paper(width, inner.height + 2 * margin)
    out.paste(inner, (margin, margin))
    return out


def glued(pictures: Sequence[Image.Image], gap: Number, *, align: str, down: bool) -> Image.Image:
    """Pictures side by side or one beneath the other, in line at "left", "top", "bottom" or "center"."""
    along, across = (1, 0) if down else (0, 1)
    ends = [0.0]
    for one in pictures:
        ends.append(ends[-1] + one.size[along] + gap)
    room = max((one.size[across] for one in pictures), default=0)
    size = [room, max(ends[-1] - gap, 0)] if down else [max(ends[-1] - gap, 0), room]
    out = paper(*size)
    for one, (start, _) in zip(pictures, pairwise(ends), strict=True):
        free = room - one.size[across]
        other = {"center": free // 2, "bottom": free}.get(align, 0)
        out.paste(one, (other, round(start)) if down else (round(start), other))
    return out


def wider(image: Image.Image, width: int) -> Image.Image:
    """The picture with paper at its right."""
    out = paper(width, image.height)
    out.paste(image)
    return out


def rounded(
    out: Image.Image,
    box: tuple[Number, Number, Number, Number],
    colour: str | tuple[int, int, int],
    radius: Number,
) -> None:
    """Fill (left, top, right, bottom), corners round and smooth, whole pixels in the very colour."""
    left, top, right, bottom = (round(side) for side in box)
    size = max(right - left, 1), max(bottom - top, 1)
    mask = Image.new("L", (size[0] * FINER, size[1] * FINER))
    reach = min(radius, size[0] / 2, size[1] / 2) * FINER
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, mask.width - 1, mask.height - 1), reach, 255)
    out.paste(Image.new("RGB", size, colour), (left, top), mask.resize(size, Image.Resampling.BOX))
