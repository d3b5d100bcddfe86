"""Between weights: WiSE-FT and soups by their formulas, and the choice of the knee."""

import copy
import json
import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clipsight.errors import CheckpointError
from clipsight.tune.averaging import average_checkpoints
from clipsight.tune.interpolation import ALPHAS, Sweep, SweepRow, interpolate, knee, soup, wise_ft_sweep
from tiny import pixels, tiny_clip


@pytest.fixture(scope="module")
def models():
    return tiny_clip(seed=1), tiny_clip(seed=2)


def sweep(*rows: tuple[float, float, float]) -> Sweep:
    return Sweep(
        rows=tuple(
            SweepRow(alpha=float(a), scores={"aro": float(g), "imagenet": float(k)}) for a, g, k in rows
        )
    )


@given(st.floats(0, 1))
def test_the_formula_on_every_tensor(alpha):
    zero = {"w": torch.randn(5), "logit_scale": torch.tensor(4.6), "steps": torch.tensor(3)}
    tuned = {"w": torch.randn(5), "logit_scale": torch.tensor(3.0), "steps": torch.tensor(7)}
    between = interpolate(zero, tuned, alpha)
    for name in ("w", "logit_scale"):
        expected = (1 - alpha) * zero[name].double() + alpha * tuned[name].double()
        torch.testing.assert_close(between[name].double(), expected, atol=1e-6, rtol=1e-6)
    assert between["steps"] == 7


def test_the_ends_are_exact_in_every_number_type(models):
    for kind in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
        zero, tuned = ({n: t.to(kind) for n, t in m.state_dict().items()} for m in models)
        for alpha, end in ((0.0, zero), (1.0, tuned)):
            between = interpolate(zero, tuned, alpha)
            assert all(torch.equal(between[n], end[n]) and between[n].dtype == kind for n in tuned)


def test_merged_lora_is_scaled_by_alpha():
    zero, change = torch.randn(6, 6), torch.randn(6, 2) @ torch.randn(2, 6)
    between = interpolate({"w": zero}, {"w": zero + change}, 0.3)["w"]
    torch.testing.assert_close(between, zero + 0.3 * change)


def test_the_soup_is_the_mean():
    states = [{"w": torch.randn(4, 3), "n": torch.tensor(i)} for i in range(4)]
    mean = soup(iter(states))
    torch.testing.assert_close(mean["w"], torch.stack([s["w"] for s in states]).mean(0))
    assert mean["n"] == 0
    assert torch.equal(soup(states[:1])["w"], states[0]["w"])
    same = soup([states[0]] * 3)["w"]
    assert torch.equal(same, states[0]["w"])
    half = soup([{"w": torch.full((2,), 60_000.0, dtype=torch.float16)}] * 4)["w"]
    assert half.dtype == torch.float16
    assert (half == 60_000).all()
    pair = [{"w": s["w"]} for s in states[:2]]
    torch.testing.assert_close(soup(pair)["w"], interpolate(*pair, 0.5)["w"])


def test_weights_that_do_not_go_together_are_named():
    one = {"a": torch.zeros(2), "b": torch.zeros(2), "c": torch.zeros(2)}
    other = {"a": torch.zeros(3), "b": torch.zeros(2), "d.lora_A": torch.zeros(2)}
    said = "1 only in the first: c; 1 only in the other: d.lora_A; 1 of another shape: a"
    for mix in (lambda: interpolate(one, other, 0.5), lambda: soup([one, other])):
        with pytest.raises(ValueError, match=said):
            mix()
    with pytest.raises(ValueError, match="at least one"):
        soup([])
    for alpha in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="not between 0"):
            interpolate(one, one, alpha)


def test_a_sweep_scores_each_alpha_and_changes_neither_model(models):
    zero, tuned = models
    before = [copy.deepcopy(m.state_dict()) for m in models]
    x, seen = pixels(1), []

    def evaluate(module):
        assert not module.training
        seen.append(module.encode_image(x).detach())
        return {"value": seen[-1].sum().item(), "scale": module.logit_scale.item()}

    swept = wise_ft_sweep(zero, tuned, evaluate, (1.0, 0.0, 0.5, 0.5))
    assert [row.alpha for row in swept.rows] == [0, 0.5, 1]
    assert (swept.chosen, swept.why) == (None, "")
    torch.testing.assert_close(seen[0], zero.encode_image(x), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(seen[2], tuned.encode_image(x), atol=1e-6, rtol=1e-5)
    for model, state in zip(models, before, strict=True):
        assert all(torch.equal(model.state_dict()[n], t) for n, t in state.items())
    plain = json.loads(json.dumps(swept.to_dict()))
    assert plain["rows"][1] == {"alpha": 0.5, **swept.rows[1].scores}
    by_state = wise_ft_sweep(zero.state_dict(), tuned, lambda m: {"scale": m.logit_scale.item()})
    assert [row.alpha for row in by_state.rows] == list(ALPHAS)


def test_a_sweep_refuses_what_means_nothing(models):
    zero, tuned = models
    with pytest.raises(ValueError, match=r"runs gelu and the one after it quick_gelu.*quick_gelu="):
        wise_ft_sweep(tiny_clip(quick_gelu=False), tuned, lambda m: {})
    with pytest.raises(ValueError, match="logit_bias"):
        wise_ft_sweep({**zero.state_dict(), "logit_bias": torch.zeros(())}, tuned, lambda m: {})
    names = iter(("a", "b"))
    with pytest.raises(ValueError, match=r"gave b at alpha 1 and a at 0"):
        wise_ft_sweep(zero, tuned, lambda m: {next(names): 1.0}, (0.0, 1.0))


@pytest.mark.parametrize(
    ("rows", "chosen", "why"),
    [
        (((0, 0.5, 0.60), (0.5, 0.6, 0.595), (1, 0.7, 0.50)), 0.5, r"highest aro \(0\.6, 0\.5 before"),
        (((0, 0.5, 0.60), (0.5, 0.6, 0.59), (1, 0.7, 0.50)), 0.5, "here it is 0.59"),
        (((0, 0.5, 0.60), (0.4, 0.7, 0.61), (0.5, 0.7, 0.62)), 0.4, "highest"),
        (((0, 0.5, 0.60), (0.5, 0.6, 0.58), (1, 0.7, 0.50)), 0, "no alpha above 0 keeps imagenet"),
        (((0, 0.5, 0.60), (0.5, 0.5, 0.60), (1, 0.4, 0.60)), 0, "has a higher aro"),
        (((0, 0.5, 0.60), (0.5, math.nan, 0.60), (0.8, 0.9, math.nan), (1, 0.6, 0.60)), 1, "highest"),
        (((0, 0.5, 0.60),), 0, "no alpha above 0"),
    ],
)
def test_the_knee(rows, chosen, why):
    found = knee(sweep(*rows), gain="aro", guard="imagenet", allowed=0.01)
    assert found.chosen == chosen
    assert re.search(why, found.why)
    assert found.to_dict()["chosen"] == chosen


def test_the_knee_needs_something_to_compare_with():
    with pytest.raises(ValueError, match="no row for alpha 0"):
        knee(sweep((0.5, 1, 1)), gain="aro", guard="imagenet")
    with pytest.raises(ValueError, match=r"'coco' was asked for; the sweep has aro, imagenet"):
        knee(sweep((0, 1, 1)), gain="coco", guard="imagenet")
    with pytest.raises(ValueError, match="no number at alpha 0"):
        knee(sweep((0, 1, math.nan), (1, 2, 1)), gain="aro", guard="imagenet")


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="nofolder' was to be averaged and is not there"):
        average_checkpoints(["nofolder", "other"], tmp_path / "mean")
