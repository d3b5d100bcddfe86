"""Every question is a method of `Seen`, and `Lens` asks the same in one call."""

import inspect

import pytest
import torch

import clipsight
from clipsight import Lens, Seen
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
