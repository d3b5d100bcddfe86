"""Names as people write them: classes, their words, and every way to get them wrong."""

import pytest

from clipsight.errors import ClipsightWarning
from clipsight.language.names import Names, parse_names
from goldens import unchecked


def test_every_form():
    names = parse_names(["cat", "person: man, woman", "vehicle = car, bus"])
    assert names.classes == ("cat", "person", "vehicle")
    assert names.queries == ("cat", "person", "man", "woman", "car", "bus")
    assert names.owner == (0, 1, 1, 1, 2, 2)
    assert not names.background
    mapped = parse_names({"cat": None, "person": ["person", "man", "woman"], "vehicle": ("car", "bus")})
    assert mapped == names
    assert parse_names(names) is names
    assert parse_names({"cat, sleeping": "cat, sleeping"}).queries == ("cat, sleeping",)


def test_the_class_word_is_a_query_once():
    assert parse_names([" cat :kitty,Cat "]).queries == ("cat", "kitty")
    assert parse_names(["cat = kitty, Cat"]).queries == ("kitty", "Cat")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["cat", "dog", " Cat"], "'cat' is given twice"),
        ([], "texts is empty"),
        ({}, "names is empty"),
        (["cat", " "], "no word in it"),
        (["cat", "person: man,"], "blank word after"),
        ([": man"], "no class before"),
        (["cat, dog"], "holds a comma"),
        (["cat = kitty, kitty"], "has the word 'kitty' twice"),
        ({"cat": []}, "has no word to look for"),
    ],
)
def test_mistakes_in_plain_words(given: object, message: str):
    with pytest.raises(ValueError, match=message):
        unchecked(parse_names)(given)


def test_one_string_is_no_list():
    with pytest.raises(TypeError, match="pass a list"):
        unchecked(parse_names)("cat")


def test_a_word_of_two_classes_is_told():
    with pytest.warns(ClipsightWarning, match="'bed' stands for 'furniture' and 'bed'"):
        names = parse_names(["furniture: table, bed", "bed"])
    assert names.clashes == {"bed": ("furniture", "bed")}
    assert len(names.notes) == 1


def test_background_words():
    names = parse_names(["cat: kitty", "dog"]).with_background(["sky", "wall"])
    assert names.classes == ("background", "cat", "dog")
    assert names.owner == (0, 0, 1, 1, 2)
    assert names.background
    with pytest.raises(ValueError, match="background class already"):
        names.with_background(["grass"])
    with pytest.raises(ValueError, match="no word to look for"):
        parse_names(["cat"]).with_background([])
    with pytest.raises(ValueError, match="'background' is given twice"):
        parse_names(["background", "cat"]).with_background(["sky"])
    with pytest.raises(ValueError, match="only the background"):
        Names(classes=("background",), words=(("sky",),), background=True)
    with pytest.raises(TypeError, match="pass a list"):
        parse_names(["cat"]).with_background("sky")


def test_two_thousand_names():
    names = parse_names([f"thing {k}: object {k}" for k in range(2000)])
    assert len(names) == 2000
    assert len(names.queries) == 4000
    assert not names.notes
