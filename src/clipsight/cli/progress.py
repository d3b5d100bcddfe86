"""Progress on standard error for work that takes seconds: gone when the work is done, absent without a terminal."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TextIO, TypeVar, cast

from clipsight.cli.outcome import side_terminal

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

T = TypeVar("T")
PATIENCE = 2.0
"""Seconds of work that need no bar."""
_RUNNING: "ContextVar[tuple[Progress, TaskID] | None]" = ContextVar("running", default=None)
"""The bars on the screen, and which of them counts the parts of the current item."""


def bars(*, silent: bool = False) -> "Progress":
    """Bars with a description, a count and the time that is left; they vanish at the end."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=side_terminal(),
        transient=True,
        disable=silent,
        # Lines printed meanwhile go above the bars, unless they go to a file or a pipe.
        redirect_stdout=sys.stdout.isatty(),
    )


def with_progress(items: Iterable[T], total: int, name: Callable[[T], str]) -> Iterator[T]:
    """Pass items on while a bar shows how many are done, and the name of the current one."""
    with bars() as progress:
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
    """A bar for work that reports what it does, how many are done, and how many there are.

    Drawn once the work has taken two seconds.
    """
    started = time.monotonic()
    tasks: dict[str, Any] = {}
    progress = bars()

    def update(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = progress.add_task(f"{name}: {what}", total=total)
        progress.update(tasks[what], completed=done, total=total, visible=done < total)
        if time.monotonic() - started > PATIENCE:
            progress.start()

    try:
        yield update
    finally:
        progress.stop()


@contextmanager
def waiting(what: str = "starting") -> Iterator[None]:
    """A spinner beside `what` while work of unknown length runs."""
    with side_terminal().status(f"{what} ..."):
        yield


@contextmanager
def downloading(what: str) -> Iterator[None]:
    """A line saying `what`, for work that may draw bars of its own below it; gone when there were none."""
    console = side_terminal()
    if console.quiet:
        yield
        return
    console.print(f"{what} ...", style="dim", markup=False, no_wrap=True, overflow="ellipsis")
    counted = _Counted(sys.stderr)
    with redirect_stderr(cast(TextIO, counted)):
        yield
    if not counted.writes:
        from rich.control import Control
        from rich.segment import ControlType

        console.control(Control((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)))


class _Counted:
    """A stream that counts what is written to it."""

    def __init__(self, stream: Any) -> None:
        self._stream, self.writes = stream, 0

    def write(self, text: str) -> int:
        self.writes += bool(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def part_done(done: int, total: int) -> None:
    """Draw a second bar, below that of `with_progress`, for the windows of the current item."""
    running = _RUNNING.get()
    if running is not None:
        progress, parts = running
        progress.update(parts, completed=done, total=total, visible=total > 1 and done < total)
