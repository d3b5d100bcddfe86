"""Foils of the seven kinds: one change, grammatical, parsed as meant; and the checks that say so find faults."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipsight.roles.extract import extract_roles
from clipsight.roles.foil_grammar import faults
from clipsight.roles.foil_words import attributes_to_add, objects_to_add, other_attributes, other_objects
from clipsight.roles.foils import FOIL_KINDS, CaptionFoil, make_foils
from clipsight.roles.lexicon import lexicon
from clipsight.roles.word_files import sections
from clipsight.world import make_scenes
from clipsight.world.scene import FoilKind as WorldKind

# Invented, in the manner of COCO's captions.
CAPTIONS = (
    "A brown dog chases a white cat across the wet street.",
    "Two men riding horses on a beach",
    "a small red car parked in front of a tall building",
    "A woman in a blue dress is holding an umbrella.",
    "an old man sitting on a wooden bench next to a young girl",
    "Three zebras standing in tall grass",
    "A kitchen with a stove, a sink and a large window.",
    "A GIRL EATING AN APPLE IN A PARK",
    "man wearing black jacket walking dog",
    "An orange cat sleeps on a striped blanket while a bird watches.",
    "A bowl of soup and a spoon on a round table",
    "a group of people flying kites in a green field",
    "There is a clock above the door of the church.",
    "The bus is yellow and the truck is red.",
    "A boy pushing his bicycle up a steep hill.",
    "A plate topped with a sandwich and a green salad.",
    "Some sheep grazing behind a stone wall",
    "A horse-drawn carriage passes an empty restaurant.",
    "a man with a hat left of a woman with a scarf",
    "Cups being washed in the kitchen sink",
)


def worlds() -> list[str]:
    return [c.text for scene in make_scenes(25, 17, "train") for c in scene.captions]


def every_foil(captions: list[str], seed: int = 0) -> list[CaptionFoil]:
    return [foil for caption in captions for foil in make_foils(caption, seed=seed).made]


@pytest.fixture(scope="module")
def foils() -> list[CaptionFoil]:
    return [f for seed in range(3) for f in every_foil(list(CAPTIONS), seed)] + every_foil(worlds())


def test_the_kinds_are_the_worlds():
    assert set(FOIL_KINDS) == set(WorldKind.__args__)


def test_all_kinds_are_made_often(foils: list[CaptionFoil]):
    counts = Counter(foil.kind for foil in foils)
    assert set(counts) == set(FOIL_KINDS)
    assert min(counts.values()) >= 15, counts


def test_a_foil_brings_in_no_fault_of_grammar(foils: list[CaptionFoil]):
    wrong = [
        (f.caption, f.foil, faults(f.foil)) for f in foils if set(faults(f.foil)) - set(faults(f.caption))
    ]
    assert not wrong


def test_a_foil_differs_where_it_says_and_only_there(foils: list[CaptionFoil]):
    for foil in foils:
        assert foil.foil.lower() != foil.caption.lower()
        kept, kept_to = cut(foil.caption, foil.changed), cut(foil.foil, foil.changed_to)
        for one, other in zip(kept, kept_to, strict=True):
            assert plain(one) == plain(other), foil


def cut(text: str, spans: tuple[tuple[int, int], ...]) -> list[str]:
    """The pieces of a text outside some places."""
    ends = [0, *(end for _, end in spans)]
    starts = [*(start for start, _ in spans), len(text)]
    return [text[a:b] for a, b in zip(ends, starts, strict=True)]


def plain(text: str) -> list[str]:
    """Words without articles, which may change with the sound of what follows."""
    return [word for word in text.lower().split() if word not in ("a", "an")]


def test_swaps_move_words_and_change_none(foils: list[CaptionFoil]):
    for foil in foils:
        if foil.kind.startswith("swap"):
            assert sorted(plain(foil.foil.rstrip("."))) == sorted(plain(foil.caption.rstrip("."))), foil


def test_words_of_a_foil_have_the_role_of_its_kind(foils: list[CaptionFoil]):
    role = {"obj": "object", "att": "attribute", "rel": "relation"}
    for foil in foils:
        if not foil.kind.startswith("swap"):
            inside = [
                r
                for a, b, r in foil.foil_spans
                if any(a < end and start < b for start, end in foil.changed_to)
            ]
            assert role[foil.kind[-3:]] in inside, foil


def test_additions_keep_every_word(foils: list[CaptionFoil]):
    for foil in foils:
        if foil.kind.startswith("add"):
            left = plain(foil.foil)
            for word in plain(foil.caption):
                left.remove(next(w for w in left if w.rstrip(".,") == word.rstrip(".,")))
            assert 1 <= len(left) <= 4, foil


def test_the_same_seed_gives_the_same_and_another_another():
    one, same, other = (every_foil(list(CAPTIONS), seed) for seed in (0, 0, 1))
    assert one == same
    assert {f.foil for f in one} != {f.foil for f in other}
    assert [f.kind for f in make_foils(CAPTIONS[0], ["swap_att", "add_obj"]).made] == ["swap_att", "add_obj"]


def foil_of(caption: str, kind: str) -> str:
    return make_foils(caption, [kind])[kind].foil  # pyright: ignore[reportArgumentType]


def test_what_is_certain_whatever_the_seed():
    assert foil_of("a red car left of a small dog", "replace_rel") == "a red car right of a small dog"
    assert foil_of("a red car left of a small dog", "swap_obj") == "a small dog left of a red car"
    assert foil_of("a red car and an old bus", "swap_att") == "an old car and a red bus"
    assert foil_of("A big dog runs.", "replace_att") == "A small dog runs."
    assert foil_of("The door is open", "replace_att") == "The door is closed"
    assert foil_of("A man riding an elephant", "swap_obj") == "An elephant riding a man"
    assert foil_of("A DOG ON A BED", "replace_rel") == "A DOG UNDER A BED"
    assert foil_of("an old man", "replace_att") == "a young man"
    assert foil_of("an old car", "replace_att") == "a new car"


@pytest.mark.parametrize(
    ("caption", "kind", "told"),
    [
        ("a dog", "replace_att", "no attribute word has an opposite"),
        ("a dog", "replace_rel", "no relation word has an opposite"),
        ("a dog", "swap_obj", "no relation joins two objects"),
        ("a red dog", "swap_att", "no two objects have an attribute each"),
        ("a zorble", "replace_obj", "no object word has another of its kind"),
        ("a dog next to a cat", "swap_obj", "no relation joins two objects"),
        ("a dog and a cat", "add_obj", "no object stands where another could be named"),
        ("", "add_att", "no object word could be given an attribute"),
    ],
)
def test_a_kind_that_is_impossible_says_why(caption: str, kind: str, told: str):
    foils = make_foils(caption, [kind])  # pyright: ignore[reportArgumentType]
    assert foils.made == ()
    assert told in foils.impossible[kind]
    with pytest.raises(KeyError, match=told):
        foils[kind]  # pyright: ignore[reportArgumentType]


def test_an_unknown_kind_is_refused():
    with pytest.raises((ValueError, TypeError), match=r"'replace_all' is not known|Type-check"):
        make_foils("a dog", ["replace_all"])  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("caption", "fault"),
    [
        ("a apple", "'a' before 'apple'"),
        ("an dog", "'an' before 'dog'"),
        ("two dog on a bed", "'two' with 'dog'"),
        ("a dogs", "'a' with 'dogs'"),
        ("the dogs sits", "'dogs' with 'sits'"),
        ("The dog are red", "'dog' with 'are'"),
        ("a dog on on a bed", "'on' twice"),
    ],
)
def test_faults_are_found(caption: str, fault: str):
    assert fault in faults(caption)


def test_sound_captions_have_no_faults():
    assert [(c, faults(c)) for c in (*CAPTIONS, *worlds()) if faults(c)] == []


def test_nothing_replaces_itself_or_what_the_caption_names():
    rng = random.Random(0)
    named = frozenset(("dog", "cat", "sofa"))
    assert not named & set(other_objects("horse", named, rng))
    assert "couch" not in other_objects("chair", named, rng)
    assert "sheep" not in objects_to_add("cow", frozenset(("lamb",)), rng)
    assert not set(other_attributes("red", "car", frozenset(("blue",)), rng)) & {"red", "blue"}
    assert not set(attributes_to_add("car", frozenset(("green",)), rng)) & {"red", "blue", "green"}
    assert other_attributes("old", "man", frozenset(), rng) == ["young"]


def test_the_words_for_foils_are_words_of_the_lexicon():
    known = lexicon()
    for section, entries in sections("foils", ",").items():
        for entry in entries:
            words = entry.split(">")[0].split() + entry.split(">")[-1].split()
            if section.startswith(("object", "mass")):
                assert words[-1] in known.noun_of, entry
            elif section.startswith(("attribute", "opposite")) and not section.endswith("number"):
                assert all("JJ" in known.tags.get(w, "JJ") or w in known.verb_of for w in words), entry
            elif section.startswith(("verb", "thing")):
                assert words[-1] in known.verb_of, entry


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(sorted(lexicon().tags)), max_size=10).map(" ".join) | st.text(max_size=40))
def test_any_text_gives_foils_or_reasons(caption: str):
    foils = make_foils(caption)
    assert {f.kind for f in foils.made} | set(foils.impossible) == set(FOIL_KINDS)
    for foil in foils.made:
        assert extract_roles(foil.foil).words


def test_persons_are_not_recoloured():
    assert "replace_att" in make_foils("a black man").impossible
    assert "swap_att" in make_foils("a white man and a red car", ["swap_att"]).impossible
