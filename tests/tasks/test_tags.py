"""Tags: feature surgery on the pooled feature, presence against absent names, and average precision on the world."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch.nn import functional as F

import clipsight
from clipsight.bench.emoji import noun_features
from clipsight.results.tags import THERE
from clipsight.tasks.tags import tag_presence, tag_scores
from clipsight.world import make_scenes, nouns


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def definition(pooled: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    """The 4-D form of the paper, one picture at a time: products of features, their weighted mean taken away."""
    rows = []
    for image in F.normalize(pooled, dim=-1):
        unit = F.normalize(texts, dim=-1)
        shares = (2 * unit @ image).softmax(0)
        products = image * unit * (shares / shares.mean())[:, None]
        rows.append((products - products.mean(0)).sum(-1))
    return torch.stack(rows)


def test_scores_are_the_definition():
    pooled, texts = draw(3, 8), draw(5, 8, seed=1)
    torch.testing.assert_close(tag_scores(pooled, texts), definition(pooled, texts), atol=1e-6, rtol=0)
    others = draw(4, 8, seed=2)
    torch.testing.assert_close(
        tag_scores(pooled, texts, others),
        definition(pooled, torch.cat([texts, others]))[:, :5],
        atol=1e-6,
        rtol=0,
    )


def test_a_batch_is_a_loop_and_lengths_do_not_matter():
    pooled, texts = draw(3, 8), draw(5, 8, seed=1)
    whole = tag_scores(pooled, texts)
    torch.testing.assert_close(
        whole, torch.cat([tag_scores(one[None], 7 * texts) for one in 3 * pooled]), atol=1e-6, rtol=0
    )
    assert tag_scores(pooled.half(), texts.half()).dtype == torch.float32


def test_one_label_needs_other_names():
    with pytest.raises(ValueError, match="list of other names"):
        tag_scores(draw(2, 8), draw(1, 8))
    assert tag_scores(draw(2, 8), draw(1, 8), draw(3, 8, seed=1)).shape == (2, 1)


def test_presence_compares_with_the_vocabulary_and_leaves_the_label_itself_out():
    pooled, texts, others = draw(2, 8), draw(3, 8, seed=1), draw(30, 8, seed=2)
    others[4] = texts[1]
    same = torch.zeros(3, 30, dtype=torch.bool)
    same[1, 4] = True
    found, reason = tag_presence(pooled, texts, 100.0, others, same)
    assert reason == ""
    unit = F.normalize(pooled, dim=-1)
    for image, label in ((0, 0), (1, 1)):
        score = (100 * unit[image] @ F.normalize(texts[label], dim=-1)).double().exp()
        rest = (100 * F.normalize(others, dim=-1) @ unit[image]).double().exp()
        share = score / (score + rest[~same[label]].sum())
        assert float(found[image, label]) == pytest.approx(float(1.05 * share / (share + 0.05)), abs=1e-5)


def test_without_a_vocabulary_the_other_labels_stand_for_absence():
    pooled = draw(2, 8)
    found, reason = tag_presence(pooled, draw(21, 8, seed=1), 10)
    assert reason == ""
    assert found.isfinite().all()
    found, reason = tag_presence(pooled, draw(20, 8, seed=1), 10)
    assert found.isnan().all()
    assert "fewer than 20 other labels" in reason
    found, reason = tag_presence(pooled, draw(3, 8, seed=1), 10, torch.zeros(0, 8))
    assert "other labels" in reason
    _, reason = tag_presence(pooled, draw(3, 8, seed=1), 10, draw(5, 8))
    assert "contrast vocabulary" in reason


def test_labels_of_the_world_are_found():
    """Mean average precision over the nouns that occur in 60 held-out scenes; chance is below 0.05.

    On this model presence orders pictures best (0.66 over three seeds of 200 scenes), plain cosines next (0.60),
    feature surgery last (0.56): what it takes away is not noise here.
    """
    lens = clipsight.load("clipsight-tiny", device="cpu")
    scenes, names = list(make_scenes(60, 7, "heldout")), nouns()
    pooled = lens.encode_image(torch.cat([lens.preprocess(scene.image) for scene in scenes]))
    texts = noun_features(lens)
    there = np.array([[name in {o.name for o in scene.objects} for name in names] for scene in scenes])
    scores = tag_scores(pooled, texts)
    occurring = there.any(0)
    found, _ = tag_presence(pooled, texts, lens.logit_scale)
    surgery, presence = (
        average_precision_score(there[:, occurring], one.numpy()[:, occurring]) for one in (scores, found)
    )
    kept = found.numpy() >= THERE
    assert surgery >= 0.5
    assert presence >= 0.6
    assert there[kept].mean() >= 0.55
    assert kept[there].mean() >= 0.4
