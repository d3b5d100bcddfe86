"""The role of every token, written out by hand; roles of captions kept between runs."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipsight.errors import ClipsightWarning
from clipsight.language.reading import read_captions
from clipsight.roles.extract import extract_roles
from clipsight.roles.given import roles_from_column
from clipsight.tune.data import phrases
from clipsight.tune.data.batch import ROLE_NUMBERS
from clipsight.tune.data.phrases import find_phrases, phrases_of
from clipsight.tune.data.role_numbers import PREPOSITIONS, Matching, role_numbers
from tiny import past_type_checks
from towers import hf_tiny

TOKENIZER = open_clip.get_tokenizer("ViT-B-32")
WORDS = ("a", "red", "dog", "left", "of", "the", "skyscraper", "is", "behind", "two", "mats")
O, A, R = 1, 2, 3  # noqa: E741 - as the formulas call the groups


def spans(caption, **phrases):
    """Places of phrases given in words, the first time each stands there."""
    return [
        (caption.index(phrase), caption.index(phrase) + len(phrase), role)
        for role, several in phrases.items()
        for phrase in several
    ]


def numbers(caption, places, **how):
    """Roles of the caption's own tokens."""
    (row,) = role_numbers(TOKENIZER, [caption], [places], 77, Matching(**how))
    content = read_captions(TOKENIZER, [caption], 77).content[0]
    assert not row[~content].any()
    return row[content].tolist()


def test_numbers_grow_with_priority():
    assert ROLE_NUMBERS == {"object": O, "attribute": A, "relation": R}


@pytest.mark.parametrize(
    ("caption", "phrases", "expected"),
    [
        # flo|wered: every piece of a word has its role
        ("a flowered umbrella", {"attribute": ["flowered"], "object": ["umbrella"]}, [0, A, A, O]),
        # hydrange|a, sky|scra|per; the article inside the relation has none
        (
            "a hydrangea to the left of the skyscraper",
            {"object": ["hydrangea", "skyscraper"], "relation": ["to the left of"]},
            [0, O, O, R, 0, R, R, 0, O, O, O],
        ),
        # man|'s and isn|'t are cut at the apostrophe; a span may end there
        (
            "The man's dog isn't red",
            {"object": ["man", "dog"], "relation": ["isn't"], "attribute": ["red"]},
            [0, O, 0, O, R, R, A],
        ),
        ("The man's dog", {"object": ["man's", "dog"]}, [0, O, O, O]),
        ("a 😀 on a café table", {"object": ["😀", "café table"], "relation": ["on"]}, [0, O, R, 0, O, O]),
        # the blanks, the entity and the line break that the tokenizer repairs
        (
            "Two &amp; three  cats, on\nmats",
            {"attribute": ["Two", "three"], "object": ["cats", "mats"], "relation": ["on"]},
            [A, 0, A, O, 0, R, O],
        ),
        # part of a token is enough
        ("an umbrella", {"object": ["brel"]}, [0, O]),
        # relation before attribute before object
        (
            "next to the front door",
            {"object": ["front door"], "attribute": ["front"], "relation": ["next to the front"]},
            [R, R, 0, R, O],
        ),
        ("the front door", {"object": ["front door"], "attribute": ["front"]}, [0, A, O]),
        # only the place that is named, of a word that stands twice
        ("a dog chases a dog", {"object": ["dog"], "relation": ["chases"]}, [0, O, R, 0, 0]),
        ("a dog", {}, [0, 0]),
    ],
)
def test_tokens_have_the_role_of_their_phrase(caption, phrases, expected):
    assert numbers(caption, spans(caption, **phrases)) == expected


def test_bare_prepositions():
    caption = "a cat in a box near a mat, to the left of a cup sitting on it"
    places = spans(caption, relation=["in", "near", "to", "left of", "sitting on"])
    words = [caption[s:e] for s, e, _ in places]
    assert words == ["in", "near", "to", "left of", "sitting on"]
    plain = dict.fromkeys(("in", "near", "to", "left", "of", "sitting", "on"), R)
    kept = {
        "none": plain,
        "in_on": {**plain, "in": 0},
        # "to" is part of "to the left of", "on" of "sitting on"
        "all": {**plain, "in": 0, "near": 0},
    }
    tokens = caption.replace(",", " ,").split()
    for setting, roles in kept.items():
        expected = [roles.get(word, 0) for word in tokens]
        assert numbers(caption, places, drop_bare_prepositions=setting) == expected
        assert numbers("a cat ON a mat", [(6, 8, "relation")], drop_bare_prepositions=setting)[2] == (
            R if setting == "none" else 0
        )
    assert {"in", "on", "to", "of", "behind"} <= PREPOSITIONS
    assert not PREPOSITIONS & {"left", "next", "the", "and"}


def test_first_bpe_marks_the_first_equal_ids():
    caption = "a person on a bench on a flowered dog"
    second = caption.rindex("on")
    places = [
        *spans(caption, object=["person", "bench", "flowered"], attribute=["flo"]),
        (second, second + 2, "relation"),
    ]
    # "on" is not found inside "person", but at the first "on" instead of the second that was named; "flo" as a word of
    # its own has another id than the beginning of "flowered"
    assert numbers(caption, places, match="first_bpe") == [0, O, R, 0, O, 0, 0, O, O, 0]
    assert numbers(caption, places) == [0, O, 0, 0, O, R, 0, A, O, 0]
    assert numbers("the dog", [(0, 3, "attribute")], match="first_bpe") == [0, 0]


def test_what_the_context_cuts_has_no_role():
    caption = " ".join(["red dog"] * 50)
    places = roles_from_column(caption, {"objects": ["dog"], "attributes": ["red"]})
    with pytest.warns(ClipsightWarning, match="longer than the model's 77 tokens"):
        (row,) = role_numbers(TOKENIZER, [caption], [phrases_of(places)], 77)
    assert row.tolist() == [0, *[A, O] * 37, A, 0]


def test_settings_are_checked():
    with past_type_checks(), pytest.raises(ValueError, match="'first' is not known"):
        Matching(match="first")
    with past_type_checks(), pytest.raises(ValueError, match="'some' is not known"):
        Matching(drop_bare_prepositions="some")


@pytest.mark.parametrize("write", [hf_tiny.clip_tokenizer, hf_tiny.pieces])
def test_any_tokenizer(tmp_path, write):
    """Letters with a role are those of the phrase, however a tokenizer cuts words."""
    from clipsight.language.hf_tokenizers import open_tokenizer

    write(tmp_path)
    tokenizer = open_tokenizer(tmp_path, 24, 10)
    caption = "a red car left of a dog"
    places = spans(caption, attribute=["red"], object=["car", "dog"], relation=["left of"])
    (row,) = role_numbers(tokenizer, [caption], [places], 24)
    (found,) = read_captions(tokenizer, [caption], 24).found
    letters = {number: "" for number in (O, A, R)}
    for place, number in zip(found.places, row.tolist(), strict=True):
        if number and place is not None:
            letters[number] += caption[slice(*place)].replace(" ", "")
    assert letters == {O: "cardog", A: "red", R: "leftof"}


@settings(max_examples=30)
@given(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=20))
def test_words_of_an_extractor_keep_their_roles(words):
    """Against the extractor's own answer, word by word."""
    caption = " ".join(words)
    found = extract_roles(caption)
    expected = []
    for word, role in zip(found.words, found.roles, strict=True):
        pieces = len(TOKENIZER.encode(word.text))
        expected += [0 if role == "other" else ROLE_NUMBERS[role]] * pieces
    assert numbers(caption, phrases_of(found)) == expected


@pytest.fixture
def asked(monkeypatch):
    """Captions that the extractor is asked about, and the version it says it has."""
    seen, version = [], ["1"]

    def extract(caption, extractor):
        seen.append(caption)
        return replace(extract_roles(caption, extractor), version=version[0])

    monkeypatch.setattr(phrases, "extract_roles", extract)
    return seen, version


CAPTIONS = ["a red car left of a dog", "two cats", "a red car left of a dog", ""]


def test_roles_are_found_once(tmp_path, asked):
    seen, version = asked
    told = []
    found = find_phrases(CAPTIONS, "rules", cache=tmp_path, progress=lambda *said: told.append(said))
    assert found == ([phrases_of(extract_roles(caption)) for caption in CAPTIONS], "1")
    assert found[0][0] == ((2, 5, "attribute"), (6, 9, "object"), (10, 17, "relation"), (20, 23, "object"))
    assert told == [("roles", 3, 3)]
    probe = seen[0]
    del seen[:]
    assert find_phrases(CAPTIONS, "rules", cache=tmp_path) == found
    assert seen == [probe]
    find_phrases([*CAPTIONS, "a third"], "rules", cache=tmp_path)
    assert seen[1:] == [probe, "a third"]
    version[0], _ = "2", seen.clear()
    assert find_phrases(CAPTIONS, "rules", cache=tmp_path) == (found[0], "2")
    assert set(seen) == {probe, *CAPTIONS}


def test_the_file_holds_no_captions(tmp_path):
    find_phrases(["a zebra"], "rules", cache=tmp_path)
    assert not any(b"zebra" in path.read_bytes() for path in tmp_path.iterdir())


def test_several_write_at_once(tmp_path):
    groups = [[f"a dog and {n} cats of group {group}" for n in range(40)] for group in range(6)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda some: find_phrases(some, "rules", cache=tmp_path)[0], groups))
    assert found == [[phrases_of(extract_roles(one)) for one in some] for some in groups]
    assert sum(path.read_bytes().count(b'"object"') > 0 for path in tmp_path.iterdir()) == 6


def test_damaged_entries_are_found_anew(tmp_path, asked):
    seen, _ = asked
    found = find_phrases(CAPTIONS, "rules", cache=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    del seen[:]
    assert find_phrases(CAPTIONS, "rules", cache=tmp_path) == found
    assert set(seen[1:]) == set(CAPTIONS)


def test_roles_do_not_depend_on_processes(monkeypatch):
    monkeypatch.setattr(phrases, "_CHUNK", 3)
    captions = [f"a dog behind {n} cars" for n in range(8)]
    assert find_phrases(captions, "rules", processes=2) == find_phrases(captions, "rules")


def test_an_array_of_bytes():
    row = role_numbers(TOKENIZER, ["a dog", "a cat"], [[(2, 5, "object")], []], 77)
    assert row.dtype == torch.uint8
    assert row.shape == (2, 77)
    assert row.nonzero().tolist() == [[0, 2]]
