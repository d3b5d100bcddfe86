"""A bar on standard error for work that takes seconds; nothing where nobody looks."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from clipsight.cli.outcome import side_terminal

T = TypeVar("T")
PATIENCE = 2.0
"""Seconds that nobody needs a bar for."""
_RUNNING: ContextVar[tuple[Progress, TaskID] | None] = ContextVar("running", default=None)
"""The bars that are drawn now, and which of them is for the parts of the item in work."""


def with_progress(items: Iterable[T], total: int, name: Callable[[T], str]) -> Iterator[T]:
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
        parts = progress.add_task("windows", total=None, visible=False)
        _RUNNING.set((progress, parts))
        try:
            for item in items:
                progress.reset(parts, visible=False)
                progress.update(task, description=name(item))
                yield item
                progress.advance(task)
        finally:
            _RUNNING.set(None)


@contextmanager
def progress_bar(name: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar for work that tells how far it is: what it is at, how many are done, how many there are.

    Drawn once the work has taken two seconds.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    started = time.monotonic()
    tasks: dict[str, TaskID] = {}
    progress = Progress(*columns, console=side_terminal(), transient=True)

    def tell(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = progress.add_task(f"{name}: {what}", total=total)
        progress.update(tasks[what], completed=done, total=total, visible=done < total)
        if time.monotonic() - started > PATIENCE:
            progress.start()

    try:
        yield tell
    finally:
        progress.stop()


def part_done(done: int, total: int) -> None:
    """Draw a second bar, under that of `with_progress`, for the windows of the item in work."""
    running = _RUNNING.get()
    if running is not None:
        progress, parts = running
        progress.update(parts, completed=done, total=total, visible=total > 1 and done < total)
