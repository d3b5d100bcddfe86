"""Paired tests: against scipy's own, against planted truth, and where independent errors would mislead."""

import numpy as np
import pytest
from scipy.stats import bootstrap, chi2

from clipsight.bench.paired import LEAST, PairedGroup, mcnemar, paired_mean, paired_score


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _won(text: str) -> np.ndarray:
    return np.array([sign == "1" for sign in text])


def test_mcnemar_by_hand():
    # six differ, all one way: 2 · (1/2)⁶
    assert mcnemar(_won("000000111"), _won("111111111")) == pytest.approx(2 / 64)
    # three against one: 2 · (1 + 4) / 16
    assert mcnemar(_won("0001"), _won("1110")) == pytest.approx(10 / 16)
    assert mcnemar(_won("0101"), _won("0101")) == 1


def test_mcnemar_is_its_chi_square_for_many_items(rng):
    first = rng.random(20_000) < 0.7
    other = np.where(rng.random(20_000) < 0.1, rng.random(20_000) < 0.72, first)
    gained, lost = (other & ~first).sum(), (first & ~other).sum()
    expected = chi2.sf((abs(gained - lost) - 1) ** 2 / (gained + lost), 1)
    assert mcnemar(first, other) == pytest.approx(expected, abs=0.01)


def test_one_question_a_picture_is_mcnemars(rng):
    first = rng.random(500) < 0.6
    other = np.where(rng.random(500) < 0.1, True, first)
    made = paired_mean(first.astype(float), other.astype(float), list(map(str, range(500))))
    assert (made.test, made.p, made.items) == ("mcnemar", mcnemar(first, other), 500)
    assert made.clear
    assert made.low < made.value < made.high
    assert made.value == pytest.approx(other.mean() - first.mean())


def test_the_interval_is_scipys_bootstrap_over_clusters(rng):
    clusters = np.repeat(np.arange(120), rng.integers(1, 6, size=120))
    shift = rng.normal(0.05, 0.2, size=120)
    first = rng.random(len(clusters))
    other = first + shift[clusters] + rng.normal(0, 0.05, size=len(clusters))
    made = paired_mean(first, other, [str(one) for one in clusters])
    sums = np.bincount(clusters, other - first)
    counts = np.bincount(clusters)
    expected = bootstrap(
        (np.arange(120),),
        lambda rows, axis: sums[rows].sum(axis) / counts[rows].sum(axis),
        vectorized=True, method="percentile", n_resamples=4000, random_state=0,
    ).confidence_interval  # fmt: skip
    assert (made.low, made.high) == pytest.approx((expected.low, expected.high), abs=0.006)
    assert (made.test, made.p, made.clusters) == ("bootstrap", None, 120)


def test_pairs_find_what_independent_errors_hide():
    n = 1000
    first = np.arange(n) < 600
    other = first | (np.arange(n) < 620)  # two points more, and nothing lost
    independent = 1.96 * np.hypot(*(np.sqrt(share * (1 - share) / n) for share in (0.6, 0.62)))
    made = paired_mean(first.astype(float), other.astype(float), list(map(str, range(n))))
    assert made.value == pytest.approx(0.02)
    assert made.value < independent
    assert made.direction == "up"


def test_copies_of_a_question_are_no_evidence():
    """Forty copies of each of five questions: two hundred items, and as much evidence as five."""
    clusters = [str(number) for number in range(5) for _ in range(40)]
    first, other = np.zeros(200), np.ones(200)
    made = paired_mean(first, other, clusters)
    assert (made.differing, made.direction) == (5, "same")
    more = [str(number) for number in range(LEAST) for _ in range(40)]
    assert paired_mean(np.zeros(240), np.ones(240), more).direction == "up"


def test_a_score_of_groups_is_the_weighted_sum_of_their_means(rng):
    groups = [
        PairedGroup(weight=weight, clusters=[f"{name}{i % 30}" for i in range(n)],
                    first=rng.random(n), other=rng.random(n) + 0.1)
        for name, weight, n in (("a", 25.0, 60), ("b", 75.0, 200))
    ]  # fmt: skip
    made = paired_score(groups)
    expected = sum(one.weight * (one.other.mean() - one.first.mean()) for one in groups)
    assert made.value == pytest.approx(expected)
    assert (made.items, made.clusters) == (260, 60)


@pytest.mark.slow
def test_equal_models_are_called_different_at_the_stated_rate(rng):
    """Three questions a picture, and models that differ on a fifth of the pictures, both ways alike."""
    clusters = [str(number % 200) for number in range(600)]
    calls = []
    for _ in range(200):
        swing = rng.choice([-1.0, 0.0, 1.0], p=[0.1, 0.8, 0.1], size=200)[np.arange(600) % 200]
        one = PairedGroup(weight=1.0, clusters=clusters, first=np.zeros(600), other=swing)
        calls.append(paired_score([one], replicates=400).clear)
    assert 0.01 < np.mean(calls) < 0.1


def test_nothing_in_common_is_refused():
    with pytest.raises(ValueError, match="no item in common"):
        paired_mean(np.zeros(0), np.zeros(0), [])
