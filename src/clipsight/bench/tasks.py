"""What one does with a picture, measured on the held-out emoji world: masks, tags, points, damage, sentences.

Every figure comes from the calls that a user makes (`Lens.segment`, `Lens.tag`, `Explanation.points`, `Lens.anomaly`,
`Lens.sentence`) on scenes whose pixels are known.
"""

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Any

import numpy as np
from einops import rearrange
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score
from torch.nn import functional as F

from clipsight.bench.emoji import pixel_auroc
from clipsight.bench.world import SEEDS, Spread, collect_warnings, mean_iou
from clipsight.results.tags import THERE
from clipsight.scoring.choice import Contrast
from clipsight.session.lens import Lens
from clipsight.tasks.background import PRESENCE_LIMIT, Background
from clipsight.world import Scene, check_request, make_scene, make_scenes, nouns
from clipsight.world.sprites import plural

COUNT = 60
SEGMENTED = 20
DAMAGED = 20
REFINED = ("clip", "clip_surgery", "sc_clip")
"""Recipes whose windows, refinements, backgrounds and points are measured, where they are among those asked."""
REFINEMENTS = (None, "pamr", "guided", "propagation")
BACKGROUNDS: dict[str, Background] = {
    "none": Background(),
    "threshold 0.1": Background(threshold=0.1),
    "threshold 0.2": Background(threshold=0.2),
    "threshold 0.4": Background(threshold=0.4),
    "words": Background(words=("background", "plain background", "colorful background")),
    "presence": Background(presence=PRESENCE_LIMIT),
    "presence, threshold 0.2": Background(presence=PRESENCE_LIMIT, threshold=0.2),
}
"""Policies by the name that their rows bear."""
STATES: dict[str, dict[str, Any]] = {
    "world": {
        "domain": ["photo"],
        "normal": ["intact {}", "flawless {}"],
        "abnormal": ["damaged {}", "broken {}"],
    },
    "paper": {},
}
"""Prompts for damage: the world's own words for its states, and AnoCLIP's 924."""
FPR_LIMIT = 0.3

Found = list[tuple[dict[str, str], dict[str, float]]]


@dataclass(frozen=True, kw_only=True)
class TaskRow:
    """One line of a task's table.

    Attributes:
        settings: what was measured, in words. by_seed: figures by seed, NaN where there was nothing to measure.
        notes: what was warned of, each once. error: why it failed, empty when it did not.
    """

    settings: dict[str, str]
    by_seed: dict[int, dict[str, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    error: str = ""

    def spread(self, figure: str) -> Spread:
        """Mean, lowest and highest of a figure over the seeds that have it; NaN when none has."""
        values = [one[figure] for one in self.by_seed.values() if not isnan(one.get(figure, float("nan")))]
        values = values or [float("nan")]
        return Spread(mean=statistics.fmean(values), low=min(values), high=max(values))

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the figures."""
        return tuple(dict.fromkeys(name for one in self.by_seed.values() for name in one))

    def to_dict(self) -> dict[str, Any]:
        """Plain data: settings, means by name with None for NaN, figures by seed; `error` only where there is one."""
        return {
            **self.settings,
            **{name: _plain(self.spread(name).mean) for name in self.figures},
            "seeds": list(self.by_seed),
            "by_seed": [
                {"seed": seed, **{name: _plain(value) for name, value in one.items()}}
                for seed, one in self.by_seed.items()
            ],
            **({"note": " ".join(self.notes)} if self.notes else {}),
            **({"error": self.error} if self.error else {}),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """The scenes of a seed: `mixed`, of which the first `few` are segmented; `alone`, half of them damaged."""

    mixed: tuple[Scene, ...]
    few: tuple[Scene, ...]
    alone: tuple[Scene, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """A piece of work: makes rows of one task from the scenes of a seed."""

    task: str
    settings: dict[str, str]
    work: Callable[[Drawn], Found]


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskStep:
    """A job on the scenes of a seed."""

    job: Job
    seed: int
    drawn: Drawn

    @property
    def id(self) -> str:
        """Task and settings, for a progress bar."""
        return " ".join([self.job.task, *self.job.settings.values()])


def measure_tasks(
    lens: Lens,
    recipes: Sequence[str],
    *,
    seeds: Sequence[int] = SEEDS,
    count: int = COUNT,
    segmented: int = SEGMENTED,
    damaged: int = DAMAGED,
    contrast: Contrast = "labels",
    strict: bool = False,
    watch: Callable[[Iterator[TaskStep]], Iterable[TaskStep]] = iter,
) -> dict[str, list[TaskRow]]:
    """How well does this model do each task? Held-out scenes with perfect masks.

    Names to segment by are the nouns that the seed's segmented scenes show (their number is the figure `names`); tags
    and points ask all nouns of the world. Tables, and their figures in [0, 1] unless said:

    * `segmentation`: every recipe, whole picture, pixels of objects alone. `miou` over the seed's nouns, by the
      confusion of the whole seed; `pixels`, the share of object pixels with the right name.
    * `refinement`: the same for a few recipes, whole picture and windows, with each refinement.
    * `background`: the same recipes on all pixels, the background a class like others, under each policy. `miou`;
      `objects`, mIoU of the nouns alone; `background`, IoU of the background.
    * `tags`: by what the labels are ordered (`chance`: at random). `map`, average precision over the pictures, mean
      over the nouns shown; `map_by_picture`, average precision over the nouns, mean over the pictures; for presence
      `precision` and `recall` of all labels at or above `THERE`.
    * `points`: `positives_on`, share of positive points on the object; `negatives_off`, of negative ones off it;
      `best_on`, how often the highest is on it; `without`, share of maps that give no points; `share`, of the picture
      that the object covers, which is what chance reaches.
    * `anomaly`: one-object scenes, as many damaged as whole. `image_auroc` of the score; `inside_auroc`, pixel AUROC
      among the damaged thing's own pixels, mean over the damaged; `pixel_auroc`, among all pixels; `pro`, per-region
      overlap up to a false positive rate of 0.3 (see `region_overlap`); `inside_pro`, where only things count.
    * `sentence`: `object_on`, how often the map of an object's words is highest on the object; `other_on`, the same
      of the sentence's other words and any object; `own`, in sentences with several objects how often a word's map is
      higher on its own object than on each other; `top`, how often the highest word is an object's;
      `nouns`, the share of words that are, which is what chance reaches there; `share` as for points.

    Args:
        recipes: ids, each once.
        seeds: each draws scenes of its own.
        count: scenes for tags, points and sentences. segmented: how many of them are segmented.
        damaged: damaged scenes for `anomaly`, and as many whole ones.
        contrast: of the maps that points are taken from, as in `Lens.maps`.
        strict: raise what a piece of work raises; else its row says what it was.
        watch: wraps the pieces of work, for a progress bar; `jobs_of(...)` × seeds of them.

    Raises:
        ValueError: no recipe or seed, one given twice, a count below 1, or a negative seed.
    """
    _check(recipes, seeds, (count, segmented, damaged))
    jobs = jobs_of(lens, recipes, contrast)
    found = {job: _Found() for job in jobs}
    for step in watch(_steps(jobs, seeds, lambda seed: draw(seed, count, segmented, damaged))):
        _do(step, found[step.job], strict=strict)
    tables: dict[str, list[TaskRow]] = {job.task: [] for job in jobs}
    for job, one in found.items():
        tables[job.task] += one.rows(job)
    return tables


@dataclass
class _Found:
    """What a job found so far: for each of its rows settings and figures by seed."""

    figures: dict[tuple[tuple[str, str], ...], dict[int, dict[str, float]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    error: str = ""

    def rows(self, job: Job) -> list[TaskRow]:
        notes = tuple(self.notes)
        if self.error:
            return [TaskRow(settings=job.settings, notes=notes, error=self.error)]
        return [
            TaskRow(settings={**job.settings, **dict(more)}, by_seed=by_seed, notes=notes)
            for more, by_seed in self.figures.items()
        ]


def _do(step: TaskStep, found: _Found, *, strict: bool) -> None:
    if found.error:
        return
    try:
        with collect_warnings(found.notes):
            for more, figures in step.job.work(step.drawn):
                found.figures.setdefault(tuple(more.items()), {})[step.seed] = figures
    except Exception as error:
        # Whatever goes wrong in one piece belongs into its row: the figures of the others took minutes.
        if strict:
            raise
        found.error = f"{type(error).__name__}: {' '.join(str(error).split())}"


def jobs_of(lens: Lens, recipes: Sequence[str], contrast: Contrast = "labels") -> list[Job]:
    """The pieces of work of one seed, in the order of the tables."""
    few = [one for one in REFINED if one in recipes] or list(recipes[:3])
    jobs = [
        Job(task="segmentation", settings={"recipe": one}, work=_segmenting(lens, one, "whole", None))
        for one in recipes
    ]
    jobs += [
        Job(
            task="refinement",
            settings={"recipe": one, "picture": picture, "refine": refine or "none"},
            work=_segmenting(lens, one, window, refine),
        )
        for one in few
        for picture, window in (("whole", "whole"), ("windows", "windows"))
        for refine in REFINEMENTS
    ]
    jobs += [
        Job(
            task="background",
            settings={"recipe": one, "policy": name},
            work=_with_background(lens, one, policy),
        )
        for one in few
        for name, policy in BACKGROUNDS.items()
    ]
    jobs += [Job(task="tags", settings={}, work=lambda drawn: tag_figures(lens, drawn.mixed))]
    jobs += [Job(task="points", settings={"recipe": one}, work=_pointing(lens, one, contrast)) for one in few]
    for prompts, views, recipe in (
        ("world", "one", "clip"),
        ("world", "one", "anoclip"),
        ("world", "all", "anoclip"),
        ("paper", "one", "anoclip"),
    ):
        settings = {"recipe": recipe, "prompts": prompts, "views": views}
        jobs.append(Job(task="anomaly", settings=settings, work=_inspecting(lens, recipe, prompts, views)))
    jobs += [Job(task="sentence", settings={"recipe": one}, work=_reading(lens, one)) for one in few]
    return jobs


def _steps(jobs: Sequence[Job], seeds: Sequence[int], make: Callable[[int], Drawn]) -> Iterator[TaskStep]:
    for seed in seeds:
        drawn = make(seed)
        yield from (TaskStep(job=job, seed=seed, drawn=drawn) for job in jobs)


def draw(seed: int, count: int, segmented: int, damaged: int) -> Drawn:
    """The scenes of a seed."""
    mixed = tuple(make_scenes(max(count, segmented), seed, "heldout"))
    broken: list[Scene] = []
    whole: list[Scene] = []
    index = 0
    while min(len(broken), len(whole)) < damaged:
        scene = make_scene(index, seed, "heldout", objects=1)
        index += 1
        # Damage that a rotation or the scene's edge hid is no damage to be found.
        kept = broken if scene.damage_masks.any() else whole
        if scene.objects[0].damaged == bool(scene.damage_masks.any()) and len(kept) < damaged:
            kept.append(scene)
    return Drawn(mixed=mixed[:count], few=mixed[:segmented], alone=(*broken, *whole))


def segmentation_figures(
    lens: Lens, scenes: Sequence[Scene], recipe: str, window: str, refine: str | None
) -> dict[str, float]:
    """Naming of the pixels of objects, among the nouns of these scenes; `measure_tasks` says what the figures are."""
    names = shown(scenes)
    confusion = np.zeros((len(names), len(names)), np.int64)
    side = min(lens.card.size)
    seen: dict[str, Any] = (
        {"window": (side, side // 2), "short_side": side * 3 // 2}
        if window == "windows"
        else {"window": window}
    )
    for scene in scenes:
        made = lens.segment(scene.image, names, recipe, refine=refine, **seen)
        confusion += _confusion(made.labels.numpy(), truth(scene, names), len(names))
    return {
        "miou": mean_iou(confusion),
        "pixels": float(confusion.trace() / confusion.sum()),
        "names": float(len(names)),
    }


def background_figures(
    lens: Lens, scenes: Sequence[Scene], recipe: str, policy: Background
) -> dict[str, float]:
    """Naming of all pixels, with the background as a class; `measure_tasks` says what the figures are."""
    names = shown(scenes)
    nothing = len(names)
    confusion = np.zeros((nothing + 1, nothing + 1), np.int64)
    for scene in scenes:
        made = lens.segment(scene.image, names, recipe, "whole", policy)
        found = made.labels.numpy()
        if made.background:
            found = found - 1
        found = np.where(found < 0, nothing, found)
        there = truth(scene, names)
        confusion += _confusion(found, np.where(there < 0, nothing, there), nothing + 1)
    both = confusion.diagonal()
    each = both / (confusion.sum(1) + confusion.sum(0) - both)
    return {
        "miou": float(each.mean()),
        "objects": float(each[:nothing].mean()),
        "background": float(each[nothing]),
    }


def tag_figures(lens: Lens, scenes: Sequence[Scene]) -> Found:
    """How well scores, cosines and presence order all nouns of the world; `measure_tasks` says what the figures are."""
    names = nouns()
    there = np.array([[name in {one.name for one in scene.objects} for name in names] for scene in scenes])
    tags = [lens.tag(scene.image, names) for scene in scenes]
    rows: Found = []
    ordered = {
        "score": np.stack([one.scores.numpy() for one in tags]),
        "cosine": np.stack([one.similarity.numpy() for one in tags]),
        "presence": np.stack([one.presence.numpy() for one in tags]),
        "chance": np.random.default_rng(0).random(there.shape),
    }
    for by, values in ordered.items():
        figures = {"map": mean_precision(values.T, there.T), "map_by_picture": mean_precision(values, there)}
        said = values >= THERE
        hits, nan = float((said & there).sum()), float("nan")
        figures["precision"] = hits / said.sum() if by == "presence" and said.any() else nan
        figures["recall"] = hits / there.sum() if by == "presence" else nan
        rows.append(({"by": by}, {name: float(value) for name, value in figures.items()}))
    return rows


def mean_precision(values: Float[np.ndarray, "R n"], there: Bool[np.ndarray, "R n"]) -> float:
    """Average precision of each row that has something to find, their mean."""
    found = [
        average_precision_score(mask, row) for row, mask in zip(values, there, strict=True) if mask.any()
    ]
    return float(np.mean(found))


def point_figures(lens: Lens, scenes: Sequence[Scene], recipe: str, contrast: Contrast) -> dict[str, float]:
    """Whether points lie where they say; `measure_tasks` says what the figures are."""
    on, off, best, covered, asked = [], [], [], [], 0
    results = lens.explain([scene.image for scene in scenes], nouns(), recipe, contrast)
    for scene, result in zip(scenes, results, strict=True):
        for name in dict.fromkeys(one.name for one in scene.objects):
            mask = scene.mask(name)
            if not mask.any():
                continue
            points = result.points(name)
            asked += 1
            covered.append(mask.mean())
            if len(points):
                hits = mask[points.positives[:, 1], points.positives[:, 0]]
                on.append(hits.mean())
                best.append(hits[-1])  # positives come by ascending score
                off.append(1 - mask[points.negatives[:, 1], points.negatives[:, 0]].mean())
    return {
        "positives_on": _mean(on),
        "negatives_off": _mean(off),
        "best_on": _mean(best),
        "without": 1 - len(on) / asked,
        "share": _mean(covered),
    }


def anomaly_figures(
    lens: Lens, scenes: Sequence[Scene], recipe: str, prompts: str, views: str
) -> dict[str, float]:
    """Whether damage is found, and where; `measure_tasks` says what the figures are."""
    maps, scores = [], []
    for scene in scenes:
        found = lens.anomaly(scene.image, scene.objects[0].name, recipe, views=views, **STATES[prompts])
        maps.append(found.upsample(scene.masks.shape[1:]).numpy())
        scores.append(found.score)
    where = np.stack([scene.damage_masks[0] for scene in scenes])
    # The inside of a hole shows the background, and belongs to the thing none the less.
    things = np.stack([scene.masks[0] for scene in scenes]) | where
    values, broken = np.stack(maps), where.any((1, 2))
    inside = [
        pixel_auroc(one[thing][None], mask[thing][None])[0]
        for one, mask, thing in zip(values[broken], where[broken], things[broken], strict=True)
    ]
    flat = rearrange(values[broken], "B H W -> B (H W)"), rearrange(where[broken], "B H W -> B (H W)")
    return {
        "image_auroc": float(roc_auc_score(broken, scores)),
        "inside_auroc": _mean(inside),
        "pixel_auroc": float(pixel_auroc(*flat).mean()),
        "pro": region_overlap(values, where),
        "inside_pro": region_overlap(values, where, things),
    }


def region_overlap(
    scores: Float[np.ndarray, "B H W"],
    where: Bool[np.ndarray, "B H W"],
    counted: Bool[np.ndarray, "B H W"] | None = None,
    limit: float = FPR_LIMIT,
) -> float:
    """Area under the per-region overlap (PRO) up to a false positive rate, divided by that rate; chance limit/2.

    For a threshold, PRO is the mean over the connected regions of `where` of the share of each that reaches it, and the
    false positive rate the share of the other pixels that do, all pictures together. The area is a mean over regions of
    a mean over their pixels of how much of [0, limit] lies beyond the rate at that pixel's score; so no thresholds are
    tried, and ties are exact (the curve is straight across them).

    Args:
        scores: higher means more abnormal; comparable across the pictures.
        where: abnormal pixels. counted: the pixels that may be false positives; None is all.

    Returns:
        In [0, 1]; NaN without a region or without other pixels.

    Source: the measure of MVTec AD (Bergmann et al., IJCV 2021, §4.2).
    """
    rest = np.sort(scores[~where] if counted is None else scores[counted & ~where])
    areas = []
    for picture, mask in zip(scores, where, strict=True):
        labelled: Any = ndimage.label(mask, np.ones((3, 3)))
        regions, number = labelled
        for region in range(1, number + 1):
            found = picture[regions == region]
            above = 1 - np.searchsorted(rest, found, side="right") / max(len(rest), 1)
            reached = 1 - np.searchsorted(rest, found, side="left") / max(len(rest), 1)
            past = np.clip(limit - above, 0, None)
            across = np.minimum(reached - above, past)
            wide = np.maximum(reached - above, np.finfo(float).tiny)
            areas.append((past - across + across**2 / (2 * wide)).mean() / limit)
    return _mean(areas) if len(rest) else float("nan")


def sentence_figures(lens: Lens, scenes: Sequence[Scene], recipe: str) -> dict[str, float]:
    """Whether the words of the first caption of each scene point at what they name; see `measure_tasks`."""
    on, others, own, top, words_of, covered = [], [], [], [], [], []
    for scene in scenes:
        caption = scene.captions[0]
        view = lens.sentence(scene.image, caption.text, recipe)
        size = scene.masks.shape[1:]
        maps = F.interpolate(view.maps[None], size, mode="bilinear", align_corners=False)[0].numpy()
        masks, of_objects = {}, set()
        for start, end, role in caption.spans:
            name = named(caption.text[start:end], scene) if role == "object" else ""
            if not name or not scene.mask(name).any():
                continue
            words = [k for k, word in enumerate(view.words) if word.span[0] < end and start < word.span[1]]
            of_objects.update(words)
            masks[name] = (maps[words].mean(0), scene.mask(name))
        anything = np.any(scene.masks, axis=0)
        for name, (drawn, mask) in masks.items():
            on.append(_highest(drawn, mask))
            covered.append(mask.mean())
            rivals = [drawn[other].mean() for key, (_, other) in masks.items() if key != name]
            own += [drawn[mask].mean() > max(rivals)] if rivals else []
        others += [_highest(maps[k], anything) for k in range(len(view.words)) if k not in of_objects]
        top.append(int(view.scores.argmax()) in of_objects)
        words_of.append(len(of_objects) / len(view.words))
    return {
        "object_on": _mean(on),
        "other_on": _mean(others),
        "own": _mean(own),
        "top": _mean(top),
        "nouns": _mean(words_of),
        "share": _mean(covered),
    }


def named(phrase: str, scene: Scene) -> str:
    """The noun of a scene that a phrase of its caption stands for, singular or plural."""
    return next(one.name for one in scene.objects if phrase in (one.name, plural(one.name)))


def shown(scenes: Sequence[Scene]) -> tuple[str, ...]:
    """The nouns of these scenes, each once, in the order of the world."""
    there = {one.name for scene in scenes for one in scene.objects}
    return tuple(name for name in nouns() if name in there)


def truth(scene: Scene, names: Sequence[str]) -> Int[np.ndarray, "H W"]:
    """The number of the name that each pixel shows, -1 where it shows none."""
    labels = np.full(scene.masks.shape[1:], -1, np.int64)
    for one, mask in zip(scene.objects, scene.masks, strict=True):
        labels[mask] = names.index(one.name)
    return labels


def _confusion(
    found: Int[np.ndarray, "H W"], there: Int[np.ndarray, "H W"], classes: int
) -> Int[np.ndarray, "C C"]:
    """Pixels by truth (row) and prediction (column); those whose truth is negative do not count."""
    kept = there >= 0
    pairs = there[kept].astype(np.int64) * classes + found[kept]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def _highest(drawn: Float[np.ndarray, "H W"], mask: Bool[np.ndarray, "H W"]) -> bool:
    return bool(mask.ravel()[drawn.argmax()])


def _segmenting(lens: Lens, recipe: str, window: str, refine: str | None) -> Callable[[Drawn], Found]:
    return lambda drawn: [({}, segmentation_figures(lens, drawn.few, recipe, window, refine))]


def _with_background(lens: Lens, recipe: str, policy: Background) -> Callable[[Drawn], Found]:
    return lambda drawn: [({}, background_figures(lens, drawn.few, recipe, policy))]


def _pointing(lens: Lens, recipe: str, contrast: Contrast) -> Callable[[Drawn], Found]:
    return lambda drawn: [({}, point_figures(lens, drawn.mixed, recipe, contrast))]


def _inspecting(lens: Lens, recipe: str, prompts: str, views: str) -> Callable[[Drawn], Found]:
    return lambda drawn: [({}, anomaly_figures(lens, drawn.alone, recipe, prompts, views))]


def _reading(lens: Lens, recipe: str) -> Callable[[Drawn], Found]:
    return lambda drawn: [({}, sentence_figures(lens, drawn.mixed, recipe))]


def _mean(values: Sequence[Any]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _plain(value: float) -> float | None:
    return None if isnan(value) else value


def _check(recipes: Sequence[str], seeds: Sequence[int], counts: Sequence[int]) -> None:
    for name, given in (("recipes", list(recipes)), ("seeds", list(seeds))):
        if not given or len(set(given)) < len(given):
            raise ValueError(f"{name} is {given}; give at least one, and each once.")
    if min(counts) < 1:
        raise ValueError(f"a count is {min(counts)}; nothing is measured on no scene, give 1 or more.")
    for seed in seeds:
        check_request("heldout", 112, seed, max(counts))
