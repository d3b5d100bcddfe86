"""The formulas alone, on numbers worked out by hand (reference note §1.6.7), and the properties of scores."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clipsight.attribution import group_scores, normalised
from clipsight.attribution.attention import of_heads, rolled_out
from clipsight.attribution.chefer import relevance
from clipsight.attribution.contrast import contrasted, foil_weights, partners
from clipsight.attribution.gradcam import activated, class_activation
from clipsight.attribution.integrated_gradients import integration
from clipsight.attribution.marks import marks_of
from clipsight.attribution.question import block_numbers, spread
from clipsight.attribution.shapley import _along, _exact_weights, _orders, _sampled

FIRST = torch.tensor([[[1.0, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5]]])
SECOND = torch.tensor([[[1.0, 0, 0], [0.4, 0.6, 0], [0.1, 0.1, 0.8]]])
Z = torch.tensor([[[1.0, 2], [0, 1], [2, -1]]])
SLOPE = torch.tensor([[[0.5, 0.1], [0.2, -0.1], [-0.1, 0.3]]])


def close(made, expected):
    torch.testing.assert_close(made, torch.as_tensor(expected, dtype=made.dtype), atol=1e-6, rtol=1e-6)


def test_roll_out():
    close(rolled_out([FIRST, SECOND])[0, -1], [0.1525, 0.1725, 0.675])
    close(torch.stack([FIRST, SECOND]).mean(0)[0, -1], [0.15, 0.20, 0.65])


def test_chefer_of_one_layer():
    slope = torch.tensor([[[0.0, 0, 0], [0.1, -0.2, 0], [0.3, -0.1, 0.4]]])
    close(relevance([SECOND[:, None]], [slope[:, None]])[0, -1], [0.03, 0, 1.32])


def test_chefer_gathers_over_layers_and_heads():
    draw = torch.Generator().manual_seed(0)
    weights, slopes = torch.rand(2, 3, 1, 2, 4, 4, generator=draw) - 0.3
    expected = torch.eye(4)[None]
    for layer, slope in zip(weights, slopes, strict=True):
        by_head = (slope * layer).clamp(min=0)
        expected = expected + (by_head[:, 0] + by_head[:, 1]) / 2 @ expected
    close(relevance(list(weights), list(slopes)), expected)


def test_grad_cam():
    close(class_activation(Z, SLOPE), [[0.4, 0.1, 0.3]])
    close(class_activation(Z, SLOPE, elementwise=True).relu(), [[0.7, 0, 0]])
    close(SLOPE.norm(dim=-1), [[0.509902, 0.223607, 0.316228]])
    words = torch.tensor([[False, True, True]])
    close(class_activation(Z, SLOPE, words), (Z @ torch.tensor([0.05, 0.1]))[0][None])


def test_activations():
    cam, words = torch.tensor([[-1.0, 0.5, 2, 9]]), torch.tensor([[True, True, True, False]])
    close(activated(cam, "relu", words), [[0, 0.5, 2, 9]])
    close(activated(cam, "abs", words), [[1, 0.5, 2, 9]])
    close(activated(cam, "signed", words), cam)
    deviation = cam[0, :3].std(unbiased=False)
    expected = torch.nn.functional.softplus(cam, beta=1 / float(deviation))
    torch.testing.assert_close(activated(cam, "softplus", words), expected, atol=1e-5, rtol=1e-5)
    assert activated(torch.zeros(1, 4), "softplus", words).isfinite().all()


def test_group_means_and_shares():
    scores = torch.tensor([[0.40, 0.10, 0.30, 0.20]])
    objects = torch.tensor([[True, False, True, False]])
    close(group_scores(scores, objects), [0.35])
    close(group_scores(scores, ~objects), [0.15])
    close(group_scores(scores, objects, "sum"), [0.70])
    close(group_scores(scores, torch.zeros_like(objects)), [0.0])
    with_start = torch.cat([torch.tensor([[5.0]]), scores], -1)
    words = torch.tensor([[False, True, True, True, True]])
    close(normalised(with_start, words), [[0, 0.4, 0.1, 0.3, 0.2]])
    close(normalised(with_start, words, "all").sum(), 1.0)
    assert normalised(with_start, words, "none") is with_start


@given(st.floats(1e-3, 1e3), st.integers(0, 10_000))
def test_shares_do_not_know_the_scale(factor, seed):
    scores = torch.rand(2, 6, generator=torch.Generator().manual_seed(seed)) + 0.01
    words = torch.tensor([[True] * 4 + [False] * 2, [True] * 6])
    for how in ("content", "all"):
        torch.testing.assert_close(
            normalised(scores * factor, words, how), normalised(scores, words, how), atol=1e-5, rtol=1e-4
        )


def test_heads():
    weights = torch.rand(2, 3, 4, 4)
    close(of_heads(weights, "mean", 1), weights.mean(1))
    close(of_heads(weights, "max", 1), weights.amax(1))
    close(of_heads(weights, -1, 1), weights[:, 2])


def test_rows_that_do_not_sum_to_one_are_brought_to_it():
    joint = rolled_out([3 * FIRST, SECOND])
    close(joint.sum(-1), torch.ones(1, 3))


def test_block_numbers():
    assert block_numbers("last", 12) == (11,)
    assert block_numbers("ends", 12) == (0, 5, 11)
    assert block_numbers("ends", 1) == (0,)
    assert block_numbers("all", 3) == (0, 1, 2)
    assert block_numbers((-1, 0, 2), 3) == (0, 2)
    assert block_numbers(-2, 3) == (1,)
    for wrong in ("first", 3, -4, ()):
        with pytest.raises(ValueError, match="layers is"):
            block_numbers(wrong, 3)


def test_integration_rules_are_exact_where_they_should_be():
    for rule, steps, degree in (("gauss_legendre", 4, 7), ("trapezoid", 5, 1)):
        points, weights = integration(rule, steps)
        assert weights.sum() == pytest.approx(1)
        assert (weights * points**degree).sum() == pytest.approx(1 / (degree + 1))
    points, weights = integration("right", 4)
    assert points.tolist() == [0.25, 0.5, 0.75, 1]
    assert weights.tolist() == [0.25] * 4
    with pytest.raises(ValueError, match="at least 2"):
        integration("trapezoid", 1)


def test_values_at_their_places():
    values = torch.tensor([6.0, 1.0, -2.0])
    groups = (((1, 2),), ((0,), (3,)))
    like = torch.zeros(2, 4)
    close(spread(values, groups, like, divide=True), [[0, 3, 3, 0], [1, 0, 0, -2]])
    close(spread(values, groups, like, divide=False), [[0, 6, 6, 0], [1, 0, 0, -2]])
    close(spread(values[:0], ((), ()), like, divide=True), torch.zeros(2, 4))


def by_definition(count, value):
    """Shapley values as means over every order."""
    from itertools import permutations

    shares = [0.0] * count
    orders = list(permutations(range(count)))
    for order in orders:
        bits = 0
        for player in order:
            shares[player] += (value[bits | 1 << player] - value[bits]) / len(orders)
            bits |= 1 << player
    return shares


@pytest.mark.parametrize("count", [1, 2, 4])
def test_shapley_values(count):
    value = torch.randn(2**count, generator=torch.Generator().manual_seed(count))
    made = value @ _exact_weights(count, range(2**count)).float()
    close(made, by_definition(count, value.tolist()))
    close(made.sum(), value[-1] - value[0])


def test_drawn_shapley_values_are_means_over_the_drawn_orders():
    count, orders = 4, _orders(4, 5, "seed")
    assert len(orders) == 6
    assert orders[1] == tuple(reversed(orders[0]))
    assert orders == _orders(4, 5, "seed")
    assert orders != _orders(4, 5, "other")
    value = torch.randn(2**count, generator=torch.Generator().manual_seed(9))
    coalitions = list(dict.fromkeys(_along(orders)))
    made, error = _sampled(value[coalitions], coalitions, orders)
    expected = torch.zeros(count)
    for order in orders:
        bits = 0
        for player in order:
            expected[player] += (value[bits | 1 << player] - value[bits]) / len(orders)
            bits |= 1 << player
    close(made, expected)
    close(made.sum(), value[-1] - value[0])
    assert (error >= 0).all()
    assert error.max() > 0


def test_special_positions():
    ids = torch.tensor([[9, 4, 5, 1, 1, 1], [9, 4, 5, 6, 7, 8]])
    by_run = marks_of(None, ids)
    assert by_run.padding.tolist() == [[False] * 3 + [True] * 3, [False] * 6]
    assert by_run.content.sum().item() == 9
    content = torch.tensor([[False, True, True, False, False, False], [False, True, True, True, True, False]])
    told = marks_of(None, ids, content)
    assert told.start.nonzero().tolist() == [[0, 0], [1, 0]]
    assert told.end.nonzero().tolist() == [[0, 3], [1, 5]]
    assert told.padding.nonzero().tolist() == [[0, 4], [0, 5]]
    assert torch.equal(told.content, content)
    empty = marks_of(None, ids[:1], torch.zeros(1, 6, dtype=torch.bool))
    assert not empty.content.any()


def test_same_words_of_two_captions():
    ids = torch.tensor([[90, 1, 2, 3, 1, 99, 0]])
    kept = torch.tensor([[True] * 6 + [False]])
    foils = torch.tensor([[[90, 1, 7, 3, 1, 99], [90, 3, 2, 1, 99, 0]]])
    foil_kept = torch.tensor([[[True] * 6, [True] * 5 + [False]]])
    made = partners(ids, kept, foils, foil_kept)[0]
    assert made[0].tolist() == [0, 1, -1, 3, 4, 5, -1]
    # In the second foil "3" and "1" have changed places, and there is one "1" less.
    assert sorted(made[1].tolist()) == [-1, -1, 0, 1, 2, 3, 4]
    assert [foils[0, 1, j].item() for j in made[1].tolist() if j >= 0] == [
        ids[0, i].item() for i, j in enumerate(made[1].tolist()) if j >= 0
    ]


def test_a_contrast_keeps_the_sum():
    scores, foils = torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[[0.5, 1.0, 8.0]]])
    partner = torch.tensor([[[0, -1, 1]]])
    mine, alone = contrasted(scores, foils, partner, torch.ones(1, 1))
    close(mine, [[0.5, 2, 3]])
    close(alone, [[[0, 0, -8.0]]])
    close(mine.sum() + alone.sum(), scores.sum() - foils.sum())
    halves = foil_weights(torch.zeros(1), torch.tensor([[0.0, 0.0]]), "log_softmax")
    close(halves, [[1 / 3, 1 / 3]])
    close(foil_weights(torch.zeros(1), torch.zeros(1, 4), "difference"), torch.full((1, 4), 0.25))
