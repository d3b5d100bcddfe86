"""Recipes side by side: a row for each, from the scenes of every seed."""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from clipsight.bench.about import About
from clipsight.bench.emoji import EmojiPart, noun_features, ready
from clipsight.bench.rows import open_rows
from clipsight.bench.runner import WHOLE, Share, WatchItems, WorkItem, run
from clipsight.bench.seeds import SEEDS, check_seeds, collect_warnings
from clipsight.bench.world.measure import measure
from clipsight.bench.world.table import MapOutcomes, RecipeRow, plain_figures, read_figures
from clipsight.features import Recipe
from clipsight.scoring.choice import Contrast
from clipsight.session.lens import Lens
from clipsight.world import make_scenes

COUNT = 100


def compare(
    lens: Lens,
    recipes: Sequence[str | Recipe],
    *,
    seeds: Sequence[int] = SEEDS,
    count: int = COUNT,
    contrast: Contrast = "labels",
    strict: bool = False,
    watch: WatchItems = iter,
    rows: Path | None = None,
    share: Share = WHOLE,
) -> list[RecipeRow]:
    """How well do these recipes point and name, and what do they cost? Held-out scenes with perfect masks.

    Every recipe is asked through `Lens.maps` about all nouns of the world, in the card's templates, on the same
    scenes; all recipes see a seed's scenes before the next seed is drawn.

    * `auroc`, `pointing`: of the maps of every noun present under `contrast`, at the scene's own size; see
      `clipsight.bench.emoji.map_quality`. Chance is 0.5, and the share of the picture that the noun covers.
    * `miou`: each pixel that shows an object is given the noun with the highest raw cosine there (never contrasted:
      feature surgery changes which noun is highest), among all nouns; see
      `clipsight.bench.metrics.mean_iou`. Pixels of the background do
      not count (label 255, as VOC has it), so this is a test of naming, not of outlines.
    * `seconds_per_image`: median time of pixels to maps under `contrast`, one picture at a time.
    * `peak_mb`: most memory, in 10⁶ bytes, that torch held at once for the pixels to maps of one picture, beyond the
      model, the picture and the text features. What numpy or a vendor's library takes besides is not counted. NaN
      where torch does not report it.

    Args:
        recipes: ids or `Recipe`s, each once.
        seeds: each draws its own `count` scenes.
        contrast: as in `Lens.maps`.
        strict: raise what a recipe raises; else its row says what it was, and the others go on.
        watch: wraps the len(seeds)·len(recipes) pieces of work, each with a `name`, for a progress bar.
        rows: file of rows (.jsonl): what it holds is not measured again. None measures everything.
        share: the part of the work that this process does; the rows of the other parts are missing from its answer.

    Returns:
        A row for each recipe, in the order given. Quality is the same at every run on one machine; times are not.

    Raises:
        ValueError: no recipe or seed, one given twice, no scene, or a negative seed; a file of rows of another
            question.
    """
    by_id = {_id(recipe): recipe for recipe in recipes}
    check_seeds([_id(recipe) for recipe in recipes], seeds, [count])
    own = {one.id: repr(one) for one in recipes if not isinstance(one, str)}
    question = {"own recipes": own, "seeds": list(seeds), "count": count, "contrast": contrast}
    kept = open_rows("world", About.of(lens), rows, share, **question)
    notes: dict[str, list[str]] = {name: [] for name in by_id}
    texts = noun_features(lens)

    @cache
    def parts(seed: int) -> tuple[EmojiPart, ...]:
        return tuple(ready(lens, list(make_scenes(count, seed, "heldout"))))

    def row(name: str, seed: int) -> dict[str, Any]:
        with collect_warnings(notes[name]):
            figures, maps = measure(lens, by_id[name], parts(seed), texts, contrast)
        return {"figures": plain_figures(figures), "maps": maps.to_dict(), "notes": notes[name]}

    def items() -> Iterator[WorkItem]:
        for seed in seeds:
            for name in by_id:
                yield WorkItem(id=f"{name}@{seed}", group=name, measure=lambda n=name, s=seed: row(n, s))
            parts.cache_clear()

    summary = run(items(), kept, share=share, strict=strict, watch=watch)
    errors = {failure.item.rpartition("@")[0]: failure.reason for failure in summary.failures}
    found = dict(kept)
    return [
        _recipe_row(
            name, {seed: found.get(f"{name}@{seed}") for seed in seeds}, notes[name], errors.get(name, "")
        )
        for name in by_id
    ]


def _recipe_row(name: str, rows: dict[int, Any], notes: Sequence[str], error: str) -> RecipeRow:
    there = {} if error else {seed: row for seed, row in rows.items() if row is not None}
    return RecipeRow(
        recipe=name,
        seeds=tuple(rows),
        by_seed={seed: read_figures(row["figures"]) for seed, row in there.items()},
        maps={seed: MapOutcomes.from_dict(row["maps"]) for seed, row in there.items()},
        notes=tuple(dict.fromkeys([*(note for row in there.values() for note in row["notes"]), *notes])),
        error=error,
    )


def _id(recipe: str | Recipe) -> str:
    return recipe if isinstance(recipe, str) else recipe.id
