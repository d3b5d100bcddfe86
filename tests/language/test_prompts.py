"""Template sets as published, and how texts fill them."""

import pytest
from open_clip import OPENAI_IMAGENET_TEMPLATES

from clipsight.language.prompts import TEMPLATE_SETS, expand, resolve_templates


def test_sets_have_their_sizes_and_no_template_twice():
    assert {name: len(templates) for name, templates in TEMPLATE_SETS.items()} == {
        "IN80": 80, "CS85": 85, "IN7": 7, "CAR15": 15, "GEM": 1,
    }  # fmt: skip
    for templates in TEMPLATE_SETS.values():
        assert len(set(templates)) == len(templates)
        assert all(template.count("{}") == 1 for template in templates)


def test_imagenet_set_is_openais_own():
    assert set(TEMPLATE_SETS["IN80"]) == {template("{}") for template in OPENAI_IMAGENET_TEMPLATES}


def test_seven_are_among_the_eighty():
    assert set(TEMPLATE_SETS["IN7"]) <= set(TEMPLATE_SETS["IN80"])


def test_surgery_set_adds_five_scenes():
    assert TEMPLATE_SETS["CS85"][:80] == TEMPLATE_SETS["IN80"]
    assert TEMPLATE_SETS["CS85"][80:] == (
        "there is a {} in the scene.",
        "there is the {} in the scene.",
        "this is a {} in the scene.",
        "this is the {} in the scene.",
        "this is one {} in the scene.",
    )


def test_literal_wording():
    assert "a jpeg corrupted photo of the {}." in TEMPLATE_SETS["IN80"]
    assert "a origami {}." in TEMPLATE_SETS["IN80"]
    assert TEMPLATE_SETS["CAR15"][0] == "a clean origami {}."
    # ViLD's own list is uneven about full stops.
    assert "This is a photo of a {}" in TEMPLATE_SETS["CAR15"]
    assert "There is a large {} in the scene." in TEMPLATE_SETS["CAR15"]
    assert TEMPLATE_SETS["GEM"] == ("a photo of a {}.",)


def test_resolving():
    assert resolve_templates(None) == ()
    assert resolve_templates("CS85") == TEMPLATE_SETS["CS85"]
    assert resolve_templates("gem") == TEMPLATE_SETS["GEM"]
    assert resolve_templates("my {} here") == ("my {} here",)
    assert resolve_templates(["a {}.", "{}!"]) == ("a {}.", "{}!")


@pytest.mark.parametrize(
    ("templates", "error", "says"),
    [
        ("IN81", ValueError, "IN80"),
        (["a {}", "a photo"], ValueError, "template 1, 'a photo'"),
        ([], ValueError, "empty"),
        ([3], TypeError, "is a int|Type-check"),  # the tests' own type check may come first
    ],
)
def test_what_is_refused(templates, error, says):
    with pytest.raises(error, match=says):
        resolve_templates(templates)


def test_expanding_goes_text_by_text_and_keeps_braces_in_texts():
    assert expand(["x", "{y}"], ("a {}.", "{} {}")) == ["a x.", "x x", "a {y}.", "{y} {y}"]
    assert expand(["x", "x"], ()) == ["x", "x"]
    assert expand([""], ("a {}.",)) == ["a ."]
