"""On the bundled model a surgery method puts the right name on the pixels of an object, and plain CLIP does not."""

from functools import cache

import numpy as np
import pytest

import clipsight
from clipsight.language.names import parse_names
from clipsight.tasks import cosine_score, fit_windows, place_windows, segment_windows, window_scores
from clipsight.world import make_scene


@cache
def lens() -> clipsight.Lens:
    return clipsight.load("clipsight-tiny")


def share_right(method: str, crop: int) -> float:
    """Mean share of an object's pixels that carry its name, among the names of its scene."""
    found, patch = [], (8, 8)
    for index in range(10):
        scene = make_scene(index, objects=3, size=160)
        height, width = scene.masks.shape[1:]
        nouns = list(dict.fromkeys(one.name for one in scene.objects))
        names = parse_names(nouns)
        fit = fit_windows((height, width), 168 if crop else 112, crop, patch)
        windows = place_windows(fit.size, crop, max(crop // 2, 1), patch)
        texts = lens().encode_text(names.queries, lens().card.templates)
        score = cosine_score(lambda x: lens().patch_features(x, method), texts)
        scores = window_scores(lens().preprocess(scene.image, fit.size), windows, score).scores
        made = segment_windows(scores, windows, names, (height, width), logit_scale=lens().logit_scale)
        labels = made.labels.numpy()
        there = [(k, scene.mask(name)) for k, name in enumerate(nouns)]
        found += [(labels[mask] == k).mean() for k, mask in there if mask.any()]
    return float(np.mean(found))


@pytest.mark.parametrize("crop", [0, 112])
def test_names_lie_on_their_objects(crop: int):
    good, plain = share_right("clip_surgery", crop), share_right("clip", crop)
    assert good > 0.75
    assert good > plain + 0.3
