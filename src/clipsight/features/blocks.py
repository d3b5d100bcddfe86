"""Which blocks of a tower a recipe refers to, and how to find all parts of a recipe."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from math import floor
from typing import Any

from clipsight.errors import Unsupported
from clipsight.features.rules import broken


@dataclass(frozen=True)
class Span:
    """Blocks `first` to `last`, both included: 1 is the first block, -1 the last, -2 the one before it."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if 0 in (self.first, self.last):
            raise broken(
                "block-index", f"{self}", "blocks are counted from 1, or from -1 backwards", "1 or -1"
            )
        if self.first > self.last and (self.first > 0) == (self.last > 0):
            raise broken("block-order", f"{self}", "the first block comes before the last", "Span(3, 5)")

    def indices(self, depth: int) -> tuple[int, ...]:
        """The blocks' numbers, from 1, in a tower of `depth` blocks.

        Raises:
            Unsupported: the tower has no such blocks.
        """
        first, last = _place(self.first, depth), _place(self.last, depth)
        if not 1 <= first <= last <= depth:
            raise Unsupported(
                f"blocks {self.first} to {self.last} were asked of a tower that has {depth}; ask for the recipe by its "
                "id, which moves block numbers in proportion, or for one of the last block, such as 'naclip'."
            )
        return tuple(range(first, last + 1))


def walk(value: Any) -> Iterator[Any]:
    """A piece of a recipe and all pieces inside it, outer ones first."""
    yield value
    if is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from walk(getattr(value, field.name))
    elif isinstance(value, tuple):
        for item in value:
            yield from walk(item)


def scale_blocks(value: Any, written_for: int, depth: int) -> Any:
    """The same piece with every block number moved in proportion: l to floor(l · depth / written_for + 1/2).

    Numbers stay within 1 and depth - 1, negative ones as they are.
    """
    if isinstance(value, Span):
        moved = (
            at if at < 0 else min(max(floor(at * depth / written_for + 0.5), 1), max(depth - 1, 1))
            for at in (value.first, value.last)
        )
        return type(value)(*moved)
    if is_dataclass(value) and not isinstance(value, type):
        old = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        new = {name: scale_blocks(item, written_for, depth) for name, item in old.items()}
        return value if new == old else replace(value, **new)
    if isinstance(value, tuple):
        return tuple(scale_blocks(item, written_for, depth) for item in value)
    return value


def _place(index: int, depth: int) -> int:
    return index if index > 0 else depth + 1 + index
