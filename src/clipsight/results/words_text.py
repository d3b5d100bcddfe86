"""A word attribution for terminals: the caption in colour, and a row for each word."""

from typing import TYPE_CHECKING

from .words import WordAttribution, WordScore
from .words_drawn import (
    LEGEND,
    MARKS,
    QUIET_BELOW,
    fraction,
    headline,
    kept_apart,
    mixed,
    role_line,
    segments,
    summary,
)
from .wording import number, printable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

WIDEST_WORD, WIDEST_BAR = 24, 24
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def plain(attribution: WordAttribution) -> str:
    """Without colours: a title, the caption with its roles marked, a row for each word, what is to be known."""
    return "\n".join([headline(attribution), summary(attribution), caption(attribution).plain, *_below(attribution)])


def coloured(attribution: WordAttribution) -> "RenderableType":
    """The same for rich; inks are chosen with their grounds, so that dark and light terminals show them."""
    from rich.console import Group
    from rich.text import Text

    title = Text(headline(attribution), "bold")
    rows = _below(attribution, styled=True)
    return Group(title, Text(summary(attribution), "dim"), caption(attribution), *rows)


def caption(attribution: WordAttribution) -> "Text":
    """The caption on one line: orange raises the match, blue lowers it, roles marked by line and brackets."""
    from rich.text import Text

    out, strongest = Text("  "), attribution.strongest
    for text, part, dropped in segments(attribution):
        shown = printable(text) if text.strip() else " "
        if part is None:
            out.append(f"[not seen: {shown}]" if dropped else shown, "dim strike" if dropped else "")
            continue
        before, after = MARKS.get(part.role, ("", ""))
        out.append(before, "dim")
        out.append(shown, _style(part, strongest))
        out.append(after, "dim")
    return out


def _style(part: WordScore, strongest: float) -> str:
    found = fraction(part.score, strongest)
    line = "underline" if part.role == "object" else ""
    if abs(found) < QUIET_BELOW:
        return line
    ground = "#{:02x}{:02x}{:02x}".format(*mixed(found, (255, 255, 255), 0.85))
    return f"{line} #16191d on {ground}".strip()


def _below(attribution: WordAttribution, *, styled: bool = False) -> list:
    """Rows of words, of spans, of what is kept apart, and notes; strings, or rich's texts if `styled`."""
    from rich.text import Text

    rows: list[Text] = [Text(f"  {LEGEND}", "dim")] if attribution.roles_by else []
    strongest = attribution.strongest
    wide = min(max((len(printable(w.text)) for w in _listed(attribution)), default=4), WIDEST_WORD)
    for one in _listed(attribution):
        rows.append(_row(printable(one.text), one.role, one.score, strongest, wide))
    for name, score in kept_apart(attribution):
        rows.append(_row(f"({name})", "", score, 0.0, wide))
    if roles := role_line(attribution):
        rows.append(Text(f"  {roles}"))
    if attribution.dropped:
        rows.append(Text(f"  not seen, beyond the model's context: {printable(attribution.dropped)}", "dim"))
    rows += [Text(f"  {printable(line)}", "dim") for line in attribution.trust]
    return rows if styled else [row.plain.rstrip() for row in rows]


def _listed(attribution: WordAttribution) -> list[WordScore]:
    parts = sorted((*attribution.words, *attribution.marks), key=lambda one: one.start)
    return [*parts, *attribution.spans]


def _row(name: str, role: str, score: float, strongest: float, wide: int) -> "Text":
    """`  dog      object     +0.012 ████▌`; bars of negative scores are dotted."""
    from rich.text import Text

    cut = name if len(name) <= wide else name[: wide - 1] + "…"
    row = Text(f"    {cut:<{wide}}  {role:<9}  {_signed(score):>10}  ")
    found = fraction(score, strongest)
    row.append(_bar(found), "#d55e00" if found >= 0 else "#56b4e9")
    return row


def _signed(score: float) -> str:
    return f"+{number(score)}" if score > 0 else number(score)


def _bar(part: float) -> str:
    whole, eighth = divmod(round(8 * WIDEST_BAR * abs(part)), 8)
    if part < 0:
        return "▒" * (whole + (eighth >= 4))
    return ("█" * whole + _EIGHTHS[eighth]).rstrip()
