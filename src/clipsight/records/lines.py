"""Texts, one per line; only line feeds and carriage returns end a line, as in an editor."""

from collections.abc import Iterator
from pathlib import Path

from clipsight.records.opening import open_text, why_no_text
from clipsight.records.row import BadRow, Malformed, Row


def text_rows(path: Path, name: str) -> Iterator[Row | Malformed]:
    """A record {"caption": text} for each line that is not blank, without the blanks around it."""
    if reason := why_no_text(path):
        yield Malformed(file=name, line=1, reason=reason)
        return
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            row = Row(value={"caption": line.strip()}, line=number, key=str(number))
            try:
                row.text("caption")
            except BadRow as error:
                yield Malformed(file=name, line=number, reason=str(error).replace("'caption'", "the line"))
            else:
                yield row
