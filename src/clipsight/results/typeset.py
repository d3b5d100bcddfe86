"""Text in drawings: measured, wrapped, and never a warning for a script without a font."""

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .scaling import Number
from .wording import printable

if TYPE_CHECKING:
    from matplotlib.font_manager import FontProperties
else:
    FontProperties = Any  # matplotlib is loaded by the first drawing, not by this module

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


@lru_cache(maxsize=1)
def _families() -> tuple[str, ...]:
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return (BASE, *(name for name in OTHER_SCRIPTS if name in installed))


@lru_cache(maxsize=1)
def _drawable() -> frozenset[int]:
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    find, properties = font_manager.findfont, font_manager.FontProperties
    paths = [find(properties(family=[name])) for name in _families()]
    return frozenset(code for path in paths for code in FT2Font(path).get_charmap())


@lru_cache(maxsize=32)
def font(size: Number, *, bold: bool = False) -> FontProperties:
    """The font of drawings in `size` pixels (figures are made at 72 dots per inch)."""
    from matplotlib import font_manager

    return font_manager.FontProperties(
        family=list(_families()), size=size, weight="bold" if bold else "normal"
    )


def readable(text: str) -> str:
    """`text` with every character that no installed font can draw replaced by something to read.

    Emoji and other symbols become their name in brackets ("[dog face]"), letters a white box. Invisible
    joiners are dropped.
    """
    known = _drawable()
    out: list[str] = []
    for char in unicodedata.normalize("NFC", printable(text)):
        if unicodedata.category(char) == "Cf" or 0xFE00 <= ord(char) <= 0xFE0F:
            continue
        if ord(char) in known:
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


class Measure:
    """Widths in pixels of text in `font(...)`."""

    def __init__(self) -> None:
        from matplotlib.backends.backend_agg import RendererAgg

        self._renderer = RendererAgg(8, 8, 72)

    def width(self, text: str, prop: FontProperties) -> Number:
        """Advance width of one line; `text` must be `readable`."""
        return self._renderer.get_text_width_height_descent(text, prop, ismath=False)[0]

    def wrap(self, text: str, prop: FontProperties, limit: Number, lines: int) -> list[str]:
        """At most `lines` lines no wider than `limit` pixels; an ellipsis ends what did not fit.

        Breaks between words, inside a word only when it alone is too wide.
        """
        out: list[str] = []
        rest = " ".join(text.split())
        while rest and len(out) < lines:
            cut = self._fitting(rest, prop, limit)
            if len(out) == lines - 1 and cut < len(rest):
                room = limit - self.width(ELLIPSIS, prop)
                return [*out, rest[: self._longest(rest, prop, room)].rstrip(" ,;:.") + ELLIPSIS]
            out.append(rest[:cut].rstrip())
            rest = rest[cut:].lstrip()
        return out

    def _longest(self, text: str, prop: FontProperties, limit: Number) -> int:
        low, high = 1, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.width(text[:middle], prop) <= limit else (low, middle - 1)
        return low

    def _fitting(self, text: str, prop: FontProperties, limit: Number) -> int:
        cut = self._longest(text, prop, limit)
        if cut == len(text) or text[cut] == " ":
            return cut
        space = text.rfind(" ", 0, cut)
        return space if space > 0 else cut
