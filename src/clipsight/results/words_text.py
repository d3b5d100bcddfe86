"""A caption with word scores, for terminals: the caption in colour, and one row per word."""

from typing import TYPE_CHECKING

from clipsight.draw import LEGEND, CaptionFacts, Row, Stretch, printable, signed

from .words_facts import spaced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.text import Text

QUIET_BELOW = 0.04
"""A word of less than this fraction of the strongest keeps the colour of the terminal."""
WIDEST_WORD, WIDEST_BAR, NARROWEST_BAR = 24, 24, 4
HANG = 4
"""How far the further lines of a wrapped line are indented."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def plain(facts: CaptionFacts) -> str:
    """Without colours: a title, the caption with its roles marked, a row for each word, what is to be known."""
    rows = [row.plain.rstrip() for row in _below(facts, WIDEST_BAR)]
    return "\n".join([facts.headline, facts.summary, caption(facts).plain, *rows])


def coloured(facts: CaptionFacts) -> "RenderableType":
    """The same for rich; inks are chosen with their grounds, so that dark and light terminals show them."""
    return _Coloured(facts)


class _Coloured:
    """Lines that hang and bars that fit, at the width of the console."""

    def __init__(self, facts: CaptionFacts) -> None:
        self._facts = facts

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[RenderableType]":
        from rich.text import Text

        facts, wide = self._facts, None if options.no_wrap else options.max_width
        head = (Text(facts.headline, "bold"), Text(facts.summary, "dim"), caption(facts))
        bar = WIDEST_BAR if wide is None else min(WIDEST_BAR, max(NARROWEST_BAR, wide - _before_bar(facts)))
        for line in (*head, *_below(facts, bar)):
            yield from [line] if wide is None else _hung(line, console, wide)


def _hung(line: "Text", console: "Console", wide: int) -> "Iterator[Text]":
    from rich.text import Text

    indent = len(line.plain) - len(line.plain.lstrip())
    if line.cell_len <= wide or wide - indent - HANG < WIDEST_WORD:
        yield line
        return
    for number, part in enumerate(line[indent:].wrap(console, wide - indent - HANG)):
        part.rstrip()
        yield Text(" " * (indent + (HANG if number else 0))) + part


def caption(facts: CaptionFacts) -> "Text":
    """The caption on one line: orange raises the match, blue lowers it, roles marked by line and brackets."""
    from rich.text import Text

    out = Text("  ")
    for one in facts.stretches:
        shown = spaced(one.text)
        if one.dropped:
            out.append(f"[not seen: {shown.strip()}]", "dim strike")
            continue
        out.append(one.before, "dim")
        out.append(shown, _style(one))
        out.append(one.after, "dim")
    return out


def _style(one: Stretch) -> str:
    line = "underline" if one.role == "object" else ""
    if one.fraction is None or abs(one.fraction) < QUIET_BELOW:
        return line
    ground = "#{:02x}{:02x}{:02x}".format(*signed(one.fraction, (255, 255, 255), 0.85))
    return f"{line} #16191d on {ground}".strip()


def _name_width(facts: CaptionFacts) -> int:
    from rich.cells import cell_len

    return min(max((cell_len(row.name) for row in facts.rows), default=0), WIDEST_WORD)


def _before_bar(facts: CaptionFacts) -> int:
    """Columns of a row before its bar: blanks, name, role, figure."""
    return 4 + _name_width(facts) + 2 + 9 + 2 + 9 + 2


def _below(facts: CaptionFacts, widest: int) -> "list[Text]":
    """Rows of words, of phrases, of what is kept apart, and notes; bars of at most `widest` columns."""
    from rich.cells import cell_len, set_cell_size
    from rich.text import Text

    out = [Text(f"  {LEGEND}", "dim")] if facts.roles else []
    wide = _name_width(facts)
    for row in facts.rows:
        cut = row.name if cell_len(row.name) <= wide else set_cell_size(row.name, wide - 1) + "…"
        line = Text(f"    {set_cell_size(cut, wide)}  {row.role:<9}  {_with_sign(row):>9}")
        if row.fraction is not None and (bar := _bar(row.fraction, widest)):
            line.append(f"  {bar}", "#d55e00" if row.fraction >= 0 else "#56b4e9")
        out.append(line)
    out += [Text(f"  {line}") for line in (facts.role_line, *facts.foils) if line]
    if facts.dropped:
        out.append(Text(f"  not seen, beyond the model's context: {facts.dropped}", "dim"))
    return [*out, *(Text(f"  {printable(line)}", "dim") for line in facts.trust)]


def _with_sign(row: Row) -> str:
    signless = row.figure[:1] == "−" or not any(digit in row.figure for digit in "123456789")
    return row.figure if signless else f"+{row.figure}"


def _bar(part: float, widest: int) -> str:
    whole, eighth = divmod(round(8 * widest * abs(part)), 8)
    if part < 0:
        return "▒" * (whole + (eighth >= 4))
    return ("█" * whole + _EIGHTHS[eighth]).rstrip()
