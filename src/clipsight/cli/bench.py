"""`clipsight bench world` and `clipsight bench tasks`: recipes beside each other, where the truth is known."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from clipsight.cli.options import BUNDLED, ModelOptions
from clipsight.cli.outcome import DEBUGGING, DONE, FAILED, Misuse, complain, side_terminal, terminal
from clipsight.cli.progress import with_progress

if TYPE_CHECKING:
    from clipsight.bench.task import TaskRow
    from clipsight.bench.world import RecipeRow

ALL = "all"
Contrast = Literal["auto", "none", "labels", "empty"]
Seeds = Annotated[
    tuple[int, ...], Parameter(consume_multiple=True, show_default=lambda given: " ".join(map(str, given)))
]
LEGEND = (
    "AUROC, pointing: maps of the nouns there against their visible pixels; mIoU: objects' pixels named by the highest "
    "raw cosine; ms, MB (extra memory): one picture to maps; mean (lowest–highest seed)."
)

TASKS_LEGEND = (
    "In [0, 1], mean (lowest–highest seed); the documentation says what each is, and what chance reaches."
)

COLUMNS = {
    "AUROC": ("auroc", 1.0, 3),
    "pointing": ("pointing", 1.0, 3),
    "mIoU": ("miou", 1.0, 3),
    "ms": ("seconds_per_image", 1000.0, 1),
    "MB": ("peak_mb", 1.0, 1),
}
"""Figure, factor to the column's unit, decimals of the mean."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class BenchModelOptions(ModelOptions):
    """Which model is measured."""

    model: str = BUNDLED
    """As for `clipsight explain`; only the bundled model knows the emoji world."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """What is measured, and where the rows go."""

    recipes: Annotated[tuple[str, ...], Parameter(consume_multiple=True, show_default=" ".join)] = (ALL,)
    """Which recipes, by the ids that `clipsight methods` lists; `all` for all."""

    seeds: Seeds = (101, 102, 103)
    """Scenes of a seed are always the same; several seeds give the spread."""

    count: int | None = None
    """How many scenes of each seed. Left out, 100 for `world`; for `tasks` 60, of which 20 are segmented, and 20
    damaged with 20 whole things. A number given holds for all of these."""

    contrast: Contrast = "labels"
    """What is subtracted from the maps for AUROC, pointing and points, as for `clipsight explain`; naming takes raw
    cosines always."""

    out: Path | None = None
    """Also write the rows into this .json file."""

    overwrite: bool = False
    """Replace a file that exists; without it it is kept and the command fails."""

    json: bool = False
    """Print the rows as JSON on standard output and nothing else: a list, for `tasks` a list for each task."""


def world(*, options: RecipeOptions = RecipeOptions(), model: BenchModelOptions = BenchModelOptions()) -> int:
    """Where the maps of recipes point, what they name and what they cost.

    On the held-out split of the emoji world, with the visible pixels of every object. Minutes for all recipes; fewer
    with a smaller --count.
    """
    return _run(_world, options, model)


def tasks(*, options: RecipeOptions = RecipeOptions(), model: BenchModelOptions = BenchModelOptions()) -> int:
    """Masks, tags, points, damage and sentences, where the truth is known.

    On the held-out split of the emoji world, as `clipsight bench world`.
    """
    return _run(_tasks, options, model)


def _run(measure: "Callable[..., _Made]", options: RecipeOptions, model: BenchModelOptions) -> int:
    chosen = _read_recipes(options.recipes)
    seeds = tuple(dict.fromkeys(options.seeds))
    check_scenes(seeds, options.count)
    check_rows_file(options.out)
    from clipsight.results.io import atomic_write, check_writable, json_bytes

    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        check_writable(options.out, overwrite=options.overwrite)
    made = measure(model, chosen, seeds, options.count, options.contrast)
    document = json_bytes(made.data)
    if options.out is not None:
        with atomic_write(options.out, overwrite=options.overwrite) as file:
            file.write(document)
    if options.json:
        sys.stdout.write(document.decode())
    else:
        made.show()
        if options.out is not None:
            terminal().print(f"Written to {options.out.resolve()}", markup=False)
    for failure in made.failures:
        complain(failure)
    return FAILED if made.failures else DONE


@dataclass(frozen=True)
class _Made:
    """What was measured: for programs, for people, and what failed."""

    data: Any
    show: Callable[[], None]
    failures: list[str]


def _world(
    model: ModelOptions,
    recipes: tuple[str, ...],
    seeds: tuple[int, ...],
    count: int | None,
    contrast: Contrast,
) -> _Made:
    from clipsight.bench.world import COUNT, compare

    count = COUNT if count is None else count
    rows = compare(
        model.open(),
        recipes,
        seeds=seeds,
        count=count,
        contrast=contrast,
        strict=DEBUGGING.get(),
        watch=lambda steps: with_progress(steps, len(recipes) * len(seeds), lambda step: step.name),
    )
    title = f"{model.model}, held-out scenes: {count} of each seed {_words(seeds)}, contrast {contrast}"
    return _Made(
        [row.to_dict() for row in rows],
        lambda: _show(rows, title),
        [f"{row.recipe}: {row.error}" for row in rows if row.error],
    )


def _tasks(
    model: ModelOptions,
    recipes: tuple[str, ...],
    seeds: tuple[int, ...],
    count: int | None,
    contrast: Contrast,
) -> _Made:
    from clipsight.bench.measure_tasks import count_jobs, measure_tasks

    lens = model.open()
    counts: dict[str, Any] = {} if count is None else {"count": count, "segmented": count, "damaged": count}
    tables = measure_tasks(
        lens,
        recipes,
        seeds=seeds,
        contrast=contrast,
        strict=DEBUGGING.get(),
        watch=lambda steps: with_progress(
            steps, count_jobs(lens, recipes) * len(seeds), lambda step: step.name
        ),
        **counts,
    )
    return _Made(
        {task: [row.to_dict() for row in rows] for task, rows in tables.items()},
        lambda: _show_tasks(tables, f"{model.model}, held-out scenes of seeds {_words(seeds)}"),
        [
            f"{' '.join([task, *row.settings.values()])}: {row.error}"
            for task, rows in tables.items()
            for row in rows
            if row.error
        ],
    )


def _read_recipes(words: Sequence[str]) -> tuple[str, ...]:
    with side_terminal().status("starting ..."):
        import clipsight
        from clipsight.features import get_recipe
    if not words:
        raise Misuse(f"--recipes names none; give ids, or {ALL}.")
    if ALL in words:
        return clipsight.recipes()
    try:
        return tuple(dict.fromkeys(get_recipe(word).id for word in words))
    except ValueError as error:
        raise Misuse(f"--recipes: {error}") from error


def check_scenes(seeds: Sequence[int], count: int | None) -> None:
    """Refuse seeds and numbers of scenes that give none."""
    if not seeds or min(seeds) < 0:
        raise Misuse(f"--seeds {_words(seeds)}: give one or more, 0 or above.")
    if count is not None and count < 1:
        raise Misuse(f"--count {count} measures nothing; give 1 or more.")


def check_rows_file(out: Path | None) -> None:
    """Refuse a file that rows are not written into."""
    if out is not None and out.suffix.lower() != ".json":
        raise Misuse(f"--out {out} does not end with .json, which is how the rows are written.")


def _words(seeds: Sequence[int]) -> str:
    return " ".join(map(str, seeds))


def _show(rows: Sequence["RecipeRow"], title: str) -> None:
    """The recipes by AUROC, best first; then what they warned of."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("recipe", box=None, padding=(0, 2, 0, 0))
    for name in COLUMNS:
        table.add_column(name, justify="right")
    measured = [row for row in rows if not row.error]
    for row in sorted(measured, key=lambda row: -row.spread("auroc").mean):
        table.add_row(escape(row.recipe), *(_cell(row, *column) for column in COLUMNS.values()))
    console = terminal()
    console.print(escape(title), style="bold")
    console.print(table)
    console.print(LEGEND, style="dim")
    for row in measured:
        for note in row.notes:
            console.print(f"note: {row.recipe}: {note}", style="dim", markup=False)


def _show_tasks(tables: dict[str, list["TaskRow"]], title: str) -> None:
    """A table for each task, rows in the order of the work."""
    from rich.table import Table

    console = terminal()
    console.print(title, style="bold", markup=False)
    for task, rows in tables.items():
        measured = [row for row in rows if not row.error]
        if not measured:
            continue
        table = Table(*measured[0].settings, title=task, title_justify="left", box=None, padding=(0, 2, 0, 0))
        for name in measured[0].figures:
            table.add_column(name, justify="right", overflow="fold")
        for row in measured:
            cells = [_share(row, name) for name in measured[0].figures]
            table.add_row(*row.settings.values(), *cells)
        console.print()
        console.print(table)
        for note in dict.fromkeys(note for row in measured for note in row.notes):
            console.print(f"note: {note}", style="dim", markup=False)
    console.print()
    console.print(TASKS_LEGEND, style="dim")


def _share(row: "TaskRow", figure: str) -> str:
    spread = row.spread(figure)
    if isnan(spread.mean):
        return "–"
    if figure == "names":
        return f"{spread.mean:.0f}"
    return f"{spread.mean:.2f} ({spread.low:.2f}–{spread.high:.2f})"


def _cell(row: "RecipeRow", figure: str, unit: float, digits: int) -> str:
    spread = row.spread(figure)
    mean, low, high = (unit * value for value in (spread.mean, spread.low, spread.high))
    # The ends need a digit less than the mean, and the table a terminal's width.
    ends = [f"{end:.{digits - 1}f}" for end in (low, high)]
    return f"{mean:.{digits}f}" if ends[0] == ends[1] else f"{mean:.{digits}f} ({'–'.join(ends)})"
