"""Points for a segmenter: whether they lie on the object that they are asked for."""

from collections.abc import Sequence

from clipsight.bench.task import Figures, Task, TaskJob, in_depth, mean_or_nan, one_row
from clipsight.scoring.choice import Contrast
from clipsight.session.lens import Lens
from clipsight.world import Scene, nouns


def point_figures(lens: Lens, scenes: Sequence[Scene], recipe: str, contrast: Contrast) -> Figures:
    """Whether points lie where they say; `TASKS` says what the figures are."""
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
        "positives_on": mean_or_nan(on),
        "negatives_off": mean_or_nan(off),
        "best_on": mean_or_nan(best),
        "without": 1 - len(on) / asked,
        "share": mean_or_nan(covered),
    }


def _jobs(lens: Lens, recipes: Sequence[str], contrast: Contrast) -> list[TaskJob]:
    return [
        one_row({"recipe": one}, lambda drawn, one=one: point_figures(lens, drawn.mixed, one, contrast))
        for one in in_depth(recipes)
    ]


TASKS = (
    Task(
        id="points",
        question="Do points lie on what they are asked for? All nouns of the world, a few recipes.",
        figures={
            "positives_on": "share of the positive points on the object",
            "negatives_off": "share of the negative points off it",
            "best_on": "how often the highest positive point is on it",
            "without": "share of the maps that give no points",
            "share": "of the picture that the object covers, which is what chance reaches",
        },
        jobs=_jobs,
    ),
)
