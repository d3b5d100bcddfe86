"""Losses of composition behind objects: the numbers of the reference, and what each of them may not do."""

import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clipsight.tune.objectives.cae_losses import LOSSES, Loss, composition_losses
from tiny import past_type_checks

SCORES = torch.tensor([[0.40, 0.10, 0.30, 0.20]], dtype=torch.float64)
OBJECTS = torch.tensor([[True, False, True, False]])
COMPOSITION = ~OBJECTS
CONTENT = torch.ones_like(OBJECTS)


def losses(scores: torch.Tensor, loss: Loss, **options) -> torch.Tensor:
    return composition_losses(scores, COMPOSITION, OBJECTS, CONTENT, loss, **options)


@pytest.mark.parametrize(
    ("loss", "options", "value"),
    [
        ("parity", {}, 0.847298),
        ("ratio", {}, 1.203973),
        ("share", {}, 1.203973),
        ("linear", {}, 0.70),
        ("margin", {}, 0.20),
        ("margin", {"margin": 0.1}, 0.30),
        ("kl", {}, 0.121777),
        ("parity", {"rho": 2.0}, 0.847298 + math.log(2)),
        ("ratio", {"normalise": "none"}, 1.203973),
        ("margin", {"reduce": "sum"}, 0.40),
    ],
)
def test_golden_numbers(loss, options, value):
    assert losses(SCORES, loss, **options).item() == pytest.approx(value, abs=1e-6)


def test_all_losses_are_named():
    assert tuple(LOSSES) == get_args(Loss)


@pytest.mark.parametrize("rho", [0.5, 1.0, 3.0])
def test_parity_is_satisfied_once_composition_has_its_share(rho):
    scores = torch.tensor(
        [[0.1, 0.1 * rho + 1e-6, 0.1, 0.1 * rho + 1e-6]], dtype=torch.float64, requires_grad=True
    )
    loss = losses(scores, "parity", rho=rho)
    (slope,) = torch.autograd.grad(loss.sum(), scores)
    assert loss.item() == 0
    assert not slope.any()
    behind = torch.tensor([[0.1, 0.09 * rho, 0.1, 0.09 * rho]], dtype=torch.float64)
    assert losses(behind, "parity", rho=rho).item() == pytest.approx(math.log(1 / 0.9), abs=1e-6)


@given(factor=st.floats(0.01, 100.0), seed=st.integers(0, 99))
@pytest.mark.parametrize("loss", ["parity", "ratio", "share", "linear", "kl"])
@pytest.mark.parametrize("normalise", ["content", "all"])
def test_the_unit_of_the_scores_does_not_matter(loss, normalise, factor, seed):
    scores = 0.05 + torch.rand(1, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    one, two = (losses(scores * by, loss, normalise=normalise) for by in (1.0, factor))
    torch.testing.assert_close(one, two, atol=1e-5, rtol=0)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("side", ["live", "detach"])
def test_detached_objects_cannot_be_put_out(loss, side):
    scores = SCORES.clone().requires_grad_()
    (slope,) = torch.autograd.grad(losses(scores, loss, object_side=side).sum(), scores)
    assert (slope[COMPOSITION] < 0).all()  # every loss asks for more of composition
    assert (slope[OBJECTS] > 0).all() if side == "live" else not slope[OBJECTS].any()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_text_without_a_group_is_an_exact_zero_and_changes_nothing(loss):
    scores = torch.cat(
        [SCORES, SCORES, torch.zeros_like(SCORES), torch.full_like(SCORES, math.nan)]
    ).requires_grad_()
    none = torch.zeros_like(OBJECTS)
    composition, objects = (
        torch.cat([COMPOSITION, none, COMPOSITION, none]),
        torch.cat([OBJECTS, OBJECTS, none, none]),
    )
    each = composition_losses(scores, composition, objects, CONTENT.expand(4, -1), loss)
    assert each[0] == losses(SCORES, loss)[0]
    assert not each[1:].any()
    (slope,) = torch.autograd.grad(each.sum(), scores)
    assert not slope[1:].any()
    assert slope[0].any()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dead", ["composition", "objects", "all"])
def test_dead_scores_give_finite_losses_and_gradients(loss, dead):
    gone = {"composition": COMPOSITION, "objects": OBJECTS, "all": CONTENT}[dead]
    scores = SCORES.float().masked_fill(gone, 0.0).requires_grad_()
    each = losses(scores, loss)
    (slope,) = torch.autograd.grad(each.sum(), scores)
    assert each.isfinite().all()
    assert slope.isfinite().all()


def test_content_leaves_special_positions_out():
    scores = torch.tensor([[9.0, 0.4, 0.1, 0.3, 0.2, 5.0]], dtype=torch.float64)
    content = torch.tensor([[False, True, True, True, True, False]])
    composition, objects = (torch.nn.functional.pad(group, (1, 1)) for group in (COMPOSITION, OBJECTS))
    words = composition_losses(scores, composition, objects, content, "linear")
    torch.testing.assert_close(words, losses(SCORES, "linear"))
    everything = composition_losses(scores, composition, objects, content, "linear", normalise="all")
    assert everything.item() == pytest.approx(1 - 0.3 / 15)


def test_wrong_settings_are_refused():
    with past_type_checks(), pytest.raises(ValueError, match="parity, ratio"):
        losses(SCORES, "parety")
    with pytest.raises(ValueError, match="rho is 0"):
        losses(SCORES, "parity", rho=0.0)
    with past_type_checks(), pytest.raises(ValueError, match="object_side"):
        losses(SCORES, "parity", object_side="dead")
