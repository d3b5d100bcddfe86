"""Finding damage: whether a picture's score tells damaged things from whole ones, and where the damage is."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from einops import rearrange
from sklearn.metrics import roc_auc_score

from clipsight.bench.metrics import FPR_LIMIT, pixel_auroc, region_overlap
from clipsight.bench.task import Figures, Task, TaskJob, mean_or_nan, one_row
from clipsight.scoring.choice import Contrast
from clipsight.session.lens import Lens
from clipsight.world import Scene

STATES: dict[str, dict[str, Any]] = {
    "world": {
        "domain": ["photo"],
        "normal": ["intact {}", "flawless {}"],
        "abnormal": ["damaged {}", "broken {}"],
    },
    "paper": {},
}
"""Prompts for damage: the world's own words for its states, and AnoCLIP's 924."""
_ASKED = (
    ("world", "one", "clip"),
    ("world", "one", "anoclip"),
    ("world", "all", "anoclip"),
    ("paper", "one", "anoclip"),
)


def anomaly_figures(lens: Lens, scenes: Sequence[Scene], recipe: str, prompts: str, views: str) -> Figures:
    """Whether damage is found, and where; `TASKS` says what the figures are."""
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
        "inside_auroc": mean_or_nan(inside),
        "pixel_auroc": float(pixel_auroc(*flat).mean()),
        "pro": region_overlap(values, where),
        "inside_pro": region_overlap(values, where, things),
    }


def _jobs(lens: Lens, recipes: Sequence[str], contrast: Contrast) -> list[TaskJob]:
    return [
        one_row(
            {"recipe": recipe, "prompts": prompts, "views": views},
            lambda drawn, recipe=recipe, prompts=prompts, views=views: anomaly_figures(
                lens, drawn.alone, recipe, prompts, views
            ),
        )
        for prompts, views, recipe in _ASKED
    ]


TASKS = (
    Task(
        id="anomaly",
        question="Is damage found, and where? Scenes of one object, as many damaged as whole.",
        figures={
            "image_auroc": "AUROC of the picture's score",
            "inside_auroc": "pixel AUROC among the damaged thing's own pixels, mean over the damaged",
            "pixel_auroc": "the same among all pixels",
            "pro": f"overlap of regions up to a false positive rate of {FPR_LIMIT}; chance is half of that",
            "inside_pro": "the same where only pixels of things count",
        },
        jobs=_jobs,
    ),
)
