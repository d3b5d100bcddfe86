"""The tags result: order, presence, files and what it refuses."""

import json

import pytest
import torch

from clipsight.results.tags import Tag, Tags
from goldens import unchecked
from results.scenes import PROVENANCE

NAN = float("nan")


def tags(**fields) -> Tags:
    made = {
        "labels": ("cat", "dog", "car"),
        "scores": torch.tensor([0.01, 0.2, -0.05]),
        "similarity": torch.tensor([0.2, 0.3, 0.1]),
        "presence": torch.tensor([0.4, 0.9, 0.0]),
        "presence_reason": "",
        "source": "photo.jpg",
        "provenance": PROVENANCE,
    }
    return Tags(**made | fields)


def test_the_highest_come_first():
    made = tags()
    assert [tag.label for tag in made.top()] == ["dog", "cat", "car"]
    assert made.top(1) == [Tag("dog", pytest.approx(0.2), pytest.approx(0.9))]
    assert made.top(0) == []
    assert made["car"].score == pytest.approx(-0.05)
    assert len(made) == 3
    assert made.lines()[0] == "dog: presence 0.90, score 0.200"
    with pytest.raises(KeyError, match="'cat', 'dog', 'car'"):
        made["cow"]


def test_what_is_there():
    assert [tag.label for tag in tags().there()] == ["dog"]
    assert [tag.label for tag in tags().there(0.3)] == ["dog", "cat"]
    assert tags().there(0.95) == []
    unmeasured = tags(presence=torch.full((3,), NAN), presence_reason="too few names")
    with pytest.raises(ValueError, match=r"too few names.*20 names"):
        unmeasured.there()
    assert "not measured" in unmeasured.lines()[0]


def test_a_score_that_is_no_number_comes_last():
    assert [tag.label for tag in tags(scores=torch.tensor([NAN, 0.0, -1.0])).top()] == ["dog", "car", "cat"]


def test_json(tmp_path):
    path = tags(presence=torch.tensor([NAN, 0.9, 0.0])).save(tmp_path / "t.json")
    data = json.loads(path.read_text())
    assert data["kind"] == "tags"
    assert data["labels"] == ["cat", "dog", "car"]
    assert data["order"] == [1, 0, 2]
    assert data["presence"] == [None, 0.9, 0.0]
    assert data["provenance"]["model"] == "clipsight-tiny"
    with pytest.raises(FileExistsError):
        tags().save(path)
    with pytest.raises(ValueError, match="suffix"):
        tags().save(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"labels": ()}, "at least one label"),
        ({"scores": torch.zeros(2)}, "scores must be float32"),
        ({"similarity": torch.zeros(3, dtype=torch.float64)}, "similarity must be float32"),
        ({"presence": torch.tensor([0.0, 1.5, 0.0])}, r"\[0, 1\]"),
    ],
)
def test_fields_that_do_not_fit_are_refused(fields, match):
    made = tags()
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    with pytest.raises(ValueError, match=match):
        unchecked(Tags.__post_init__)(made)
