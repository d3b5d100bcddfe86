"""False captions of training captions: different, repeatable, and never the caption."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipsight.roles.foils import FOIL_KINDS, make_foils
from clipsight.tune.data.example import Example
from clipsight.tune.foils import GROUPS, FoilMaker

CAPTION = "A red car left of a small dog."


def example(caption: str = CAPTION, *foils: str) -> Example:
    return Example(picture="none.png", caption=caption, spans=None, foils=foils)


def plain(text: str) -> str:
    return " ".join(text.casefold().split())


def test_the_same_number_and_epoch_give_the_same_foils_in_any_order_and_process():
    maker = FoilMaker(kinds=("swap", "replace", "shuffle"), count=3, seed=5)
    first = {(index, epoch): maker(example(), index, epoch) for index in range(6) for epoch in range(3)}
    other = pickle.loads(pickle.dumps(maker))
    for key in reversed(first):
        assert other(example(), *key) == first[key]
    assert len({tuple(found) for found in first.values()}) > 9


def test_another_seed_gives_other_foils():
    makers = [FoilMaker(kinds=("replace",), count=2, seed=seed) for seed in range(8)]
    assert len({tuple(maker(example(), 0, 0)) for maker in makers}) > 4


@pytest.mark.parametrize("kind", FOIL_KINDS)
def test_a_single_kind_is_that_kind(kind: str):
    caption = "a red car left of a small dog"
    possible = {make_foils(caption, [kind], seed=seed).made[0].foil for seed in range(120)}
    for index in range(5):
        (foil,) = FoilMaker(kinds=(kind,), count=1)(example(caption), index, 0)
        assert foil in possible


def test_kinds_take_turns():
    maker = FoilMaker(kinds=("swap", "shuffle_bigrams", "given"), count=3)
    words = sorted(CAPTION.rstrip(".").casefold().split())
    for index in range(10):
        made = maker(example(CAPTION, "One given.", "Another given."), index, 0)
        assert len(made) == 3
        assert sum(foil.endswith("given.") for foil in made) == 1
        # Swaps and shuffles move words about, and neither brings one in.
        assert sum(sorted(foil.rstrip(".").casefold().split()) == words for foil in made) == 2


def test_a_kind_that_is_alone_has_all_turns():
    made = FoilMaker(kinds=("given",), count=5)(example(CAPTION, "one", "two", CAPTION.upper(), "one "), 0, 0)
    assert sorted(plain(foil) for foil in made) == ["one", "two"]


def test_what_a_caption_does_not_allow_is_left_out():
    maker = FoilMaker(kinds=("swap", "replace_rel"), count=2)
    assert maker(example("dog"), 0, 0) == []
    assert FoilMaker(kinds=("shuffle",), count=3)(example("dog."), 0, 0) == []


def test_bigrams_stay_together_and_the_full_stop_stays_last():
    for index in range(10):
        (foil,) = FoilMaker(kinds=("shuffle_bigrams",), count=1)(example("a b c d e f g."), index, 0)
        words = foil.rstrip(".").split()
        assert foil.endswith(".")
        assert foil.count(".") == 1
        assert sorted(words) == list("abcdefg")
        for left in "ace":
            assert words[words.index(left) + 1] == chr(ord(left) + 1)


def test_shuffled_words_break_pairs():
    foils = {FoilMaker(kinds=("shuffle_words",), count=1)(example("a b c d e f"), i, 0)[0] for i in range(20)}
    assert any("a b" not in foil for foil in foils)
    assert len(foils) > 10


WORDS = st.sampled_from(
    [
        "",
        *[
            "a",
            "the",
            "red",
            "small",
            "dog",
            "Dog",
            "cat",
            "on",
            "left",
            "of",
            "and",
            ".",
            ",",
            "7",
            "café",
            "-",
            "木",
            "'",
        ],
    ]
)


@settings(max_examples=60)
@given(st.one_of(st.text(max_size=30), st.lists(WORDS, max_size=9).map(" ".join)), st.integers(0, 3))
def test_foils_are_new_and_different(caption: str, epoch: int):
    kinds = (*GROUPS, "given")
    made = FoilMaker(kinds=kinds, count=4)(example(caption, caption + " ", "given"), 3, epoch)
    assert len(made) <= 4
    assert len({plain(foil) for foil in made} | {plain(caption)}) == len(made) + 1


@pytest.mark.parametrize("wrong", [{"kinds": ("swop",)}, {"kinds": ()}, {"count": 0}])
def test_wrong_wishes_are_refused(wrong: dict):
    with pytest.raises(ValueError, match=r"kind"):
        FoilMaker(**wrong)
