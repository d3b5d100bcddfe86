"""One runner for everything that is measured: rows that survive a kill, shares of the work, one policy for failures.

A benchmark lists its work as items, each with a name. The runner measures the items of its share that have no row yet,
keeps each row at once, and names and counts what could not be measured: nothing is lost, and nothing is measured twice.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

Progress = Callable[[str, int, int], None]
"""Called with what is being worked on, how many are done, and how many there are."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """One process's part of the work: the `index`-th, counted from 0, of `count` processes.

    Raises:
        ValueError: an index that is not one of 0 to count - 1.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        """Refuse a share that does not exist."""
        if not 0 <= self.index < self.count:
            raise ValueError(
                f"part {self.index + 1} of {self.count} does not exist; the parts are 1/{self.count} to "
                f"{self.count}/{self.count}."
            )

    @classmethod
    def parse(cls, word: str) -> "Share":
        """The share that `2/4` means: the second of four.

        Raises:
            ValueError: the word does not have that form.
        """
        first, _, last = word.partition("/")
        if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
            raise ValueError(f"{word} is not a part; give 1/4 for the first of four processes, up to 4/4.")
        return cls(index=int(first) - 1, count=int(last))

    def __str__(self) -> str:
        """As it is written on the command line."""
        return f"{self.index + 1}/{self.count}"

    def takes(self, name: str) -> bool:
        """Whether this process measures the item of that name; exactly one of `count` processes does."""
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest) % self.count == self.index


WHOLE = Share()


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An item that could not be measured, and why."""

    item: str
    reason: str

    @property
    def name(self) -> str:
        """For a progress bar."""
        return self.item

    def __str__(self) -> str:
        """`item: reason`."""
        return f"{self.item}: {self.reason}"


@dataclass(frozen=True, kw_only=True, eq=False)
class WorkItem:
    """A piece of work.

    Attributes:
        id: its name, the same in every run. measure: makes its row.
        group: once an item fails, the later items of its group are not tried; "" for none.
        size: how many things it holds, for progress.
    """

    id: str
    measure: Callable[[], Any]
    group: str = ""
    size: int = 1

    @property
    def name(self) -> str:
        """For a progress bar."""
        return self.id


@runtime_checkable
class RowStore(Protocol):
    """Where rows are kept."""

    def __contains__(self, id: str, /) -> bool:
        """Whether the row of an item is there."""
        ...

    def add(self, id: str, row: Any, /) -> None:
        """Keep a row."""
        ...


WatchItems = Callable[[Iterator[WorkItem | Failure]], Iterable[WorkItem | Failure]]
"""Wraps the items of a run, to show progress."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What became of the items.

    Attributes:
        measured: items measured now. reused: items whose rows were there. left: items of other shares.
        failures: items that could not be measured.
        skipped: items that were not tried because an earlier one of their group failed.
    """

    measured: int = 0
    reused: int = 0
    left: int = 0
    skipped: int = 0
    failures: tuple[Failure, ...] = ()


def run(
    items: Iterable[WorkItem | Failure],
    rows: RowStore,
    *,
    share: Share = WHOLE,
    strict: bool = False,
    watch: WatchItems = iter,
) -> RunSummary:
    """Measure what has no row yet.

    Args:
        items: what to measure, made as needed; a `Failure` stands for input that could not be read.
        rows: where rows are found and kept.
        share: the part of the work that this process does.
        strict: raise what an item raises; otherwise it becomes a `Failure`, and the others go on.
        watch: wraps the items, to show progress.
    """
    failures: list[Failure] = []
    given_up: set[str] = set()
    measured = reused = left = skipped = 0
    for item in watch(iter(items)):
        if isinstance(item, Failure):
            failures.append(item)
        elif item.id in rows:
            reused += 1
        elif not share.takes(item.id):
            left += 1
        elif item.group in given_up:
            skipped += 1
        else:
            try:
                row = item.measure()
            except Exception as error:
                if strict:
                    raise
                failures.append(Failure(item=item.id, reason=reason_of(error)))
                given_up |= {item.group} - {""}
                continue
            rows.add(item.id, row)
            measured += 1
    return RunSummary(measured=measured, reused=reused, left=left, skipped=skipped, failures=tuple(failures))


def reason_of(error: Exception) -> str:
    """What went wrong, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def tell(progress: Progress | None, what: str, total: int) -> WatchItems:
    """A `watch` that tells a callback after each item how many things are done."""

    def watch(items: Iterator[WorkItem | Failure]) -> Iterator[WorkItem | Failure]:
        done = 0
        for item in items:
            yield item
            done += item.size if isinstance(item, WorkItem) else 1
            if progress is not None:
                progress(what, done, max(done, total))

    return watch
