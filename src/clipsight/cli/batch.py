"""One question put to several pictures: what fails for one is said, and the others go on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from clipsight.cli.outcome import DEBUGGING, DONE, FAILED, complain, print_json, sentence
from clipsight.cli.progress import watched
from clipsight.errors import ClipsightError

if TYPE_CHECKING:
    from clipsight.lens import Lens

# RuntimeError is how torch reports a device that ran out of memory or cannot do an operation.
REFUSALS = (ClipsightError, ValueError, TypeError, OSError, RuntimeError, MemoryError)


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
    """Ask about each picture, save the results, show them.

    Args:
        plan: the files to write for each picture.
        open_lens: loads the model; not called when no picture can be done.
        ask: from the lens and a picture's name to the result.
        show: prints one result for people.
        overwrite: replace existing files.
        as_json: print one JSON document at the end instead of calling `show`.

    Returns:
        0 when every picture was done, else 1.
    """
    from clipsight.pictures import read_picture

    results: list[dict[str, Any]] = []
    failures: dict[str, str] = {}

    @contextmanager
    def or_go_on(picture: str) -> Iterator[None]:
        try:
            yield
        except REFUSALS as error:
            if DEBUGGING.get() or isinstance(error, BrokenPipeError):
                raise
            failures[picture] = sentence(error)
            complain(failures[picture] if picture in failures[picture] else f"{picture}: {failures[picture]}")

    ready = []
    for picture, files in plan.items():
        with or_go_on(picture):
            if not Path(picture).is_file():
                read_picture(picture)  # says what is wrong before a model is loaded
            _make_room(files, overwrite)
            ready.append(picture)
    lens = open_lens() if ready else None
    for picture in watched(ready, len(ready), lambda name: Path(name).name):
        assert lens is not None
        with or_go_on(picture):
            result = ask(lens, picture)
            for file in plan[picture]:
                result.save(file, overwrite=overwrite)
            if not as_json:
                show(picture, result, plan[picture])
                continue
            results.append(
                {"image": picture, "saved": [str(file) for file in plan[picture]], "result": result.to_dict()}
            )
    if as_json:
        print_json(
            {
                "results": results,
                "failures": [{"image": image, "error": text} for image, text in failures.items()],
            }
        )
    return FAILED if failures else DONE


def _make_room(files: Sequence[Path], overwrite: bool) -> None:
    """Folders made and refusals raised before the work, not after it."""
    from clipsight.results.io import check_writable

    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        check_writable(file, overwrite=overwrite)
