"""A protocol: which items count, how they are averaged, and which means of splits are printed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from clipsight.bench.composition.averages import kept_groups
from clipsight.bench.composition.item import Item

PROTOCOLS = ("official", "macco", "vl_compo")
"""Whose way of counting: the benchmark's authors', MACCO's (arXiv 2606.13288), vl_compo's (arXiv 2406.09388)."""

Average = Literal["micro", "macro"]


@dataclass(frozen=True, kw_only=True)
class Counting:
    """How one split counts.

    Attributes:
        metric: the one that stands for the split; None is the rule's headline.
        average: "micro" over items, "macro" over the groups.
        drop: groups left out of the macro average. least: items that a group needs to be in it.
        first: only so many items, in the order of the file; None for all.
        tag: only items that bear it; None for all.
    """

    metric: str | None = None
    average: Average = "micro"
    drop: frozenset[str] = frozenset()
    least: int = 1
    first: int | None = None
    tag: str | None = None

    def chosen(self, items: Sequence[Item]) -> list[Item]:
        """The items of a split that count."""
        return [one for one in items if self.tag is None or self.tag in one.tags][: self.first]

    def groups(self, items: Sequence[Item]) -> list[str]:
        """The groups of these items that the macro average is over."""
        return kept_groups([one.group for one in items], self.drop, self.least)

    def expected(self, rows: int | None, tagged: Mapping[str, int]) -> int | None:
        """How many items of a release of so many records count; None when that is not known."""
        count = rows if self.tag is None else tagged.get(self.tag)
        return count if count is None or self.first is None else min(count, self.first)


@dataclass(frozen=True, kw_only=True)
class ProtocolMean:
    """A figure over splits.

    Attributes:
        name: what it is called.
        of: splits by name, or further means.
        metric: of the splits below; None is the headline of each.
        weights: "equal" for the mean of the parts, "items" for the share of all items of the splits below.
    """

    name: str
    of: tuple["str | ProtocolMean", ...]
    metric: str | None = None
    weights: Literal["equal", "items"] = "equal"

    def splits(self) -> tuple[str, ...]:
        """All splits below."""
        return tuple(
            name for part in self.of for name in ((part,) if isinstance(part, str) else part.splits())
        )


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way to count a benchmark.

    Attributes:
        counting: by split, "*" as in file names; the first that fits holds, and items count plainly where none does.
        means: figures over splits; the first is the one that papers print.
        note: what is not known of the protocol, or differs from its scripts here.
    """

    counting: Mapping[str, Counting] = field(default_factory=dict)
    means: tuple[ProtocolMean, ...] = ()
    note: str = ""

    def of(self, split: str) -> Counting:
        """How a split counts."""
        return next(
            (how for pattern, how in self.counting.items() if fnmatchcase(split, pattern)), Counting()
        )
