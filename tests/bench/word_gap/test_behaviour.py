"""Falls of the similarity, planted: by removal for each word, by foils of each kind, and what cannot be divided."""

from dataclasses import replace

import numpy as np
import pytest

from bench.word_gap.planted import part_of
from clipsight.bench.word_gap.behaviour import behaviour

WORDS = [
    [("red", "attribute", 1.0), ("car", "object", 1.0), ("near", "relation", 1.0), ("dogs", "object", 1.0)],
    [("big", "attribute", 1.0), ("cat", "object", 1.0)],
    [("cat", "object", 1.0)],
]
REMOVED = [[0.4, 0.1, 0.05, 0.2], [0.3, 0.1, np.nan, 0.1], [np.nan] * 4]
FOILS = [
    (0, "replace_obj", 0.4), (1, "replace_obj", 0.2), (0, "replace_att", 0.1), (1, "replace_att", -0.1),
    (1, "replace_att", 0.3), (0, "replace_rel", 0.05), (0, "add_att", 0.02),
]  # fmt: skip


def planted(foils=FOILS, *, pictured: bool = True):
    return replace(
        part_of(WORDS),
        similarity=np.array([0.5, 0.4, 0.3]) if pictured else np.full(3, np.nan),
        removed=np.array(REMOVED),
        foil_of=np.array([row for row, _, _ in foils], np.int64),
        foil_kinds=tuple(kind for _, kind, _ in foils),
        foil_drops=np.array([drop for *_, drop in foils]),
    )


def of(*parts, **options):
    return behaviour(lambda: iter(parts), **{"replicates": 50, **options})


def test_falls_by_removal_are_for_each_word():
    found = of(planted())
    assert found.removed["object"].value == pytest.approx((0.4 / 2 + 0.3) / 2)
    assert found.removed["attribute"].value == pytest.approx(0.1)
    assert found.removed["relation"].value == pytest.approx(0.05)
    assert found.removed["composition"].value == pytest.approx((0.2 / 2 + 0.1) / 2)
    assert found.removed_gap.value == pytest.approx(0.25 / 0.1)


def test_falls_by_foils_and_what_wins():
    found = of(*[planted()] * 3)
    assert {kind: one.count for kind, one in found.foils.items()} == {
        "replace_obj": 6, "replace_att": 9, "replace_rel": 3, "add_att": 3,
    }  # fmt: skip
    assert found.foils["replace_obj"].drop.value == pytest.approx(0.3)
    assert found.foils["replace_att"].drop.value == pytest.approx(0.1)
    assert found.foils["replace_att"].wins.value == pytest.approx(2 / 3)


def test_the_gap_by_foils_is_over_the_mean_of_both_kinds():
    many = [replace(planted(), clusters=(f"{n} a", f"{n} b", f"{n} c")) for n in range(30)]
    found = of(*many, replicates=200)
    assert found.foil_gap["attribute"].value == pytest.approx(3)
    assert found.foil_gap["relation"].value == pytest.approx(6)
    assert found.foil_gap["composition"].value == pytest.approx(0.3 / 0.075)
    assert found.foil_gap["composition"].low < 4 < found.foil_gap["composition"].high


def test_what_may_as_well_be_nothing_is_no_divisor():
    rng = np.random.default_rng(0)
    foils = [(0, "replace_obj", 0.3), (0, "replace_att", 0.1), (0, "replace_rel", 0.0)]
    many = [
        replace(
            planted([*foils[:2], (0, "replace_rel", rng.normal(0.001, 0.05))]), clusters=(f"{n}", "b", "c")
        )
        for n in range(40)
    ]
    found = of(*many, replicates=400)
    assert found.foils["replace_rel"].drop.low < 0 < found.foils["replace_rel"].drop.high
    assert np.isnan(found.foil_gap["relation"]).all()
    assert found.foil_gap["composition"].value == pytest.approx(6, rel=0.3)


def test_without_pictures_nothing_wins():
    found = of(planted(pictured=False))
    assert not found.pictured
    assert np.isnan(found.foils["replace_obj"].wins.value)
    assert found.foils["replace_obj"].drop.value == pytest.approx(0.3)


def test_without_foils_and_captions():
    found = of(planted([]))
    assert found.foils == {}
    assert np.isnan(found.foil_gap["composition"].value)
    assert np.isnan(of().removed_gap.value)
