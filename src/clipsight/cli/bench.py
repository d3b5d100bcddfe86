"""`clipsight bench`: recipes measured beside each other, where the truth is known."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from clipsight.cli.options import BUNDLED, ModelOptions
from clipsight.cli.outcome import DEBUGGING, DONE, FAILED, Misuse, complain, side_terminal, terminal
from clipsight.cli.progress import watched

if TYPE_CHECKING:
    from clipsight.bench.world import Row

ALL = "all"
LEGEND = (
    "AUROC, pointing: maps of the nouns there against their visible pixels; mIoU: objects' pixels named by the highest "
    "raw cosine; ms, MB (extra memory): one picture to maps; mean (lowest–highest seed)."
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


def bench(
    protocol: Literal["world"],
    /,
    *,
    recipes: Annotated[tuple[str, ...], Parameter(consume_multiple=True, show_default=" ".join)] = (ALL,),
    seeds: Annotated[
        tuple[int, ...],
        Parameter(consume_multiple=True, show_default=lambda given: " ".join(map(str, given))),
    ] = (101, 102, 103),
    count: int = 100,
    contrast: Literal["auto", "none", "labels", "empty"] = "labels",
    model: BenchModelOptions = BenchModelOptions(),
    out: Path | None = None,
    overwrite: bool = False,
    json: bool = False,
) -> int:
    """Measure recipes beside each other, where the truth is known.

    `world` is the held-out split of the emoji world, with the visible pixels of every object. Minutes for all
    recipes; fewer with a smaller --count.

    Args:
        protocol: What is measured on.
        recipes: Which recipes, by the ids that `clipsight methods` lists; `all` for all.
        seeds: Scenes of a seed are always the same; several seeds give the spread.
        count: How many scenes of each seed.
        contrast: What is subtracted from the maps for AUROC and pointing, as for `clipsight explain`; naming takes
            raw cosines always.
        out: Also write the rows into this .json file.
        overwrite: Replace a file that exists; without it it is kept and the command fails.
        json: Print one JSON list, a row for each recipe, on standard output and nothing else.
    """
    chosen = _read_recipes(recipes)
    seeds = tuple(dict.fromkeys(seeds))
    _check(seeds, count, out)
    from clipsight.bench.world import compare
    from clipsight.results.io import atomic_write, check_writable, json_bytes

    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        check_writable(out, overwrite=overwrite)
    lens = model.open()
    rows = compare(
        lens,
        chosen,
        seeds=seeds,
        count=count,
        contrast=contrast,
        strict=DEBUGGING.get(),
        watch=lambda steps: watched(steps, len(chosen) * len(seeds), lambda step: step.id),
    )
    document = json_bytes([row.to_dict() for row in rows])
    if out is not None:
        with atomic_write(out, overwrite=overwrite) as file:
            file.write(document)
    if json:
        sys.stdout.write(document.decode())
    else:
        _show(
            rows, f"{model.model}, held-out scenes: {count} of each seed {_words(seeds)}, contrast {contrast}"
        )
        if out is not None:
            terminal().print(f"Written to {out.resolve()}", markup=False)
    failed = [row for row in rows if row.error]
    for row in failed:
        complain(f"{row.recipe}: {row.error}")
    return FAILED if failed else DONE


def _read_recipes(words: Sequence[str]) -> tuple[str, ...]:
    with side_terminal().status("starting ..."):
        import clipsight
        from clipsight.surgery import get_recipe
    if not words:
        raise Misuse(f"--recipes names none; give ids, or {ALL}.")
    if ALL in words:
        return clipsight.recipes()
    try:
        return tuple(dict.fromkeys(get_recipe(word).id for word in words))
    except ValueError as error:
        raise Misuse(f"--recipes: {error}") from error


def _check(seeds: Sequence[int], count: int, out: Path | None) -> None:
    if not seeds or min(seeds) < 0:
        raise Misuse(f"--seeds {_words(seeds)}: give one or more, 0 or above.")
    if count < 1:
        raise Misuse(f"--count {count} measures nothing; give 1 or more.")
    if out is not None and out.suffix.lower() != ".json":
        raise Misuse(f"--out {out} does not end with .json, which is how the rows are written.")


def _words(seeds: Sequence[int]) -> str:
    return " ".join(map(str, seeds))


def _show(rows: Sequence["Row"], title: str) -> None:
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


def _cell(row: "Row", figure: str, unit: float, digits: int) -> str:
    spread = row.spread(figure)
    mean, low, high = (unit * value for value in (spread.mean, spread.low, spread.high))
    # The ends need a digit less than the mean, and the table a terminal's width.
    ends = [f"{end:.{digits - 1}f}" for end in (low, high)]
    return f"{mean:.{digits}f}" if ends[0] == ends[1] else f"{mean:.{digits}f} ({'–'.join(ends)})"
