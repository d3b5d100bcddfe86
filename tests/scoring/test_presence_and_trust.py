"""Presence compares with names that are mostly absent; the trust line says what it found."""

import math

import pytest
import torch

from clipsight.scoring.choice import bare, choose_contrast
from clipsight.scoring.presence import MIN_NAMES, presence
from clipsight.scoring.trust import trust_line

SCALE = 100.0


@pytest.fixture
def names() -> torch.Tensor:
    return 0.2 + 0.02 * torch.randn(1, 200, generator=torch.Generator().manual_seed(0))


def test_it_rises_with_the_score_and_stays_in_its_range(names):
    scores = torch.linspace(0.1, 0.45, 50)[None]
    got = presence(scores, names, SCALE)[0]
    assert (got.diff() >= 0).all()
    assert 0 <= got.min() < 0.01
    assert 0.99 < got.max() <= 1
    assert presence(names.median().reshape(1, 1), names, SCALE) < 0.1


def test_it_is_the_softmax_share_among_the_names(names):
    share = (SCALE * torch.cat([torch.tensor([[0.26]]), names], dim=1)).softmax(-1)[0, 0]
    got = presence(torch.tensor([[0.26]]), names, SCALE)
    assert got.item() == pytest.approx(1.05 * share.item() / (share.item() + 0.05), rel=1e-4)


def test_an_offset_common_to_all_scores_does_not_matter(names):
    scores = torch.tensor([[0.23, 0.26]])
    assert torch.allclose(presence(scores, names, SCALE), presence(scores + 1, names + 1, SCALE), atol=1e-3)


def test_several_things_can_be_present(names):
    crowd = torch.cat([names, torch.full((1, 4), 0.35)], dim=1)
    same = torch.zeros(4, 204, dtype=torch.bool)
    same[range(4), range(200, 204)] = True
    assert (presence(torch.full((1, 4), 0.35), crowd, SCALE, same) > 0.8).all()


def test_a_name_is_not_compared_with_itself(names):
    crowd = torch.cat([names[:, : MIN_NAMES - 1], torch.full((1, 1), 0.9)], dim=1)
    same = torch.zeros(1, MIN_NAMES, dtype=torch.bool)
    same[0, -1] = True
    assert presence(torch.tensor([[0.9]]), crowd, SCALE, same).isnan().all(), "too few names are left"
    assert presence(torch.tensor([[0.9]]), crowd, SCALE) < presence(torch.tensor([[0.9]]), names, SCALE)


def test_what_cannot_be_measured_is_nan():
    assert presence(torch.zeros(2, 3), torch.zeros(2, 0), SCALE).isnan().all()
    assert presence(torch.zeros(2, 3), torch.zeros(2, MIN_NAMES - 1), SCALE).isnan().all()
    assert presence(torch.full((1, 1), torch.nan), torch.zeros(1, 50), SCALE).isnan().all()


def test_pictures_are_independent(names):
    two = torch.cat([names, names * 2 + 0.5])
    scores = torch.tensor([[0.25], [0.9]])
    together = presence(scores, two, SCALE)
    assert torch.allclose(together[:1], presence(scores[:1], two[:1], SCALE))
    assert torch.allclose(together[1:], presence(scores[1:], two[1:], SCALE))


def _line(present: float, **changes) -> str:
    return trust_line(
        present,
        **{"names": 188, "contrast": "names", "contrasted": 187, "texts": 1, "plain": False, **changes},
    )


def test_the_trust_line_in_every_case():
    assert _line(0.97) == "Clearly there (0.97 against 188 names); contrasted with 187 other names."
    assert "not evidence" in _line(0.02)
    assert _line(0.02).startswith("Not there")
    assert _line(math.nan, contrast="empty") == "Presence not measured; contrasted with the empty prompt."
    assert "one map is minus the other" in _line(0.7, contrast="labels", texts=2)
    assert "one map is minus the other" not in _line(0.7, contrast="labels", texts=9)
    assert "background instead" in _line(0.7, contrast="none", plain=True)
    assert "points nowhere" in _line(0.7, constant=True)


def test_contrast_choices():
    assert choose_contrast("auto", 7, vocabulary=("a", "b")).names == ("a", "b")
    assert choose_contrast("auto", 8, vocabulary=("a", "b")).kind == "labels"
    assert choose_contrast("auto", 2).kind == "empty"
    assert choose_contrast(None, 2).kind == "none"
    assert choose_contrast(["Dog", "cat", "cat"], 1, ["a dog"]).names == ("cat",)
    assert bare(" The Red Car ") == "red car"
    assert bare("another") == "another"
