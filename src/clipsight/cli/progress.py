"""A bar on standard error for work that takes seconds; nothing where nobody looks."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from clipsight.cli.outcome import side_terminal

T = TypeVar("T")


def watched(items: Iterable[T], total: int, name: Callable[[T], str]) -> Iterator[T]:
    """Pass items on while a bar shows how many are done, and the name of the one in work."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    # Lines printed meanwhile go above the bar, unless they are on their way into a file or a pipe.
    shared = sys.stdout.isatty()
    with Progress(*columns, console=side_terminal(), transient=True, redirect_stdout=shared) as progress:
        task = progress.add_task("", total=total)
        for item in items:
            progress.update(task, description=name(item))
            yield item
            progress.advance(task)
