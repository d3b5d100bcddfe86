"""All tasks of one model: a table for each."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from clipsight.bench.about import About
from clipsight.bench.rows import open_rows
from clipsight.bench.runner import WHOLE, Share, WatchItems, WorkItem, run
from clipsight.bench.seeds import SEEDS, check_seeds, collect_warnings, or_nan, or_none
from clipsight.bench.task import COUNT, DAMAGED, SEGMENTED, Drawn, Task, TaskJob, TaskRow, draw
from clipsight.bench.tasks import TASKS
from clipsight.scoring.choice import Contrast
from clipsight.session.lens import Lens


def measure_tasks(
    lens: Lens,
    recipes: Sequence[str],
    tasks: Sequence[Task] = TASKS,
    *,
    seeds: Sequence[int] = SEEDS,
    count: int = COUNT,
    segmented: int = SEGMENTED,
    damaged: int = DAMAGED,
    contrast: Contrast = "labels",
    strict: bool = False,
    watch: WatchItems = iter,
    rows: Path | None = None,
    share: Share = WHOLE,
) -> dict[str, list[TaskRow]]:
    """How well does this model do each task? Held-out scenes with perfect masks.

    Names to segment by are the nouns that the seed's segmented scenes show; tags and points ask all nouns of the world.
    What the figures of a table are is said by its task (`clipsight.bench.tasks.TASKS`).

    Args:
        recipes: ids, each once.
        tasks: which tables to make; all by default.
        seeds: each draws scenes of its own.
        count: scenes for tags, points and sentences. segmented: how many of them are segmented.
        damaged: damaged scenes for `anomaly`, and as many whole ones.
        contrast: of the maps that points are taken from, as in `Lens.maps`.
        strict: raise what a piece of work raises; otherwise its row says what it was, and the others go on.
        watch: wraps the pieces of work, each with a `name`, for a progress bar; `count_jobs(...)` × seeds of them.
        rows: file of rows (.jsonl): what it holds is not measured again. None measures everything.
        share: the part of the work that this process does; the rows of the other parts are missing from its answer.

    Raises:
        ValueError: no recipe or seed, one given twice, a count below 1, or a negative seed; a file of rows of another
            question.
    """
    counts = {"count": count, "segmented": segmented, "damaged": damaged}
    check_seeds(recipes, seeds, list(counts.values()))
    jobs = _jobs(lens, recipes, tasks, contrast)
    question = {"seeds": list(seeds), **counts, "contrast": contrast}
    kept = open_rows("tasks", About.of(lens), rows, share, **question)
    notes: dict[str, list[str]] = {name: [] for name in jobs}

    @cache
    def drawn(seed: int) -> Drawn:
        return draw(seed, count, segmented, damaged)

    def measured(name: str, seed: int) -> dict[str, Any]:
        with collect_warnings(notes[name]):
            made = jobs[name][1].work(drawn(seed))
        figures = [[more, {key: or_none(value) for key, value in one.items()}] for more, one in made]
        return {"rows": figures, "notes": notes[name]}

    def items() -> Iterator[WorkItem]:
        for seed in seeds:
            for name in jobs:
                yield WorkItem(
                    id=f"{name} @{seed}", group=name, measure=lambda n=name, s=seed: measured(n, s)
                )
            drawn.cache_clear()

    summary = run(items(), kept, share=share, strict=strict, watch=watch)
    errors = {failure.item.rpartition(" @")[0]: failure.reason for failure in summary.failures}
    found = dict(kept)
    tables: dict[str, list[TaskRow]] = {}
    for name, (task, job) in jobs.items():
        by_seed = {seed: found[f"{name} @{seed}"] for seed in seeds if f"{name} @{seed}" in found}
        tables.setdefault(task, []).extend(_task_rows(job, by_seed, notes[name], errors.get(name, "")))
    return tables


def count_jobs(
    lens: Lens, recipes: Sequence[str], tasks: Sequence[Task] = TASKS, contrast: Contrast = "labels"
) -> int:
    """How many pieces of work each seed has."""
    return len(_jobs(lens, recipes, tasks, contrast))


def _jobs(
    lens: Lens, recipes: Sequence[str], tasks: Sequence[Task], contrast: Contrast
) -> dict[str, tuple[str, TaskJob]]:
    """(task, job) by task and settings in words, in the order of the tables."""
    return {
        " ".join([task.id, *job.settings.values()]): (task.id, job)
        for task in tasks
        for job in task.jobs(lens, recipes, contrast)
    }


def _task_rows(job: TaskJob, by_seed: Mapping[int, Any], notes: Sequence[str], error: str) -> list[TaskRow]:
    said = tuple(dict.fromkeys([*(note for row in by_seed.values() for note in row["notes"]), *notes]))
    if error:
        return [TaskRow(settings=job.settings, notes=said, error=error)]
    figures: dict[tuple[tuple[str, str], ...], dict[int, dict[str, float]]] = {}
    for seed, row in by_seed.items():
        for more, one in row["rows"]:
            figures.setdefault(tuple(more.items()), {})[seed] = {
                name: or_nan(value) for name, value in one.items()
            }
    return [
        TaskRow(settings={**job.settings, **dict(more)}, by_seed=found, notes=said)
        for more, found in figures.items()
    ]
