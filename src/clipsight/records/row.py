"""One record of an annotation file, typed access to its fields, and errors that name the record."""

from dataclasses import dataclass
from typing import Any

Name = str | int
"""A key of a record that is an object, or a place in one that is a list."""

LONGEST_WORD = 10_000
"""Most characters without a blank that a text may have: tokenizers refuse longer words."""


class BadRow(ValueError):
    """A record that is not what its file should hold; the message says in what."""


@dataclass(frozen=True, kw_only=True)
class Malformed:
    """A record that was passed over."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        """`file:line: reason`, as editors jump to it."""
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass(frozen=True)
class Spoiled:
    """Stands for a value that a file states and that cannot be used; reading it raises `BadRow` with the reason."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One record: an object or a list, the line it begins on, and its key or index in the file."""

    value: Any
    line: int
    key: str

    def get(self, name: Name) -> Any:
        """What stands under a name, or at a place of a list; `BadRow` when nothing usable does."""
        if isinstance(self.value, Spoiled):
            raise BadRow(self.value.reason)
        if isinstance(name, str):
            if not isinstance(self.value, dict):
                raise BadRow(f"the record is {_kind(self.value)}, not an object")
            if name not in self.value:
                raise BadRow(f"{name!r} is missing")
            value = self.value[name]
        else:
            if not isinstance(self.value, list):
                raise BadRow(f"the record is {_kind(self.value)}, not a list")
            if name >= len(self.value):
                raise BadRow(f"it has no element {name}")
            value = self.value[name]
        if isinstance(value, Spoiled):
            raise BadRow(f"{name!r}: {value.reason}")
        return value

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
        except (TypeError, ValueError, OverflowError):
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


def _text(value: Any, name: str) -> str:
    if isinstance(value, Spoiled):
        raise BadRow(f"{name}: {value.reason}")
    if not isinstance(value, str):
        raise BadRow(f"{name} is {_kind(value)}, not text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadRow(f"{name} is not UTF-8; save the file in that encoding") from None
    if not any(sign.isprintable() and not sign.isspace() for sign in value):
        raise BadRow(f"{name} is blank")
    if len(value) > LONGEST_WORD and (longest := max(map(len, value.split()))) > LONGEST_WORD:
        raise BadRow(f"{name} holds a word of {longest:,} characters, and {LONGEST_WORD:,} are the most")
    return value


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    shown = f" {value!r}" if isinstance(value, str | int | float) and len(repr(value)) < 40 else ""
    return kinds.get(type(value), "a number") + shown
