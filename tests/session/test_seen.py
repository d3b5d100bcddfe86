"""Every question is a method of `Seen`, and `Lens` asks the same in one call."""

import inspect

import pytest
import torch

import clipsight
from clipsight import Lens, Seen
from clipsight.attribution.image import image_attribution_ids
from clipsight.session.interact import joint_ids
from clipsight.world import make_scene

QUESTIONS = (
    "explain", "classify", "tag", "segment", "points", "anomaly", "words", "sentence", "faithfulness",
)  # fmt: skip


@pytest.fixture(scope="module")
def lens():
    return clipsight.load("clipsight-tiny", device="cpu")


@pytest.fixture(scope="module")
def picture():
    return make_scene(3).image


@pytest.mark.parametrize("name", QUESTIONS)
def test_lens_takes_what_seen_takes_and_the_picture(name):
    def facts(method):
        parameters = list(inspect.signature(method).parameters.values())[1:]
        return {one.name: one.default for one in parameters}

    of_lens, of_seen = facts(getattr(Lens, name)), facts(getattr(Seen, name))
    own = set(of_lens) - set(of_seen)
    assert "image" in own
    assert own <= {"image", "resolution", "batch"}
    assert {key: of_lens[key] for key in of_seen} == of_seen
    assert inspect.getdoc(getattr(Seen, name))


def test_points_are_those_of_the_explanation(lens, picture):
    texts = ["dog", "car", "dog+car"]
    found = lens.points(picture, texts)
    explanation = lens.explain(picture, ["dog", "car"])
    for text, one in zip(texts, found, strict=True):
        assert (one.xy == explanation.points(text).xy).all()
        assert one.text == text
    alone = lens.see(picture).points("dog", contrast="none", downsample=1)
    assert (alone.xy == lens.explain(picture, ["dog"], contrast="none").points("dog", downsample=1).xy).all()
    assert lens.points(picture, "C++").text == "C++"


def test_segmentation_of_a_picture_seen_whole_takes_its_features(lens, picture, monkeypatch):
    seen = lens.see(picture)
    seen.features("naclip")
    expected = lens.segment(picture, ["dog", "car"], recipe="naclip")
    monkeypatch.setattr(type(lens._engine), "features", None)
    monkeypatch.setattr(type(lens._engine), "maps", None)
    steps = []
    found = seen.segment(["dog", "car"], recipe="naclip", progress=lambda *step: steps.append(step))
    assert torch.equal(found.labels, expected.labels)
    assert steps == [(1, 1)]


def test_only_public_names_are_listed_and_a_misspelt_one_is_helped():
    assert dir(clipsight) == sorted(clipsight.__all__)
    assert all(not name.startswith("_") for name in dir(clipsight))
    assert all(getattr(clipsight, name) is not None for name in dir(clipsight))
    with pytest.raises(AttributeError, match="did you mean 'recipes'"):
        clipsight.recipies  # noqa: B018


def test_methods_of_each_verb():
    assert clipsight.methods() == (*clipsight.recipes(), *image_attribution_ids())
    assert clipsight.methods("segment") == clipsight.recipes()
    assert clipsight.methods("words") == clipsight.attributions()
    assert clipsight.methods("interact") == joint_ids()
    with pytest.raises(ValueError, match="did you mean 'segment'"):
        clipsight.methods("segmnt")
    with pytest.raises(ValueError, match="no methods to choose from"):
        clipsight.methods("classify")


def test_a_lens_and_a_seen_picture_say_what_they_are(lens, picture, capsys):
    seen = lens.see(picture, 10_000 // 2)
    assert "clipsight-tiny" in repr(lens)
    assert "px, by 'clipsight-tiny'" in repr(seen)
    lens.show()
    seen.show()
    printed = capsys.readouterr().out
    assert "open_clip ViT" in printed
    assert "more than 4096" in printed
    assert "open_clip ViT" in lens._repr_html_()
    page = lens.see(picture)._repr_html_()
    assert "data:image/jpeg" in page
    assert "112 × 112 px" in page
