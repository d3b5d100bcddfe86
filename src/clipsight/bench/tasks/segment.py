"""Naming every pixel: recipes, windows and refinements, and what to do about the background."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from clipsight.bench.metrics import confusion_matrix, mean_iou
from clipsight.bench.task import Task, TaskJob, in_depth, one_row, shown
from clipsight.scoring.choice import Contrast
from clipsight.session.lens import Lens
from clipsight.tasks.background import PRESENCE_LIMIT, Background
from clipsight.world import Scene

REFINEMENTS = (None, "pamr", "guided", "propagation")
POLICIES: dict[str, Background] = {
    "none": Background(),
    "threshold 0.1": Background(threshold=0.1),
    "threshold 0.2": Background(threshold=0.2),
    "threshold 0.4": Background(threshold=0.4),
    "words": Background(words=("background", "plain background", "colorful background")),
    "presence": Background(presence=PRESENCE_LIMIT),
    "presence, threshold 0.2": Background(presence=PRESENCE_LIMIT, threshold=0.2),
}
"""Policies by the name that their rows bear."""


def segmentation_figures(
    lens: Lens, scenes: Sequence[Scene], recipe: str, window: str, refine: str | None
) -> dict[str, float]:
    """Naming of the pixels of objects, among the nouns of these scenes; `SEGMENTATION` says what the figures are."""
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
        confusion += confusion_matrix(made.labels.numpy(), truth(scene, names), len(names))
    return {
        "miou": mean_iou(confusion),
        "pixels": float(confusion.trace() / confusion.sum()),
        "names": float(len(names)),
    }


def background_figures(
    lens: Lens, scenes: Sequence[Scene], recipe: str, policy: Background
) -> dict[str, float]:
    """Naming of all pixels, with the background as a class; `BACKGROUND` says what the figures are."""
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
        confusion += confusion_matrix(found, np.where(there < 0, nothing, there), nothing + 1)
    both = confusion.diagonal()
    each = both / (confusion.sum(1) + confusion.sum(0) - both)
    return {
        "miou": float(each.mean()),
        "objects": float(each[:nothing].mean()),
        "background": float(each[nothing]),
    }


def truth(scene: Scene, names: Sequence[str]) -> Int[np.ndarray, "H W"]:
    """The number of the name that each pixel shows, -1 where it shows none."""
    labels = np.full(scene.masks.shape[1:], -1, np.int64)
    for one, mask in zip(scene.objects, scene.masks, strict=True):
        labels[mask] = names.index(one.name)
    return labels


def _segmentation(lens: Lens, recipes: Sequence[str], contrast: Contrast) -> list[TaskJob]:
    return [
        one_row(
            {"recipe": one}, lambda drawn, one=one: segmentation_figures(lens, drawn.few, one, "whole", None)
        )
        for one in recipes
    ]


def _refinement(lens: Lens, recipes: Sequence[str], contrast: Contrast) -> list[TaskJob]:
    return [
        one_row(
            {"recipe": one, "picture": window, "refine": refine or "none"},
            lambda drawn, one=one, window=window, refine=refine: segmentation_figures(
                lens, drawn.few, one, window, refine
            ),
        )
        for one in in_depth(recipes)
        for window in ("whole", "windows")
        for refine in REFINEMENTS
    ]


def _background(lens: Lens, recipes: Sequence[str], contrast: Contrast) -> list[TaskJob]:
    return [
        one_row(
            {"recipe": one, "policy": name},
            lambda drawn, one=one, policy=policy: background_figures(lens, drawn.few, one, policy),
        )
        for one in in_depth(recipes)
        for name, policy in POLICIES.items()
    ]


SEGMENTATION = Task(
    id="segmentation",
    question="Which recipe names the pixels of objects? Whole picture, every recipe.",
    figures={
        "miou": "intersection over union, mean over the nouns that the seed's scenes show",
        "pixels": "share of the objects' pixels with the right name",
        "names": "how many nouns were to choose from",
    },
    jobs=_segmentation,
)
REFINEMENT = Task(
    id="refinement",
    question="Do windows and refinements help? A few recipes.",
    figures=SEGMENTATION.figures,
    jobs=_refinement,
)
BACKGROUND = Task(
    id="background",
    question="Which policy finds the background? All pixels, the background a class like others, a few recipes.",
    figures={
        "miou": "intersection over union, mean over nouns and background",
        "objects": "the same over the nouns alone",
        "background": "intersection over union of the background",
    },
    jobs=_background,
)
TASKS = (SEGMENTATION, REFINEMENT, BACKGROUND)
