"""Rows of tables with a line of names, whatever separates their cells and however quotation marks were meant.

Programs that write tables put cells with a separator, a quotation mark or a line break into quotation marks, and double
the marks inside (RFC 4180). People and simple scripts write captions as they are, `"Stop" says the sign` among them.
Both are read: a line is taken by the standard where it keeps to it, else cell by cell as it stands. Quotation marks
join several lines to one row unless each of these lines would be a row of its own, since otherwise a caption that
begins with a mark swallows whatever follows up to the next mark.
"""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from clipsight.records.opening import open_text, why_no_text
from clipsight.records.row import Malformed, Row

_DELIMITERS = ("\t", ",", ";", "|")
"""What may separate cells; of those that the line of names has equally often, the first."""
_MOST_LINES = 100
"""Lines that quotation marks may join."""


def csv_rows(path: Path, name: str, delimiter: str | None = None) -> Iterator[Row | Malformed]:
    """A table with a line of names, read line by line; every value is text.

    Args:
        path: the file. name: what it is called in messages.
        delimiter: what separates cells; None takes tab, comma, semicolon or bar, whichever the line of names has most.
    """
    if reason := why_no_text(path):
        yield Malformed(file=name, line=1, reason=reason)
        return
    with open_text(path) as file:
        lines = _Lines(file)
        first = next((line for line in lines if line.strip()), None)
        if first is None:
            yield Malformed(
                file=name, line=1, reason="the file is empty; a table begins with a line of names"
            )
            return
        delimiter = delimiter or max(_DELIMITERS, key=first.count)
        names, _ = _cells(first, lines, delimiter, None)
        names = [one.strip() for one in names]
        if twice := next((one for one in names if names.count(one) > 1), None):
            yield Malformed(
                file=name,
                line=lines.number,
                reason=f"several columns are called {twice!r}; give each a name of its own",
            )
            return
        index, line = 0, lines.number + 1
        for text in lines:
            if text.strip("\r\n"):
                cells, lost = _cells(text, lines, delimiter, len(names))
                if lost:
                    yield Malformed(file=name, line=line, reason=lost)
                elif len(cells) == len(names):
                    yield Row(value=dict(zip(names, cells, strict=True)), line=line, key=str(index))
                else:
                    yield Malformed(file=name, line=line, reason=_misfit(len(cells), len(names), delimiter))
                index += 1
            line = lines.number + 1


class _Lines:
    """The lines of a file with their numbers; some can be looked at before they are taken."""

    def __init__(self, file: Iterator[str]) -> None:
        self._file, self._ahead, self.number = file, [], 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._ahead.pop(0) if self._ahead else next(self._file)
        self.number += 1
        return line

    def ahead(self, count: int) -> list[str]:
        """The next lines, as many as there are."""
        self._ahead += islice(self._file, max(0, count - len(self._ahead)))
        return self._ahead[:count]


def _cells(text: str, lines: _Lines, delimiter: str, count: int | None) -> tuple[list[str], str]:
    """The cells of the row that begins with a line, and why it is none, "" if it is one; takes the lines it has."""
    if '"' not in text:
        return _plain(text, delimiter), ""
    taken = [text]
    while True:
        try:
            quoted = next(csv.reader(taken, delimiter=delimiter, strict=True))
        except csv.Error as error:
            # An open mark goes on in the next line; every other mistake is text that was not written by the standard.
            further = lines.ahead(len(taken))[len(taken) - 1 :]
            if "unexpected end" not in str(error) or not further or len(taken) == _MOST_LINES:
                break
            taken += further
        else:
            if len(taken) > 1 and count and all(_is_row(line, delimiter, count) for line in taken):
                break
            for _ in taken[1:]:
                next(lines)
            return quoted, ""
    cells = _plain(text, delimiter)
    if count is not None and len(cells) != count and len(taken) > 1:
        reason = (
            "a quotation mark opens a cell and is not closed as tables close it; double marks that are text"
        )
        return cells, reason
    return cells, ""


def _plain(text: str, delimiter: str) -> list[str]:
    return text.rstrip("\r\n").split(delimiter)


def _is_row(text: str, delimiter: str, count: int) -> bool:
    """Whether a line looks like a row by itself: no sentence has tabs in it, and those with commas a blank behind."""
    cells = _plain(text, delimiter)
    written = delimiter == "\t" or all(cell and not cell[0].isspace() for cell in cells)
    return count > 1 and len(cells) == count and written


def _misfit(cells: int, names: int, delimiter: str) -> str:
    said = f"{cells} cells under {names} names"
    if cells > names:
        return f"{said}; a cell that holds {delimiter!r} itself stands in quotation marks"
    return said
