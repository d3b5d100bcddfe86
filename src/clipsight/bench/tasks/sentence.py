"""The words of a sentence: whether their maps point at what they name."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from torch.nn import functional as F

from clipsight.bench.task import Figures, Task, TaskJob, in_depth, mean_or_nan, one_row
from clipsight.scoring.choice import Contrast
from clipsight.session.lens import Lens
from clipsight.world import Scene, plural


def sentence_figures(lens: Lens, scenes: Sequence[Scene], recipe: str) -> Figures:
    """Whether the words of the first caption of each scene point at what they name; see `TASKS`."""
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
        "object_on": mean_or_nan(on),
        "other_on": mean_or_nan(others),
        "own": mean_or_nan(own),
        "top": mean_or_nan(top),
        "nouns": mean_or_nan(words_of),
        "share": mean_or_nan(covered),
    }


def named(phrase: str, scene: Scene) -> str:
    """The noun of a scene that a phrase of its caption stands for, singular or plural."""
    return next(one.name for one in scene.objects if phrase in (one.name, plural(one.name)))


def _highest(drawn: Float[np.ndarray, "H W"], mask: Bool[np.ndarray, "H W"]) -> bool:
    return bool(mask.ravel()[drawn.argmax()])


def _jobs(lens: Lens, recipes: Sequence[str], contrast: Contrast) -> list[TaskJob]:
    return [
        one_row({"recipe": one}, lambda drawn, one=one: sentence_figures(lens, drawn.mixed, one))
        for one in in_depth(recipes)
    ]


TASKS = (
    Task(
        id="sentence",
        question="Do the words of a sentence point at what they name? The first caption of each scene, a few recipes.",
        figures={
            "object_on": "how often the map of an object's words is highest on the object",
            "other_on": "how often the maps of the other words are highest on any object",
            "own": "where a sentence names several objects, how often a map is higher on its own than on all others",
            "top": "how often the word of the highest score names an object",
            "nouns": "share of the words that name objects, which is what chance reaches in `top`",
            "share": "of the picture that the object covers, which is what chance reaches in `object_on`",
        },
        jobs=_jobs,
    ),
)
