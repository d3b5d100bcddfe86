"""One question put to several pictures: those that fail are listed at the end, and the others stand."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rich.text import Text

from clipsight.cli.options import OutputOptions
from clipsight.cli.outcome import DEBUGGING, FAILURE, SUCCESS, one_line, print_error, print_json, say
from clipsight.cli.paths import refuse_inputs
from clipsight.cli.progress import with_progress
from clipsight.errors import ClipsightError, PictureError

if TYPE_CHECKING:
    from clipsight.session.lens import Lens

# RuntimeError is how torch reports a device that ran out of memory or cannot do an operation.
REFUSALS = (ClipsightError, ValueError, TypeError, OSError, RuntimeError, MemoryError)
"""What a picture or a setting is expected to be refused with; anything else is a bug."""


class Result(Protocol):
    """A result that writes and describes itself."""

    def save(self, path: Any, *, overwrite: bool = False) -> Any:
        """Write the file whose suffix names the format."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        ...


@dataclass(frozen=True, kw_only=True)
class Told:
    """A result in words.

    Attributes:
        verdict: the answer on one line.
        details: prints more, indented; None if there is no more.
        notes: what a reader should know.
    """

    verdict: str
    details: Callable[[], None] | None = None
    notes: Sequence[str] = ()


R = TypeVar("R", bound=Result)


def answer_each(
    plan: Mapping[str, Sequence[Path]],
    output: OutputOptions,
    *,
    open_lens: Callable[[], "Lens"],
    ask: Callable[["Lens", str], R],
    tell: Callable[[R], Told],
    reads: Sequence[str | os.PathLike[str] | None] = (),
) -> int:
    """Ask about each picture, save the results, print them; at the end list on standard error what failed.

    Args:
        plan: the files to write for each picture.
        output: whether files are replaced, and what is printed.
        open_lens: loads the model; not called when no picture can be read.
        ask: from the lens and a picture's name to the result.
        tell: a result in words.
        reads: other files that the command reads and must not replace.

    Returns:
        0 when every picture succeeded, else 1.

    Raises:
        UsageError: a result would replace a file that is read.
    """
    from clipsight.draw import printable
    from clipsight.pictures import read_picture

    refuse_inputs([file for files in plan.values() for file in files], [*plan, *filter(None, reads)])
    results: list[dict[str, Any]] = []
    notes: dict[str, None] = {}
    failures: dict[str, Exception] = {}

    @contextmanager
    def or_go_on(picture: str) -> Iterator[None]:
        try:
            yield
        except (
            Exception
        ) as error:  # whatever it is, it is reported below, and the other pictures have their turn
            if DEBUGGING.get() or isinstance(error, BrokenPipeError):
                raise
            failures[picture] = error

    try:
        ready = []
        for picture, files in plan.items():
            with or_go_on(picture):
                if not os.path.isfile(picture):
                    read_picture(picture)  # says what is wrong before a model is loaded
                _make_room(files, output.overwrite)
                ready.append(picture)
        lens = open_lens() if ready else None
        for picture in with_progress(ready, len(ready), lambda name: printable(Path(name).name)):
            assert lens is not None
            with or_go_on(picture):
                result, files = ask(lens, picture), plan[picture]
                for file in files:
                    result.save(file, overwrite=output.overwrite)
                if output.json:
                    saved = [str(file) for file in files]
                    results.append({"image": picture, "saved": saved, "result": result.to_dict()})
                    continue
                told = tell(result)
                _say(picture, told, files, details=output.verbose or len(plan) == 1)
                notes.update(dict.fromkeys(told.notes))
        if output.json:
            failed = [{"image": name, "error": _reason(failures[name])} for name in plan if name in failures]
            print_json({"results": results, "failures": failed})
    finally:  # also when the command is stopped
        for note in notes if not output.json else ():
            say(f"note: {printable(note)}", indent=2 if len(plan) == 1 else 0, style="dim")
        _list_failures({name: failures[name] for name in plan if name in failures}, len(plan))
    return FAILURE if failures else SUCCESS


def _say(picture: str, told: Told, files: Sequence[Path], *, details: bool) -> None:
    from clipsight.draw import printable

    written = f" -> {', '.join(printable(str(file)) for file in files)}" if files else ""
    say(Text.assemble((printable(picture), "bold"), ": ", printable(told.verdict), (written, "dim")))
    if details and told.details is not None:
        told.details()


def _list_failures(failures: Mapping[str, Exception], asked: int) -> None:
    from clipsight.draw import printable

    reasons = {name: _reason(error) for name, error in failures.items()}
    count = f"{len(reasons):,} of {asked:,} images failed"
    if len(reasons) == asked > 1 and len(set(reasons.values())) == 1:
        print_error(f"{count}, each for the same reason: {next(iter(reasons.values()))}")
        return
    if reasons and asked > 1:
        print_error(f"{count}:")
    for name, reason in reasons.items():
        # an error of reading names its picture itself
        print_error(reason if isinstance(failures[name], PictureError) else f"{printable(name)}: {reason}")


def _reason(error: Exception) -> str:
    if isinstance(error, REFUSALS):
        return one_line(error)
    kind = type(error).__name__
    return f"this {kind} ({one_line(error)}) is a bug; add --debug to see where it comes from, and please report it."


def _make_room(files: Sequence[Path], overwrite: bool) -> None:
    """Folders made and refusals raised before the work, not after it."""
    from clipsight.results import check_writable

    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        check_writable(file, overwrite=overwrite)
