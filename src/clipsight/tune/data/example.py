"""One picture with one caption, and collections of them that can be asked for any by number."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from clipsight.pictures import PictureSource

Place = str | int | tuple[int, int, int, str]
"""Where data finds a picture again: a file, a number, or (shard, first byte, bytes, hash)."""
RoleSpan = tuple[int, int, str]
"""First character, the one after the last, role: "object", "attribute" or "relation"; places in the caption."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """A picture and a true caption of it.

    Attributes:
        picture: a path, a PIL picture or uint8 pixels (H, W, 3); in data whose pictures are opened when they are asked
            for, the place of one.
        caption: as given.
        spans: which characters name objects, attributes, relations; None where nobody has looked.
        foils: captions that are false for the picture, as the data has them; () for none.
        key: what the example is called in messages.
    """

    picture: PictureSource | Place
    caption: str
    spans: tuple[RoleSpan, ...] | None = None
    foils: tuple[str, ...] = ()
    key: str = ""


@runtime_checkable
class Examples(Protocol):
    """Examples by number, the same ones in the same order whenever they are opened."""

    @property
    def about(self) -> Mapping[str, Any]:
        """What they are, as plain data: name, count, and of the roles the extractor and its version."""
        ...

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int) -> Example:
        """The example of a number from 0."""
        ...


@dataclass(frozen=True)
class First:
    """The first `count` of some examples."""

    examples: Examples
    count: int

    @property
    def about(self) -> Mapping[str, Any]:
        """As of all of them."""
        return self.examples.about

    def __len__(self) -> int:
        """`count`."""
        return self.count

    def __getitem__(self, index: int) -> Example:
        """The example of a number from 0."""
        return self.examples[index]
