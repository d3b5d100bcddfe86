"""Saying what is there: scores, cosines and presence, which order the nouns of the world for each picture."""

from collections.abc import Sequence

import numpy as np

from clipsight.bench.metrics import mean_precision
from clipsight.bench.task import JobRows, Task, TaskJob
from clipsight.results.tags import THERE
from clipsight.scoring.choice import Contrast
from clipsight.session.lens import Lens
from clipsight.world import Scene, nouns


def tag_figures(lens: Lens, scenes: Sequence[Scene]) -> JobRows:
    """How well scores, cosines and presence order all nouns of the world; `TASKS` says what the figures are."""
    names = nouns()
    there = np.array([[name in {one.name for one in scene.objects} for name in names] for scene in scenes])
    tags = [lens.tag(scene.image, names) for scene in scenes]
    rows: JobRows = []
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


def _jobs(lens: Lens, recipes: Sequence[str], contrast: Contrast) -> list[TaskJob]:
    return [TaskJob(settings={}, work=lambda drawn: tag_figures(lens, drawn.mixed))]


TASKS = (
    Task(
        id="tags",
        question="By what should labels be ordered? All nouns of the world; `chance` orders them at random.",
        figures={
            "map": "average precision over the pictures, mean over the nouns shown",
            "map_by_picture": "average precision over the nouns, mean over the pictures",
            "precision": f"of presence: share of the labels at or above {THERE} that are there",
            "recall": f"of presence: share of the nouns there that are at or above {THERE}",
        },
        jobs=_jobs,
    ),
)
