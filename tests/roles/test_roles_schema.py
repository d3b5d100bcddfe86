"""The one schema of all extractors, roles from a column, and what a wrong request is told."""

import json

import pytest

from clipsight.roles.extract import CaptionRoles, RoleRelation, RoleWord, extract_roles, find_words
from clipsight.roles.nearest import nearest_links, nearest_relations
from clipsight.world import make_scene

CAPTION = "A big red dog chases 2 cats, in snow."


@pytest.fixture
def found() -> CaptionRoles:
    return extract_roles(CAPTION)


def test_places_are_those_of_the_caption_as_given(found: CaptionRoles):
    assert all(CAPTION[w.start : w.end] == w.text for w in found.words)
    assert [CAPTION[a:b] for a, b in found.spans("attribute")] == ["big red", "2"]
    assert [CAPTION[a:b] for a, b in found.spans("object")] == ["dog", "cats", "snow"]
    assert [CAPTION[a:b] for a, b in found.spans("relation", "object")] == [
        "dog",
        "chases",
        "cats",
        "in",
        "snow",
    ]


def test_spans_join_words_only_over_blanks():
    roles = extract_roles("red, blue flowers")
    assert [roles.caption[a:b] for a, b in roles.spans("attribute")] == ["red", "blue"]


def test_masks_mark_tokens_that_overlap_words(found: CaptionRoles):
    tokens = [(0, 0), (0, 1), (2, 5), (6, 9), (10, 12), (12, 13), (13, 14), (27, 28), (0, 37)]
    assert found.mask(tokens, "object") == (False, False, False, False, True, True, False, False, True)
    assert found.mask(tokens, "attribute") == (False, False, True, True, False, False, False, False, True)
    assert found.mask([], "object") == ()


def test_records_go_through_json(found: CaptionRoles):
    again = CaptionRoles.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again == found
    assert again.extractor == "rules"
    assert "+" in again.version


@pytest.mark.parametrize("missing", ["words", "roles", "extractor"])
def test_a_broken_record_is_refused(found: CaptionRoles, missing: str):
    record = found.to_dict()
    del record[missing]
    with pytest.raises(ValueError, match=f"KeyError.*{missing}"):
        CaptionRoles.from_dict(record)


def make(**changes: object) -> CaptionRoles:
    words = find_words("red dog runs")
    fields = {
        "caption": "red dog runs",
        "words": words,
        "roles": ("attribute", "object", "relation"),
        "extractor": "mine",
        "version": "1",
    }
    return CaptionRoles(**(fields | changes))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"roles": ("object",)}, "3 words have 1 roles"),
        ({"words": (RoleWord(text="red", start=1, end=4),) * 3}, "is not at 1:4"),
        ({"links": ((1, 0),)}, "has word 1, 'dog', as attribute"),
        ({"links": ((0, 7),)}, "names word 7, and there are 3"),
        ({"relations": (RoleRelation(subject=1, words=(), object=None),)}, "has no words"),
        ({"relations": (RoleRelation(subject=0, words=(2,), object=None),)}, "'red', as object"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, object], told: str):
    assert make().links == ()
    with pytest.raises(ValueError, match=told):
        make(**changes)


def test_an_unknown_role_is_refused():
    # the tests' own type check may come first
    with pytest.raises((ValueError, TypeError), match="'verb'"):
        make(roles=("attribute", "object", "verb"))


def test_words_of_any_script_and_with_marks_inside():
    assert [w.text for w in find_words("L'été: ice-cream, 3½ co_op’s 犬")] == [
        "L'été",
        "ice-cream",
        "3½",
        "co",
        "op's",  # the mark is read as the straight one
        "犬",
    ]


def test_a_column_of_places_gives_the_worlds_own_roles():
    for index in range(10):
        for caption in make_scene(index, seed=5).captions:
            found = extract_roles(caption.text, "column", spans=caption.spans)
            for word, role in zip(found.words, found.roles, strict=True):
                inside = [s[2] for s in caption.spans if s[0] <= word.start and word.end <= s[1]]
                assert role == (inside[0] if inside and word.text not in ("a", "an", "the") else "other")


@pytest.mark.parametrize(
    "objects", [["dog", "cats"], [[10, 13], [23, 27, "cats"]], "['dog', 'cats']", '["DOG", "the", "cats"]']
)
def test_a_column_of_words(objects: object):
    spans = {"object_list": objects, "relations": ["chases"], "attribute": "[]"}
    found = extract_roles(CAPTION, "column", spans=spans, relations=[(3, [4], 6)])
    assert found.texts("object") == ("dog", "cats")
    assert found.texts("relation") == ("chases",)
    assert found.relations == (RoleRelation(subject=3, words=(4,), object=6),)
    assert found.extractor == "column"


def test_in_a_column_the_relation_wins_then_the_attribute():
    spans = [(0, 20, "object"), (8, 13, "attribute"), (0, 7, "relation")]
    assert extract_roles("next to brick houses", "column", spans=spans).roles == (
        "relation", "relation", "attribute", "object",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("spans", "told"),
    [
        ([(0, 99, "object")], "0:99 is not inside the caption, which has 37"),
        ([(3, 3, "object")], "3:3 is not inside"),
        ([(0, 1, "noun")], r"\(0, 1, 'noun'\) should be"),
        ({"nouns": ["dog"]}, "the key 'nouns'; the keys are objects"),
        ({"objects": ["horse"]}, "'horse' does not stand in the caption"),
        ({"objects": ["do"]}, "'do' does not stand in the caption"),
        ({"objects": "dog, cats"}, "which is no list"),
    ],
)
def test_a_column_that_does_not_fit_is_refused(spans: object, told: str):
    with pytest.raises(ValueError, match=told):
        extract_roles(CAPTION, "column", spans=spans)


@pytest.mark.parametrize(
    ("extractor", "options", "told"),
    [
        ("rules", {"pipeline": "x"}, "'rules' was given pipeline; it has no options"),
        ("column", {}, "'column' was not given spans; write"),
        ("spacy", {"model": "x"}, "'spacy' was given model; write"),
    ],
)
def test_options_are_checked(extractor: str, options: dict[str, object], told: str):
    with pytest.raises(TypeError, match=told):
        extract_roles(CAPTION, extractor, **options)


def test_other_requests_that_cannot_be_met():
    with pytest.raises(ValueError, match="'parser' is not known; give one of rules, column, textblob, spacy"):
        extract_roles(CAPTION, "parser")
    # the tests' own type check may come first
    with pytest.raises(TypeError, match=r"\[extract_roles\(c\) for c in captions\]|Type-check"):
        extract_roles([CAPTION])  # pyright: ignore[reportArgumentType]


def test_nearest_nouns():
    roles = (
        "attribute",
        "object",
        "object",
        "relation",
        "relation",
        "other",
        "object",
        "relation",
        "attribute",
    )
    assert nearest_links(roles) == ((0, 2), (8, 6))
    assert nearest_relations(roles) == (
        RoleRelation(subject=2, words=(3, 4), object=6),
        RoleRelation(subject=6, words=(7,), object=None),
    )
    assert nearest_links(("attribute",)) == ()
