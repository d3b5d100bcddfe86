"""Micro, macro, dropped and small groups, ties, and several items as one question."""

import numpy as np
import pytest

from clipsight.bench.composition.averages import GroupTally, ItemTally, kept_groups, tally, together
from clipsight.bench.composition.item import Item, PictureRef
from clipsight.bench.composition.protocol import Counting, Protocol, ProtocolMean
from clipsight.bench.composition.rules import ItemOutcome

GROUPS = ["on"] * 4 + ["in"] * 2 + ["near"] * 2


def _outcome(wins: str, ties: str = "") -> ItemOutcome:
    return ItemOutcome(
        *(np.array([sign == "1" for sign in signs.ljust(len(wins), "0")]) for signs in (wins, ties))
    )


def test_micro_counts_items_and_macro_counts_groups():
    found = tally(_outcome("11111000", "00000100"), GROUPS, ["in", "near", "on"], np.full(8, 0.5))
    assert found.micro == pytest.approx(100 * 5 / 8)
    assert found.macro == pytest.approx(100 * (1 + 0.5 + 0) / 3)
    assert (found.ties, found.tie_rate, found.chance) == (1, 12.5, 50)
    assert {name: one.score for name, one in found.groups.items()} == {"on": 100, "in": 50, "near": 0}


def test_dropped_and_small_groups_leave_the_macro_average_and_not_the_micro():
    kept = kept_groups(GROUPS, drop=frozenset({"near"}), least=3)
    assert kept == ["on"]
    found = tally(_outcome("11111000"), GROUPS, kept)
    assert found.macro == 100
    assert found.micro == pytest.approx(100 * 5 / 8)


def test_a_group_without_a_scored_item_drops_out():
    assert tally(_outcome("10"), ["on", "on"], ["in", "on"]).macro == 50


def test_nothing_scored_is_no_score():
    empty = tally(_outcome(""), [], ["on"])
    assert (empty.micro, empty.macro, empty.tie_rate) == (None, None, None)


def test_a_set_is_won_when_all_its_items_are():
    keys = ["a", "a", "b", "b", "c", "c", "d"]
    joined = together(_outcome("1110101", "0001000"), keys, {"a": 2, "b": 2, "c": 2, "d": 2})
    assert joined.wins.tolist() == [True, False, False]  # d has lost a picture and is left out
    assert joined.ties.tolist() == [False, True, False]


def _item(number: int, **facts) -> Item:
    picture = PictureRef(file=f"{number}.jpg", collection="coco_val2017")
    return Item(
        id=f"b/s/{number}", benchmark="b", split="s", rule="pair_text", pictures=(picture,),
        positives=("right",), negatives=("wrong",), **facts,
    )  # fmt: skip


def test_a_protocol_counts_by_tag_and_then_the_first():
    items = [_item(index, tags=("validated",) if index % 2 else ()) for index in range(8)]
    chosen = Counting(tag="validated", first=2).chosen(items)
    assert [one.id for one in chosen] == ["b/s/1", "b/s/3"]
    assert Counting(tag="validated", first=2).expected(8, {"validated": 4}) == 2
    assert Counting(first=100).expected(8, {}) == 8
    assert Counting().expected(None, {}) is None


def test_the_first_pattern_that_fits_a_split_holds():
    protocol = Protocol(counting={"a_*": Counting(first=1), "*": Counting(first=2)})
    assert [protocol.of(name).first for name in ("a_b", "b_a")] == [1, 2]


def test_splits_of_a_mean_are_found_however_deep():
    mean = ProtocolMean(name="all", of=("a", ProtocolMean(name="some", of=("b", "c"))))
    assert mean.splits() == ("a", "b", "c")


@pytest.mark.parametrize(
    ("facts", "said"),
    [({"rule": "guess"}, "no rule is called 'guess'"), ({"negatives": ()}, "takes 1 negative texts, got 0")],
)
def test_an_item_refuses_what_its_rule_does_not_take(facts, said):
    plain = {
        "id": "x", "benchmark": "b", "split": "s", "rule": "pair_text", "positives": ("right",),
        "negatives": ("wrong",), "pictures": (PictureRef(file="1.jpg", collection="coco_val2017"),),
    }  # fmt: skip
    with pytest.raises(ValueError, match=said):
        Item(**(plain | facts))


def test_the_error_is_the_spread_of_the_score_over_samples(rng):
    """Against many samples drawn with a known share; of a macro average over groups of unequal size."""

    def drawn(share: float, n: int) -> ItemTally:
        return ItemTally(scored=n, wins=int(rng.binomial(n, share)), ties=0, chance=None)

    scores = [one.micro for one in (drawn(0.7, 400) for _ in range(3000))]
    assert drawn(0.7, 400).error("micro") == pytest.approx(np.std(scores), rel=0.12)

    def grouped() -> ItemTally:
        groups = {
            name: GroupTally(scored=n, wins=int(rng.binomial(n, share)))
            for name, share, n in (("a", 0.6, 50), ("b", 0.9, 400))
        }
        return ItemTally(scored=450, wins=0, ties=0, chance=None, groups=groups)

    macros = [one.macro for one in (grouped() for _ in range(3000))]
    assert np.mean([grouped().error("macro") for _ in range(50)]) == pytest.approx(np.std(macros), rel=0.12)


def test_a_share_of_none_or_all_is_not_certain():
    assert ItemTally(scored=10, wins=10, ties=0, chance=None).error("micro") == pytest.approx(
        100 * (11 / 12 * 1 / 12 / 10) ** 0.5
    )
    assert ItemTally(scored=0, wins=0, ties=0, chance=None).error("micro") is None
    assert ItemTally(scored=10, wins=5, ties=0, chance=None).error("macro") is None
