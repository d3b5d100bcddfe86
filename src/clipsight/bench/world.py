"""Recipes beside each other on the held-out emoji world: where their maps point, what they name, what they cost."""

import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from clipsight.bench.emoji import BACKGROUND, EmojiPart, judge_maps, noun_features, ready
from clipsight.errors import ClipsightWarning
from clipsight.features import Recipe, get_recipe
from clipsight.scoring import feature_surgery, similarity_maps
from clipsight.scoring.choice import Contrast
from clipsight.session.lens import Lens
from clipsight.world import check_request, make_scenes

SEEDS = (101, 102, 103)
COUNT = 100
_TIMED = 10


@dataclass(frozen=True, kw_only=True)
class WorldFigures:
    """What one recipe reached on the scenes of one seed; see `compare` for what the figures mean."""

    auroc: float
    pointing: float
    miou: float
    seconds_per_image: float
    peak_mb: float


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A figure over the seeds: mean, lowest and highest."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class RecipeRow:
    """One recipe's line of the comparison.

    Attributes:
        by_seed: figures by seed; empty when the recipe failed.
        notes: what the recipe warned of, each once. error: why it failed, empty when it did not.
    """

    recipe: str
    seeds: tuple[int, ...]
    by_seed: dict[int, WorldFigures] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    error: str = ""

    def spread(self, figure: str) -> Spread:
        """Mean, lowest and highest of a field of `WorldFigures`; NaN when the recipe failed."""
        values = [getattr(one, figure) for one in self.by_seed.values()] or [float("nan")]
        return Spread(mean=statistics.fmean(values), low=min(values), high=max(values))

    def to_dict(self) -> dict[str, Any]:
        """Plain data: the means by name, None where there is none; `note` and `error` only where there is one."""
        means = {name: self.spread(name).mean for name in FIGURES}
        return {
            "recipe": self.recipe,
            **{name: None if np.isnan(mean) else mean for name, mean in means.items()},
            "seeds": list(self.seeds),
            "by_seed": [{"seed": seed, **_plain(one)} for seed, one in self.by_seed.items()],
            **({"note": " ".join(self.notes)} if self.notes else {}),
            **({"error": self.error} if self.error else {}),
        }


FIGURES = tuple(one.name for one in fields(WorldFigures))


@dataclass(frozen=True, kw_only=True, eq=False)
class WorldStep:
    """The next piece of work: a recipe on the scenes of a seed."""

    recipe: str | Recipe
    seed: int
    parts: tuple[EmojiPart, ...]

    @property
    def id(self) -> str:
        """The recipe's id."""
        return _id(self.recipe)


def compare(
    lens: Lens,
    recipes: Sequence[str | Recipe],
    *,
    seeds: Sequence[int] = SEEDS,
    count: int = COUNT,
    contrast: Contrast = "labels",
    strict: bool = False,
    watch: Callable[[Iterator[WorldStep]], Iterable[WorldStep]] = iter,
) -> list[RecipeRow]:
    """How well do these recipes point and name, and what do they cost? Held-out scenes with perfect masks.

    Every recipe is asked through `Lens.maps` about all nouns of the world, in the card's templates, on the same
    scenes; all recipes see a seed's scenes before the next seed is drawn.

    * `auroc`, `pointing`: of the maps of every noun present under `contrast`, at the scene's own size; see
      `clipsight.bench.emoji.map_quality`. Chance is 0.5, and the share of the picture that the noun covers.
    * `miou`: each pixel that shows an object is given the noun with the highest raw cosine there (never contrasted:
      feature surgery changes which noun is highest), among all nouns; see `mean_iou`. Pixels of the background do
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
        watch: wraps the len(seeds)·len(recipes) steps, for a progress bar.

    Returns:
        A row for each recipe, in the order given. Quality is the same at every run on one machine; times are not.

    Raises:
        ValueError: no recipe or seed, one given twice, no scene, or a negative seed.
    """
    _check(recipes, seeds, count)
    texts = noun_features(lens)
    found: dict[str, dict[int, WorldFigures]] = {_id(recipe): {} for recipe in recipes}
    notes: dict[str, list[str]] = {name: [] for name in found}
    errors: dict[str, str] = {}
    for step in watch(_steps(lens, recipes, seeds, count)):
        if step.id in errors:
            continue
        try:
            with collect_warnings(notes[step.id]):
                found[step.id][step.seed] = measure(lens, step.recipe, step.parts, texts, contrast)
        except Exception as error:
            # Whatever goes wrong in one recipe belongs into its row: the figures of the others took minutes.
            if strict:
                raise
            errors[step.id] = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return [
        RecipeRow(
            recipe=name,
            seeds=tuple(seeds),
            by_seed={} if name in errors else found[name],
            notes=tuple(notes[name]),
            error=errors.get(name, ""),
        )
        for name in found
    ]


def measure(
    lens: Lens,
    recipe: str | Recipe,
    parts: Sequence[EmojiPart],
    texts: Float[Tensor, "T E"],
    contrast: Contrast = "labels",
) -> WorldFigures:
    """The figures of one recipe on scenes made ready; `compare` says what they are."""
    areas, hits = [], []
    confusion = np.zeros((len(texts), len(texts)), np.int64)
    for part in parts:
        raw, maps = _raw_and_contrasted(lens, recipe, part.pixels, texts, contrast)
        for kept, figures in zip((areas, hits), judge_maps(maps, part), strict=True):
            kept.append(figures)
        confusion += naming_confusion(raw, part)
    one_by_one = parts[0].pixels[:_TIMED].split(1)

    def look(pixels: Float[Tensor, "1 3 H W"]) -> Float[Tensor, "1 T h w"]:
        return lens.maps(
            pixels, texts, recipe, contrast
        ).cpu()  # to the CPU: an accelerator's work is waited for

    return WorldFigures(
        auroc=float(np.concatenate(areas).mean()),
        pointing=float(np.concatenate(hits).mean()),
        miou=mean_iou(confusion),
        seconds_per_image=statistics.median([_seconds(look, pixels) for pixels in one_by_one]),
        peak_mb=peak_bytes(lambda: look(one_by_one[0])) / 1e6,
    )


def _raw_and_contrasted(
    lens: Lens, recipe: str | Recipe, pixels: Tensor, texts: Tensor, contrast: Contrast
) -> tuple[Float[Tensor, "B T h w"], Float[Tensor, "B T h w"]]:
    """Both kinds of maps, from one encoding where the method's scores are cosines of features."""
    if contrast in ("labels", "none", None) and not get_recipe(recipe).has_own_scores:
        features = lens.features(pixels, recipe, texts)
        raw = similarity_maps(features.patches, texts)
        return raw, raw if contrast != "labels" else feature_surgery(features.patches, features.pooled, texts)
    return lens.maps(pixels, texts, recipe, None), lens.maps(pixels, texts, recipe, contrast)


def naming_confusion(maps: Float[Tensor, "B T h w"], part: EmojiPart) -> Int[np.ndarray, "T T"]:
    """Pixels of objects by the noun they show (row) and the noun whose map is highest there (column).

    Maps are brought bilinearly to the scene's size, at those pixels alone: few show an object. Ties go to the first.
    """
    nouns = maps.shape[1]
    confusion = np.zeros((nouns, nouns), np.int64)
    rows, columns = part.labels.shape[1:]
    for one, labels in zip(maps.float().cpu(), part.labels, strict=True):
        y, x = np.nonzero(labels != BACKGROUND)
        # Centres of pixels, with -1 and 1 the picture's edges: what `interpolate` computes without align_corners.
        spots = torch.from_numpy(
            np.stack([(2 * x + 1) / columns - 1, (2 * y + 1) / rows - 1], axis=-1)
        ).float()
        scores = F.grid_sample(one[None], spots[None, None], padding_mode="border", align_corners=False)
        named = scores[0, :, 0].argmax(0).numpy()
        pairs = labels[y, x].astype(np.int64) * nouns + named
        confusion += np.bincount(pairs, minlength=nouns * nouns).reshape(nouns, nouns)
    return confusion


def mean_iou(confusion: Int[np.ndarray, "T T"]) -> float:
    """Mean over the classes that occur of intersection over union, in [0, 1]; NaN when none does.

    Args:
        confusion: pixels of the whole data set, truth by row, prediction by column. A class that only predictions hold
            has no line of its own in the mean; its pixels are missing from the classes they belong to.
    """
    both = confusion.diagonal()
    truth = confusion.sum(1)
    either = truth + confusion.sum(0) - both
    there = truth > 0
    return float((both[there] / either[there]).mean()) if there.any() else float("nan")


def peak_bytes(work: Callable[[], object]) -> float:
    """Most bytes that torch held at once during `work` beyond what it held before.

    Summed from what torch's profiler reports of allocating and freeing: unlike the process's size, the same at every
    run, and not hidden by an earlier peak. NaN when nothing is reported.
    """
    with _quiet_profiler(), tempfile.TemporaryDirectory() as folder:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            work()
        file = Path(folder) / "trace.json"
        record.export_chrome_trace(str(file))
        events = json.loads(file.read_text(encoding="utf-8"))["traceEvents"]
    changes = sorted(
        (event["ts"], event["args"]["Ev Idx"], event["args"]["Bytes"])
        for event in events
        if event.get("name") == "[memory]"
    )
    held = np.cumsum([change for *_, change in changes])
    return float(held.max()) if len(held) else float("nan")


def _check(recipes: Sequence[str | Recipe], seeds: Sequence[int], count: int) -> None:
    for name, given in (("recipes", [_id(recipe) for recipe in recipes]), ("seeds", list(seeds))):
        if not given or len(set(given)) < len(given):
            raise ValueError(f"{name} is {given}; give at least one, and each once.")
    if count < 1:
        raise ValueError(f"count is {count}; nothing is measured on no scene, give 1 or more.")
    for seed in seeds:
        check_request("heldout", 112, seed, count)


def _steps(
    lens: Lens, recipes: Sequence[str | Recipe], seeds: Sequence[int], count: int
) -> Iterator[WorldStep]:
    for seed in seeds:
        parts = tuple(ready(lens, list(make_scenes(count, seed, "heldout"))))
        for recipe in recipes:
            yield WorldStep(recipe=recipe, seed=seed, parts=parts)


def _id(recipe: str | Recipe) -> str:
    return recipe if isinstance(recipe, str) else recipe.id


def _plain(figures: WorldFigures) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else value for name, value in asdict(figures).items()}


def _seconds(work: Callable[[Tensor], object], pixels: Tensor) -> float:
    start = time.perf_counter()
    work(pixels)
    return time.perf_counter() - start


@contextmanager
def collect_warnings(notes: list[str]) -> Iterator[None]:
    """Our warnings become notes, each once; those of libraries go their way."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ClipsightWarning)
        try:
            yield
        finally:
            said = [str(one.message) for one in caught if issubclass(one.category, ClipsightWarning)]
            notes += [text for text in dict.fromkeys(said) if text not in notes]
    for one in caught:
        if not issubclass(one.category, ClipsightWarning):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


@contextmanager
def _quiet_profiler() -> Iterator[None]:
    """The profiler of torch writes log lines to standard error when first used, unless the environment says not to."""
    name = "KINETO_LOG_LEVEL"
    before = os.environ.get(name)
    os.environ.setdefault(name, "99")
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
