"""One question put to several pictures: those that fail are listed at the end, and the others stand."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from clipsight.cli.outcome import DEBUGGING, DONE, FAILED, complain, print_json, sentence
from clipsight.cli.progress import with_progress
from clipsight.errors import ClipsightError, PictureError

if TYPE_CHECKING:
    from clipsight.session.lens import Lens

# RuntimeError is how torch reports a device that ran out of memory or cannot do an operation.
REFUSALS = (ClipsightError, ValueError, TypeError, OSError, RuntimeError, MemoryError)
"""What a picture or a setting is expected to be refused with; anything else is a mistake of ours."""


class Result(Protocol):
    """A result that writes and describes itself."""

    def save(self, path: Any, *, overwrite: bool = False) -> Any:
        """Write the file whose suffix names the format."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        ...


R = TypeVar("R", bound=Result)


def answer_each(
    plan: Mapping[str, Sequence[Path]],
    *,
    open_lens: Callable[[], "Lens"],
    ask: Callable[["Lens", str], R],
    show: Callable[[str, R, Sequence[Path]], None],
    overwrite: bool,
    as_json: bool,
) -> int:
    """Ask about each picture, save the results, show them; at the end list on standard error what failed.

    Args:
        plan: the files to write for each picture.
        open_lens: loads the model; not called when no picture can be done.
        ask: from the lens and a picture's name to the result.
        show: prints one result for people; the names it is given are safe to print.
        overwrite: replace existing files.
        as_json: print one JSON document at the end instead of calling `show`.

    Returns:
        0 when every picture was done, else 1.
    """
    from clipsight.pictures import read_picture
    from clipsight.results.wording import printable

    results: list[dict[str, Any]] = []
    failures: dict[str, Exception] = {}

    @contextmanager
    def or_go_on(picture: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever it is, it is said below, and the other pictures have their turn
            if DEBUGGING.get() or isinstance(error, BrokenPipeError):
                raise
            failures[picture] = error

    try:
        ready = []
        for picture, files in plan.items():
            with or_go_on(picture):
                if not os.path.isfile(picture):
                    read_picture(picture)  # says what is wrong before a model is loaded
                _make_room(files, overwrite)
                ready.append(picture)
        lens = open_lens() if ready else None
        for picture in with_progress(ready, len(ready), lambda name: printable(Path(name).name)):
            assert lens is not None
            with or_go_on(picture):
                result, files = ask(lens, picture), plan[picture]
                for file in files:
                    result.save(file, overwrite=overwrite)
                if as_json:
                    saved = [str(file) for file in files]
                    results.append({"image": picture, "saved": saved, "result": result.to_dict()})
                else:
                    show(printable(picture), result, [Path(printable(str(file))) for file in files])
        if as_json:
            failed = [{"image": name, "error": _reason(failures[name])} for name in plan if name in failures]
            print_json({"results": results, "failures": failed})
    finally:  # also when the command is stopped
        _list_failures({name: failures[name] for name in plan if name in failures}, len(plan))
    return FAILED if failures else DONE


def _list_failures(failures: Mapping[str, Exception], asked: int) -> None:
    from clipsight.results.wording import printable

    reasons = {name: _reason(error) for name, error in failures.items()}
    count = f"{len(reasons):,} of {asked:,} pictures failed"
    if len(reasons) == asked > 1 and len(set(reasons.values())) == 1:
        complain(f"{count}, each for the same reason: {next(iter(reasons.values()))}")
        return
    if reasons and asked > 1:
        complain(f"{count}:")
    for name, reason in reasons.items():
        # an error of reading names its picture itself
        complain(reason if isinstance(failures[name], PictureError) else f"{printable(name)}: {reason}")


def _reason(error: Exception) -> str:
    if isinstance(error, REFUSALS):
        return sentence(error)
    kind = type(error).__name__
    return f"this {kind} was not foreseen ({sentence(error)}); with --debug the command shows where it came from."


def _make_room(files: Sequence[Path], overwrite: bool) -> None:
    """Folders made and refusals raised before the work, not after it."""
    from clipsight.results.io import check_writable

    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        check_writable(file, overwrite=overwrite)
