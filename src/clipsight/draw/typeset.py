"""Text in drawings: measured, wrapped, and never a warning for a script without a font."""

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from PIL import ImageDraw, ImageFont

from .scaling import Number
from .wording import printable

BASE = "DejaVu Sans"  # comes with matplotlib, so drawings look the same everywhere
OTHER_SCRIPTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Noto Sans SC", "Noto Sans KR", "Noto Sans Devanagari",
    "Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Thai", "Noto Sans Symbols 2", "Noto Emoji",
    "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "Unifont", "FreeSans",
    "Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo", "Kohinoor Devanagari", "Thonburi", "Arial Unicode MS",
    "Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Nirmala UI", "Leelawadee UI", "Segoe UI Symbol",
)  # fmt: skip
MISSING = "\u25af"  # a white box
ELLIPSIS = "…"
LEAD = 1.36  # line height per font size


@lru_cache(maxsize=1)
def _families() -> tuple[str, ...]:
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return (BASE, *(name for name in OTHER_SCRIPTS if name in installed))


@lru_cache(maxsize=64)
def _file(family: str, bold: bool = False) -> tuple[str, frozenset[int]]:
    """The file of a family, and the characters that it can draw."""
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    wanted = font_manager.FontProperties(family=[family], weight="bold" if bold else "normal")
    path = str(font_manager.findfont(wanted))
    return path, frozenset(FT2Font(path).get_charmap())


@lru_cache(maxsize=256)
def _face(family: str, size: Number, bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_file(family, bold)[0], size)


@lru_cache(maxsize=4096)
def _family_of(char: str, bold: bool) -> str | None:
    return next((family for family in _families() if ord(char) in _file(family, bold)[1]), None)


def _runs(text: str, size: Number, bold: bool) -> Iterator[tuple[ImageFont.FreeTypeFont, str]]:
    """`text` cut where the font changes."""
    run, now = "", BASE
    for char in text:
        family = _family_of(char, bold) or BASE
        if family != now and run:
            yield _face(now, size, bold), run
            run = ""
        run, now = run + char, family
    if run:
        yield _face(now, size, bold), run


def width(text: str, size: Number, *, bold: bool = False) -> float:
    """Pixels that one line takes in letters of `size` pixels; `text` must be `readable`."""
    return sum(face.getlength(run) for face, run in _runs(text, size, bold))


def write(
    pen: ImageDraw.ImageDraw,
    place: tuple[Number, Number],
    text: str,
    size: Number,
    colour: str | tuple[int, ...],
    *,
    bold: bool = False,
    halo: tuple[int, str] = (0, "white"),
) -> None:
    """Set one line of `readable` text with its baseline beginning at `place`; `halo`: width and colour around it."""
    x, y = place
    for face, run in _runs(text, size, bold):
        pen.text((x, y), run, colour, face, anchor="ls", stroke_width=halo[0], stroke_fill=halo[1])
        x += face.getlength(run)


def readable(text: str) -> str:
    """`text` with every character that no installed font can draw replaced by something to read.

    Emoji and other symbols become their name in brackets ("[dog face]"), letters a white box. Invisible
    joiners are dropped.
    """
    out: list[str] = []
    for char in unicodedata.normalize("NFC", printable(text)):
        if unicodedata.category(char) == "Cf" or 0xFE00 <= ord(char) <= 0xFE0F:
            continue
        if _family_of(char, False):
            out.append(char)
        elif unicodedata.category(char) in ("So", "Sk") and unicodedata.name(char, ""):
            out.append(f"[{unicodedata.name(char).lower()}]")
        else:
            out.append(MISSING)
    return "".join(out)


def title(text: str, index: int) -> str:
    """`text` as a panel's title; numbered when nothing of it can be read."""
    shown = readable(text)
    lost = MISSING in shown and not any(c.isalnum() for c in shown)
    return f"text {index + 1}: {shown}" if lost else shown


def wrap(text: str, limit: Number, lines: int, size: Number, *, bold: bool = False) -> list[str]:
    """At most `lines` lines no wider than `limit` pixels; an ellipsis ends what did not fit.

    Breaks between words, inside a word only when it alone is too wide.
    """
    out: list[str] = []
    rest = " ".join(text.split())
    while rest and len(out) < lines:
        cut = _fitting(rest, limit, size, bold)
        if len(out) == lines - 1 and cut < len(rest):
            room = limit - width(ELLIPSIS, size, bold=bold)
            return [*out, rest[: _longest(rest, room, size, bold)].rstrip(" ,;:.") + ELLIPSIS]
        out.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return out


def _longest(text: str, limit: Number, size: Number, bold: bool) -> int:
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if width(text[:middle], size, bold=bold) <= limit else (low, middle - 1)
    return low


def _fitting(text: str, limit: Number, size: Number, bold: bool) -> int:
    cut = _longest(text, limit, size, bold)
    if cut == len(text) or text[cut] == " ":
        return cut
    space = text.rfind(" ", 0, cut)
    return space if space > 0 else cut
