"""Figures of planted scores: exact gaps and shares, intervals that cover, controls that control."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from bench.word_gap.planted import drawn, part_of
from clipsight.bench.resampling import Interval, Resampler, interval, ratio
from clipsight.bench.word_gap.statistics import GapFigures, summarise
from clipsight.bench.word_gap.tally import FLOOR

PLANTED = [
    [
        ("a", "other", 1.0), ("red", "attribute", 1.0), ("car", "object", 4.0), ("near", "relation", 1.0),
        ("dogs", "object", 2.0), (".", "mark", 1.0),
    ],
    [("big", "attribute", 3.0), ("cat", "object", 6.0), ("!", "mark", 1.0)],
    [("cat", "object", 5.0), ("and", "other", 5.0)],
]  # fmt: skip


def figures(*parts, columns=1, **options) -> GapFigures:
    return summarise(lambda: iter(parts), columns, **options).columns[0]


def test_gaps_means_and_shares_of_planted_scores_are_exact():
    found = figures(part_of(PLANTED), replicates=20)
    # Captions 1 and 2 have objects and composition: shares of 10 each.
    assert found.gap["composition"].value == pytest.approx(((0.4 + 0.2) / 2 + 0.6) / (0.1 + 0.3))
    assert found.gap["attribute"].value == pytest.approx((0.3 + 0.6) / (0.1 + 0.3))
    assert found.gap["relation"].value == pytest.approx(0.3 / 0.1)
    assert found.words["object"].value == pytest.approx((0.3 + 0.6 + 0.5) / 3)
    assert found.words["relation"].value == pytest.approx(0.1)
    assert [
        found.shares[role].value for role in ("object", "attribute", "relation", "other", "mark")
    ] == pytest.approx([0.6, 0.2, 0.05, 0.05, 0.1])
    assert found.silent == 0
    assert found.floored == 0


def test_what_the_spec_computes_by_hand():
    found = figures(
        part_of(
            [
                [
                    ("dog", "object", 0.40),
                    ("red", "attribute", 0.10),
                    ("cat", "object", 0.30),
                    ("on", "relation", 0.20),
                ]
            ]
        ),
        replicates=5,
    )
    assert found.words["object"].value == pytest.approx(0.35)
    assert found.words["composition"].value == pytest.approx(0.15)
    assert np.log(found.gap["composition"].value) == pytest.approx(
        0.847298, abs=1e-6
    )  # the loss `parity` of §1.6.7


def test_the_unit_of_scores_does_not_matter():
    part = part_of(PLANTED)
    scaled = replace(
        part, scores=part.scores * np.array([100.0, 1e-3, 7.0], np.float32)[part.caption][:, None]
    )
    plain, other = figures(part, replicates=20), figures(scaled, replicates=20)
    assert other.gap["composition"] == pytest.approx(plain.gap["composition"])
    assert other.controlled["composition"] == pytest.approx(plain.controlled["composition"], nan_ok=True)


def test_signs_count_by_size_and_apart():
    part = part_of([[("dog", "object", 2.0), ("red", "attribute", -2.0), ("big", "attribute", 1.0)]])
    found = figures(part, replicates=5)
    assert found.gap["composition"].value == pytest.approx(2 / 1.5)
    assert found.positive.value == pytest.approx((2 / 3) / (1 / 6))
    assert found.signed["attribute"].value == pytest.approx(-0.1)


def test_parts_make_no_difference():
    part = drawn(40, lambda role, at, rng: rng.random() + (role == "object"))
    pieces = [_captions(part, range(start, start + 10)) for start in range(0, 40, 10)]
    whole, pieced = figures(part, replicates=50), figures(*pieces, replicates=50)
    assert pieced.gap["composition"] == pytest.approx(whole.gap["composition"])
    assert pieced.controlled["relation"] == pytest.approx(whole.controlled["relation"])


def test_columns_do_not_mix():
    part = drawn(30, lambda role, at, rng: rng.random() + (role == "object"))
    two = replace(part, scores=np.concatenate([part.scores, np.ones_like(part.scores)], 1))
    first, second = summarise(lambda: iter([two]), 2, replicates=50).columns
    assert first.gap["composition"] == pytest.approx(figures(part, replicates=50).gap["composition"])
    assert second.gap["composition"] == pytest.approx((1, 1, 1))


def test_shuffled_roles_show_no_gap_where_true_ones_do():
    def score(role: str, at: float, rng: np.random.Generator) -> float:
        return rng.exponential() * (4 if role == "object" else 1)

    runs = [
        figures(drawn(200, score, seed, ["toxro", "oxrto", "xtor"]), replicates=200, seed=seed)
        for seed in range(30)
    ]
    assert all(found.gap["composition"].low > 2 for found in runs)
    assert sum(found.shuffled.low < 1 < found.shuffled.high for found in runs) >= 26  # of intervals of 95 %
    assert max(_width(found.shuffled) for found in runs) < 0.15  # tight enough to show a leak
    assert np.mean([found.shuffled.value for found in runs]) == pytest.approx(1, abs=0.01)


def test_intervals_cover_the_truth():
    def captions(count: int, seed: int):
        def score(role: str, at: float, rng: np.random.Generator) -> float:
            return rng.exponential() * (2 if role == "object" else 1)

        return drawn(count, score, seed, ["otxxx"])

    truth = figures(captions(20_000, 999), replicates=1, shuffles=0).gap["composition"].value
    runs = 80
    found = [
        figures(captions(60, seed), replicates=200, shuffles=0, seed=seed).gap["composition"]
        for seed in range(runs)
    ]
    covered = sum(one.low <= truth <= one.high for one in found)
    assert 0.87 * runs <= covered < runs  # 95 % are meant; all would be too wide


def test_intervals_are_those_of_the_ordinary_bootstrap():
    rng = np.random.default_rng(1)
    above, below = rng.exponential(2, 200), rng.exponential(1, 200)
    weights = Resampler(4000, 3).weights([str(index) for index in range(200)])
    own = interval(ratio(weights @ above, weights @ below))
    oracle = scipy.stats.bootstrap(
        (above, below),
        lambda a, b, axis: a.mean(axis) / b.mean(axis),
        paired=True,
        n_resamples=4000,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert own.value == pytest.approx(above.mean() / below.mean())
    assert (own.low, own.high) == pytest.approx((oracle.low, oracle.high), rel=0.03)


def test_captions_of_one_picture_are_drawn_together():
    part = drawn(40, lambda role, at, rng: rng.exponential() * (2 if role == "object" else 1))
    fourfold = part_of_many([part] * 4)
    apart = figures(replace(fourfold, clusters=tuple(map(str, range(160)))))
    together = figures(fourfold)
    assert together.gap["composition"].value == pytest.approx(apart.gap["composition"].value)
    assert _width(together.gap["composition"]) > 1.6 * _width(apart.gap["composition"])


def test_controls_remove_a_planted_effect_of_position():
    # Objects stand behind, and only the place counts: without controls objects seem to win.
    part = drawn(
        300,
        lambda role, at, rng: np.exp(2 * at + 0.2 * rng.standard_normal()),
        orders=["xtrxo", "txoxo", "rxoxxo"],
    )
    found = figures(part)
    assert found.gap["composition"].low > 1.5
    assert found.plain["composition"].low > 1.5
    assert found.controlled["composition"].low < 1 < found.controlled["composition"].high
    assert _width(found.controlled["composition"]) < 0.2
    assert found.controls["position"].value == pytest.approx(np.exp(2), rel=0.15)


def test_controls_remove_planted_effects_of_frequency_and_pieces():
    rng = np.random.default_rng(0)
    captions, pieces = [], []
    for _ in range(300):
        caption = []
        roles = [("other", 0.5), ("attribute", 0.3), ("object", 0.8), ("relation", 0.2)]
        for role, rare in (roles[place] for place in rng.permutation(4)):
            seldom, count = rng.random() < rare, 1 + int(rng.random() < rare)
            caption.append(
                (f"{role}{rng.integers(30) if seldom else ''}", role, (3.0 if seldom else 1.0) * count)
            )
            pieces.append(count)
        captions.append(caption)
    found = figures(replace(part_of(captions), pieces=np.array(pieces, float)))
    assert found.plain["composition"].low > 1.5
    assert found.controlled["composition"].value == pytest.approx(1, abs=0.12)
    assert found.controls["pieces"].value == pytest.approx(2, rel=0.1)
    assert found.controls["frequency"].high < 1


def test_controls_keep_what_is_there():
    part = drawn(
        300,
        lambda role, at, rng: np.exp(at) * (3 if role == "object" else 1),
        orders=["xtrxo", "txoxo", "oxrx"],
    )
    found = figures(part)
    assert found.controlled["composition"].value == pytest.approx(3, rel=0.05)
    assert found.controlled["attribute"].value == pytest.approx(3, rel=0.05)
    assert found.controlled["relation"].value == pytest.approx(3, rel=0.05)


def test_what_the_words_do_not_determine_is_not_made_up():
    # Objects always stand last: position and role cannot be told apart.
    found = figures(part_of([[("red", "attribute", 1.0), ("car", "object", 2.0)]] * 5), replicates=20)
    assert found.plain["composition"].value == pytest.approx(2)
    assert np.isnan(found.controlled["composition"].value)


def test_zeros_are_floored_and_counted():
    captions = [
        [("red", "attribute", 0.0), ("car", "object", 1.0), ("a", "other", 1.0)],
        [("big", "attribute", 0.0), ("cat", "object", 0.0)],
    ]
    found = figures(part_of(captions), replicates=20)
    assert found.plain["composition"].value == pytest.approx(np.sqrt(0.5 / FLOOR), rel=0.5)
    assert found.floored == pytest.approx(3 / 5)
    assert found.silent == pytest.approx(1 / 2)
    assert np.isnan(found.gap["composition"].value)  # nothing below the line


def test_nothing_to_compare_is_no_number():
    summary = summarise(
        lambda: iter([part_of([[("cat", "object", 1.0)], [("red", "attribute", 1.0)]])]), 1, replicates=10
    )
    assert (summary.captions, summary.comparable, summary.words) == (2, 0, 2)
    assert np.isnan(summary.columns[0].gap["composition"]).all()
    assert summary.columns[0].words["object"].value == 1
    assert summarise(lambda: iter(()), 3).columns == ()


def test_scores_that_are_no_numbers_are_refused_by_name():
    part = part_of([[("red", "attribute", float("nan")), ("car", "object", 1.0)]])
    with pytest.raises(ValueError, match=r"the score of 'red' in 'red car'.*float32"):
        figures(part)


def test_intervals_without_meaning():
    assert np.isnan(interval(np.array([np.nan, 1.0, 2.0]))).all()
    assert interval(np.array([1.0, np.nan, 1.0, 2.0])) == pytest.approx((1, np.nan, np.nan), nan_ok=True)
    assert interval(np.array([1.0, np.nan, *[1.0] * 50, *[3.0] * 49])) == (1, 1, 3)
    assert np.isnan(ratio(np.array([1.0]), np.array([0.0])))[0]
    with pytest.raises(ValueError, match="replicates"):
        Resampler(0)


def _width(found: Interval) -> float:
    return found.high - found.low


def _captions(part, numbers):
    """Some captions of a part."""
    numbers = list(numbers)
    kept = np.isin(part.caption, numbers)
    return replace(
        part,
        captions=tuple(part.captions[n] for n in numbers),
        clusters=tuple(part.clusters[n] for n in numbers),
        caption=part.caption[kept] - numbers[0],
        words=tuple(word for word, keep in zip(part.words, kept, strict=True) if keep),
        role=part.role[kept],
        position=part.position[kept],
        pieces=part.pieces[kept],
        scores=part.scores[kept],
        similarity=part.similarity[numbers],
        removed=part.removed[numbers],
    )


def part_of_many(parts):
    """Parts as one; clusters keep their names."""
    starts = np.cumsum([0, *map(len, parts)])
    return replace(
        parts[0],
        captions=sum((part.captions for part in parts), ()),
        clusters=sum((part.clusters for part in parts), ()),
        caption=np.concatenate([part.caption + start for part, start in zip(parts, starts, strict=False)]),
        words=sum((part.words for part in parts), ()),
        **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("role", "position", "pieces", "scores", "similarity", "removed")
        },
    )
