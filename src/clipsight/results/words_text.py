"""A word attribution for terminals: the caption in colour, and a row for each word."""

from typing import TYPE_CHECKING

from .wording import printable
from .words import WordAttribution, WordScore
from .words_drawn import (
    LEGEND,
    QUIET_BELOW,
    figures,
    foil_lines,
    fraction,
    headline,
    in_order,
    kept_apart,
    longest,
    mixed,
    role_line,
    segments,
    spaced,
    summary,
)

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

WIDEST_WORD, WIDEST_BAR = 24, 24
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def plain(attribution: WordAttribution) -> str:
    """Without colours: a title, the caption with its roles marked, a row for each word, what is to be known."""
    return "\n".join(
        [headline(attribution), summary(attribution), caption(attribution).plain, *_below(attribution)]
    )


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
    for one in segments(attribution):
        shown = spaced(one.text)
        if one.part is None:
            out.append(
                f"[not seen: {shown.strip()}]" if one.dropped else shown, "dim strike" if one.dropped else ""
            )
            continue
        out.append(one.before, "dim")
        out.append(shown, _style(one.part, strongest))
        out.append(one.after, "dim")
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
    from rich.cells import cell_len, set_cell_size
    from rich.text import Text

    rows: list[Text] = [Text(f"  {LEGEND}", "dim")] if attribution.roles_by else []
    strongest, reach = attribution.strongest, longest(attribution)
    listed = [(printable(one.text), one.role, one.score, True) for one in in_order(attribution)]
    listed += [(printable(one.text), "asked", one.score, True) for one in attribution.spans]
    listed += [(f"({name})", "", score, False) for name, score in kept_apart(attribution)]
    wide = min(max(cell_len(name) for name, *_ in listed), WIDEST_WORD) if listed else 0
    for name, role, score, drawn in listed:
        cut = name if cell_len(name) <= wide else set_cell_size(name, wide - 1) + "…"
        row = Text(f"    {set_cell_size(cut, wide)}  {role:<9}  {_signed(score, strongest):>9}")
        if drawn and (bar := _bar(fraction(score, reach))):
            row.append(f"  {bar}", "#d55e00" if score >= 0 else "#56b4e9")
        rows.append(row)
    rows += [Text(f"  {line}") for line in (role_line(attribution), *foil_lines(attribution)) if line]
    if attribution.dropped:
        rows.append(Text(f"  not seen, beyond the model's context: {printable(attribution.dropped)}", "dim"))
    rows += [Text(f"  {printable(line)}", "dim") for line in attribution.trust]
    return rows if styled else [row.plain.rstrip() for row in rows]


def _signed(score: float | int, strongest: float) -> str:
    shown = figures(score, strongest)
    return f"+{shown}" if score > 0 else shown


def _bar(part: float) -> str:
    whole, eighth = divmod(round(8 * WIDEST_BAR * abs(part)), 8)
    if part < 0:
        return "▒" * (whole + (eighth >= 4))
    return ("█" * whole + _EIGHTHS[eighth]).rstrip()
