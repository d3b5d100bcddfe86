"""`clipsight bench world` and `clipsight bench tasks`: recipes beside each other, where the truth is known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from clipsight.cli.map_options import ContrastWord
from clipsight.cli.options import BUNDLED, MODEL, JsonOutput, ModelOptions
from clipsight.cli.outcome import DEBUGGING, FAILURE, SUCCESS, UsageError, print_error, say, terminal
from clipsight.cli.progress import waiting, with_progress
from clipsight.cli.registry import verb, verb_group

if TYPE_CHECKING:
    from clipsight.bench.runner import Share
    from clipsight.bench.task import TaskRow
    from clipsight.bench.world import RecipeRow

BENCH = verb_group("bench", 130, "Measure recipes, tasks and composition, or audit a model.")
ALL = "all"
Seeds = Annotated[tuple[int, ...], Parameter(show_default=lambda given: " ".join(map(str, given)))]
LEGEND = (
    "AUROC, pointing: maps of the nouns that are present against their visible pixels; mIoU: pixels of objects, named "
    "by the highest raw cosine; ms, MB (extra memory): from one image to its maps; mean (lowest–highest seed)."
)

TASKS_LEGEND = (
    "Values in [0, 1], mean (lowest–highest seed). The documentation explains each, and what chance is."
)

COLUMNS = {
    "AUROC": ("auroc", 1.0, 3),
    "pointing": ("pointing", 1.0, 3),
    "mIoU": ("miou", 1.0, 3),
    "ms": ("seconds_per_image", 1000.0, 1),
    "MB": ("peak_mb", 1.0, 1),
}
"""Figure, factor to the column's unit, decimals of the mean."""


@Parameter(name="*", group=MODEL)
@dataclass(frozen=True, kw_only=True)
class BenchModelOptions(ModelOptions):
    """Which model to measure."""

    model: str = BUNDLED
    """Model, named as for `clipsight explain`. Only the bundled models know the emoji world."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """What to measure."""

    recipes: Annotated[tuple[str, ...], Parameter(show_default=" ".join)] = (ALL,)
    """Recipes by id, as listed by `clipsight methods`; `all` for all of them."""

    seeds: Seeds = (101, 102, 103)
    """Seeds of the scenes. The scenes of a seed are always the same; several seeds show the spread."""

    count: int | None = None
    """Number of scenes per seed. Defaults to 100 for `world`; for `tasks` to 60, of which 20 are segmented, and to 20
    damaged and 20 undamaged things. A number given here replaces all of these."""

    contrast: ContrastWord = "labels"

    rows: Path | None = None
    """Also keep each result in this .jsonl file once it is measured. The same command continues an interrupted run."""

    part: str | None = None
    """Measure only one part of the work, such as `2/4` for the second of four processes, into --rows. When all parts
    are done, the same command without --part reads them and prints the table."""


@verb(1, group=BENCH)
def world(
    *,
    options: RecipeOptions = RecipeOptions(),
    model: BenchModelOptions = BenchModelOptions(),
    output: JsonOutput = JsonOutput(),
) -> int:
    """Measure where the maps of recipes point, what they name and what they cost.

    Uses the held-out split of the emoji world, where the visible pixels of every object are known. All recipes take
    minutes; a smaller --count takes less. The contrast applies to AUROC and pointing; naming always uses raw cosines.
    The JSON document is a list with one row per recipe.
    """
    return _run(_world, options, model, output)


@verb(2, group=BENCH)
def tasks(
    *,
    options: RecipeOptions = RecipeOptions(),
    model: BenchModelOptions = BenchModelOptions(),
    output: JsonOutput = JsonOutput(),
) -> int:
    """Measure masks, tags, points, damage and sentences against known truth.

    Uses the held-out split of the emoji world, like `clipsight bench world`. The contrast applies to points. The JSON
    document has one list of rows per task.
    """
    return _run(_tasks, options, model, output)


def _run(
    measure: "Callable[..., _Made]", options: RecipeOptions, model: BenchModelOptions, output: JsonOutput
) -> int:
    chosen = _read_recipes(options.recipes)
    seeds = tuple(dict.fromkeys(options.seeds))
    check_scenes(seeds, options.count)
    share = read_part(options.part)
    if options.part is not None and options.rows is None:
        raise UsageError(
            f"--part {options.part} measures rows for other processes; say where with --rows FILE.jsonl."
        )
    if options.rows is not None and options.rows.suffix.lower() != ".jsonl":
        raise UsageError(f"--rows {options.rows} does not end with .jsonl, the format of the rows.")
    output.check()
    made = measure(
        model, chosen, seeds, options.count, options.contrast, {"rows": options.rows, "share": share}
    )
    if options.part is not None:
        say(
            f"Part {options.part} is measured, beside {options.rows}. When all parts are there, run the same command "
            "without --part to get the table."
        )
    elif not output.write(made.data):
        made.show()
        output.say_where()
    for failure in made.failures:
        print_error(failure)
    return FAILURE if made.failures else SUCCESS


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
    contrast: ContrastWord,
    kept: dict[str, Any],
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
        **kept,
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
    contrast: ContrastWord,
    kept: dict[str, Any],
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
        **kept,
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
    with waiting():
        import clipsight
        from clipsight.features import get_recipe
    if not words:
        raise UsageError(f"--recipes is empty; give ids, or {ALL}.")
    if ALL in words:
        return clipsight.recipes()
    try:
        return tuple(dict.fromkeys(get_recipe(word).id for word in words))
    except ValueError as error:
        raise UsageError(f"--recipes: {error}") from error


def read_part(word: str | None) -> "Share":
    """The share of the work that `2/4` means; all of it without a word.

    Raises:
        UsageError: the word does not have that form.
    """
    from clipsight.bench.runner import WHOLE, Share

    try:
        return WHOLE if word is None else Share.parse(word)
    except ValueError as error:
        raise UsageError(f"--part {error}") from error


def check_scenes(seeds: Sequence[int], count: int | None) -> None:
    """Refuse seeds and counts that give no scenes."""
    if not seeds or min(seeds) < 0:
        raise UsageError(f"--seeds {_words(seeds)}: give one or more, 0 or above.")
    if count is not None and count < 1:
        raise UsageError(f"--count {count} measures nothing; give 1 or more.")


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
    say(title, style="bold")
    terminal().print(table)
    say(LEGEND, style="dim")
    for row in measured:
        for note in row.notes:
            say(f"note: {row.recipe}: {note}", style="dim")


def _show_tasks(tables: dict[str, list["TaskRow"]], title: str) -> None:
    """A table for each task, rows in the order of the work."""
    from rich.table import Table

    say(title, style="bold")
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
        say("")
        terminal().print(table)
        for note in dict.fromkeys(note for row in measured for note in row.notes):
            say(f"note: {note}", style="dim")
    say("")
    say(TASKS_LEGEND, style="dim")


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
