"""Records of annotation files with the line they begin on; one that cannot be read is named and passed over."""

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

Name = str | int
"""A key of a record that is an object, or a place in one that is a list."""

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")


class BadRow(ValueError):
    """A record that is not what its benchmark's files hold; the message says in what."""


@dataclass(frozen=True, kw_only=True)
class Malformed:
    """A record that was passed over."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        """`file:line: reason`, as editors jump to it."""
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One record: an object or a list, the line it begins on, and its key or index in the file."""

    value: Any
    line: int
    key: str

    def get(self, name: Name) -> Any:
        """What stands under a name, or at a place of a list; `BadRow` when nothing does."""
        if isinstance(name, str):
            if not isinstance(self.value, dict):
                raise BadRow(f"the record is {_kind(self.value)}, not an object")
            if name not in self.value:
                raise BadRow(f"{name!r} is missing")
            return self.value[name]
        if not isinstance(self.value, list):
            raise BadRow(f"the record is {_kind(self.value)}, not a list")
        if name >= len(self.value):
            raise BadRow(f"it has no element {name}")
        return self.value[name]

    def maybe(self, name: str) -> Any:
        """What stands under a name of an object, None when nothing does."""
        return self.get(name) if not isinstance(self.value, dict) or name in self.value else None

    def text(self, name: Name) -> str:
        """A text with a word in it, as written."""
        return _text(self.get(name), repr(name))

    def word(self, name: Name) -> str:
        """A short identifier: text, or a whole number as text."""
        value = self.get(name)
        return (
            str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value, repr(name))
        )

    def texts(self, name: Name) -> tuple[str, ...]:
        """A list of texts, at least one."""
        value = self.get(name)
        if not isinstance(value, list) or not value:
            raise BadRow(f"{name!r} is {_kind(value)}, not a list of texts with something in it")
        return tuple(_text(one, f"{name!r}[{index}]") for index, one in enumerate(value))

    def number(self, name: Name) -> float:
        """A finite number; also one that a table holds as text."""
        value = self.get(name)
        try:
            number = float(value) if not isinstance(value, bool) else float("nan")
        except (TypeError, ValueError):
            number = float("nan")
        if not abs(number) < float("inf"):
            raise BadRow(f"{name!r} is {_kind(value)}, not a number")
        return number

    def box(self, x: Name, y: Name, width: Name, height: Name) -> tuple[float, float, float, float]:
        """(x, y, width, height) of a crop that holds at least a pixel."""
        box = (self.number(x), self.number(y), self.number(width), self.number(height))
        if min(box[2:]) < 1:
            raise BadRow(f"the crop is {box[2]:g} pixels wide and {box[3]:g} high")
        return box


def json_rows(path: Path, name: str) -> Iterator[Row | Malformed]:
    """The elements of the list or object that a JSON file holds.

    An element with a mistake is passed over up to the next comma at its level; where none follows, such as in a file
    that was cut off, reading ends.
    """
    with _opened(path) as file:
        text = file.read()
    at = _after_space(text, 0)
    lines = _Lines(text)
    if at >= len(text) or text[at] not in "[{":
        yield Malformed(
            file=name, line=lines.at(at), reason="the file holds neither a JSON list nor an object"
        )
        return
    keyed, closing = text[at] == "{", "]}"[text[at] == "{"]
    at = _after_space(text, at + 1)
    index = 0
    while at < len(text) and text[at] != closing:
        start = at
        try:
            key = str(index)
            if keyed:
                key, at = _DECODER.raw_decode(text, at)
                at = _after_space(text, at)
                if not isinstance(key, str) or text[at : at + 1] != ":":
                    raise json.JSONDecodeError("Expecting a name in quotes and ':'", text, at)
                at = _after_space(text, at + 1)
            value, at = _DECODER.raw_decode(text, at)
            at = _after_space(text, at)
            if text[at : at + 1] not in (",", closing):
                raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
            yield Row(value=value, line=lines.at(start), key=key)
        except (json.JSONDecodeError, RecursionError) as error:
            at = _next_comma(text, start)
            ends = "; the file ends in it" if at == len(text) else ""
            yield Malformed(file=name, line=lines.at(start), reason=f"not JSON ({error}){ends}")
            if ends:
                return
        if text[at : at + 1] == ",":
            at = _after_space(text, at + 1)
        index += 1
    if at >= len(text):
        yield Malformed(
            file=name, line=lines.at(len(text)), reason="the file ends before its list or object is closed"
        )


def jsonl_rows(path: Path, name: str) -> Iterator[Row | Malformed]:
    """One JSON value a line, read line by line; blank lines do not count."""
    with _opened(path) as file:
        for index, line in enumerate(file):
            if not line.strip():
                continue
            try:
                yield Row(value=json.loads(line), line=index + 1, key=str(index))
            except (json.JSONDecodeError, RecursionError) as error:
                yield Malformed(file=name, line=index + 1, reason=f"not JSON ({error})")


def csv_rows(path: Path, name: str, delimiter: str = ",") -> Iterator[Row | Malformed]:
    """A table with a line of names, read line by line; every value is text."""
    with _opened(path) as file:
        table = csv.reader(file, delimiter=delimiter)
        header = next(table, None)
        if header is None:
            yield Malformed(
                file=name, line=1, reason="the file is empty; a table begins with a line of names"
            )
            return
        index, line = 0, table.line_num + 1
        while True:
            try:
                cells = next(table, None)
            except csv.Error as error:
                yield Malformed(file=name, line=line, reason=f"not a table's line ({error})")
                cells = []
            if cells is None:
                return
            if len(cells) == len(header):
                yield Row(value=dict(zip(header, cells, strict=True)), line=line, key=str(index))
            elif cells:
                reason = f"{len(cells)} cells under {len(header)} names"
                yield Malformed(file=name, line=line, reason=reason)
            index += bool(cells)
            line = table.line_num + 1


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise BadRow(f"{name} is {_kind(value)}, not text")
    if not any(sign.isprintable() and not sign.isspace() for sign in value):
        raise BadRow(f"{name} is blank")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadRow(f"{name} is not UTF-8") from None
    return value


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    shown = f" {value!r}" if isinstance(value, str | int | float) and len(repr(value)) < 40 else ""
    return kinds.get(type(value), "a number") + shown


def _opened(path: Path) -> TextIO:
    """UTF-8, with or without a mark; bytes that are none survive as halves of pairs, which `_text` refuses by row."""
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _next_comma(text: str, at: int) -> int:
    """The next comma outside quotes and brackets, or where these close; the text's length when there is none."""
    depth, quoted = 0, False
    while at < len(text):
        sign = text[at]
        if quoted:
            at += sign == "\\"
            quoted = sign != '"'
        elif sign == '"':
            quoted = True
        elif sign in "[{":
            depth += 1
        elif sign in "]}":
            if depth == 0:
                return at
            depth -= 1
        elif sign == "," and depth == 0:
            return at
        at += 1
    return len(text)


class _Lines:
    """Line numbers of ascending places in a text."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._line = text, 0, 1

    def at(self, place: int) -> int:
        self._line += self._text.count("\n", self._at, place)
        self._at = place
        return self._line
