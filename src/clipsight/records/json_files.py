"""Elements of JSON files and lines of JSON, with errors where Python's reader is silent or stops."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clipsight.records.opening import open_text, why_no_text
from clipsight.records.row import BadRow, Malformed, Row, Spoiled

_SPACE = re.compile(r"[ \t\r\n]*")
_MOST_DIGITS = 300
"""Of a whole number; a float holds no longer one."""


def json_value(text: str) -> Any:
    """The value that a text of JSON holds.

    Objects with a name twice and overlong numbers become `Spoiled`, which `Row` refuses when they are read.

    Raises:
        BadRow: the text is not JSON, or the whole value is spoiled.
    """
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise BadRow(f"not JSON ({error})") from error
    if isinstance(value, Spoiled):
        raise BadRow(value.reason)
    return value


def json_rows(path: Path, name: str) -> Iterator[Row | Malformed]:
    """The elements of the list or object that a JSON file holds.

    An element with a mistake is passed over up to the next comma at its level; where none follows, such as in a file
    that was cut off, reading ends. Of elements with one name the first is read.
    """
    if reason := why_no_text(path):
        yield Malformed(file=name, line=1, reason=reason)
        return
    with open_text(path) as file:
        text = file.read()
    at = _after_space(text, 0)
    lines = _LineNumbers(text)
    if at >= len(text) or text[at] not in "[{":
        yield Malformed(
            file=name, line=lines.at(at), reason="the file holds neither a JSON list nor an object"
        )
        return
    keyed, closing = text[at] == "{", "]}"[text[at] == "{"]
    at = _after_space(text, at + 1)
    index, keys = 0, set[str]()
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
        except (ValueError, RecursionError) as error:
            at = _next_comma(text, start)
            ends = "; the file ends in it" if at == len(text) else ""
            yield Malformed(file=name, line=lines.at(start), reason=f"not JSON ({error}){ends}")
            if ends:
                return
        else:
            if key in keys:
                value = _twice(key)
            keys.add(key)
            yield _row(value, name, lines.at(start), key)
        if text[at : at + 1] == ",":
            at = _after_space(text, at + 1)
        index += 1
    if at >= len(text):
        yield Malformed(
            file=name, line=lines.at(len(text)), reason="the file ends before its list or object is closed"
        )


def jsonl_rows(path: Path, name: str) -> Iterator[Row | Malformed]:
    """One JSON value a line, read line by line; blank lines do not count."""
    if reason := why_no_text(path):
        yield Malformed(file=name, line=1, reason=reason)
        return
    with open_text(path) as file:
        for index, line in enumerate(file):
            if not line.strip():
                continue
            try:
                value = json_value(line.strip())
            except BadRow as error:
                value = Spoiled(str(error))
            yield _row(value, name, index + 1, str(index))


def _row(value: Any, file: str, line: int, key: str) -> Row | Malformed:
    if isinstance(value, Spoiled):
        return Malformed(file=file, line=line, reason=value.reason)
    return Row(value=value, line=line, key=key)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Spoiled:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    names = [name for name, _ in pairs]
    return _twice(next(name for name in names if names.count(name) > 1))


def _twice(name: str) -> Spoiled:
    return Spoiled(f"the name {name!r:.60} stands twice in one object")


def _integer(digits: str) -> int | Spoiled:
    return int(digits) if len(digits) <= _MOST_DIGITS else Spoiled(f"a number of {len(digits):,} digits")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer)


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


class _LineNumbers:
    """Line numbers of ascending places in a text."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._line = text, 0, 1

    def at(self, place: int) -> int:
        self._line += self._text.count("\n", self._at, place)
        self._at = place
        return self._line
