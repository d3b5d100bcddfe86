"""`clipsight tag`, against made-up tags: words in, lines, files and exit codes out."""

import json
from pathlib import Path

import pytest
import torch

from clipsight.pictures import read_picture
from clipsight.results import Provenance, Tags

ASK = ("tag", "dog.jpg", "--label", "cat", "--label", "dog", "--label", "grass")


@pytest.fixture
def asked(lens, monkeypatch):
    """What the lens was asked; later labels are likelier, from 0.5 to 1, unless there is a reason for NaN."""
    calls = []

    def tag(picture, labels, **arguments):
        calls.append({"image": picture, "labels": labels, **arguments})
        read_picture(picture)
        count = len(labels)
        presence = torch.linspace(0.5, 1, count)
        alone = count == 1
        return Tags(
            labels=labels,
            scores=torch.linspace(-0.1, 0.3, count),
            similarity=torch.linspace(0.1, 0.3, count),
            presence=torch.full((1,), torch.nan) if alone else presence,
            presence_reason="no contrast vocabulary" if alone else "",
            source=picture,
            provenance=Provenance(
                model="fake",
                pretrained=None,
                fingerprint="0000",
                method="tag",
                settings={},
                templates=(),
                contrast="labels",
                contrast_texts=(),
                grid=(3, 4),
                size=(24, 32),
                versions={"clipsight": "0"},
                notes=("The fake lens looked.",),
            ),
        )

    monkeypatch.setattr(lens, "tag", tag, raising=False)
    return calls


def test_prints_what_is_there_and_the_best_labels(asked, run):
    code, out, err = run(*ASK, "--top", "2")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "dog.jpg: grass (presence 0.8 or more) -> dog.tag.png",
        "  grass: presence 1.00, score 0.300",
        "  dog: presence 0.75, score 0.100",
        "  note: The fake lens looked.",
    ]
    assert Path("dog.tag.png").read_bytes().startswith(b"\x89PNG")


def test_where_a_label_counts_as_there_is_the_users_to_say(asked, run):
    assert "dog.jpg: grass, dog (presence 0.7 or more)" in run(*ASK, "--at-least", "0.7")[1]
    assert "dog.jpg: grass, dog, cat (presence 0 or more)" in run(*ASK, "--at-least", "0", "--overwrite")[1]


def test_without_presence_it_says_why(asked, run):
    code, out, _ = run("tag", "dog.jpg", "--label", "cat")
    assert code == 0
    assert "presence not measured: no contrast vocabulary" in out
    assert "or more" not in out


def test_options_become_values_of_the_api(asked, run):
    Path("labels.txt").write_text("grass\nsky\n")
    run("tag", "dog.jpg", "--label", "cat", "--labels-file", "labels.txt")
    words = ("--resolution", "336x448", "--templates", "IN80", "--overwrite")
    run("tag", "dog.jpg", "--label", "cat", *words)
    assert asked == [
        {
            "image": "dog.jpg",
            "labels": ("cat", "grass", "sky"),
            "templates": "auto",
            "resolution": "native",
        },
        {"image": "dog.jpg", "labels": ("cat",), "templates": "IN80", "resolution": (336, 448)},
    ]


def test_files_are_written_when_asked_and_kept(asked, run):
    assert run(*ASK, "--out", "answers", "--format", "json")[0] == 0
    assert json.loads(Path("answers/dog.tag.json").read_text())["order"] == [2, 1, 0]
    code, _, err = run(*ASK, "--out", "answers", "--format", "json")
    assert (code, len(err.splitlines()), len(asked)) == (1, 1, 1)
    assert run(*ASK, "--out", "answers", "--format", "json", "--overwrite")[0] == 0


def test_json_and_a_bad_picture_among_good_ones(asked, run):
    code, out, err = run("tag", "broken.png", "*.jpg", *ASK[2:], "--json")
    document = json.loads(out)
    assert (code, len(err.splitlines())) == (1, 2)  # how many, and which
    assert document["results"][0]["result"]["labels"] == ["cat", "dog", "grass"]
    assert document["failures"][0]["image"] == "broken.png"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ([], "-t"),
        (["--label", " "], "blank"),
        (["--label", "x", "--top", "0"], "1 or more"),
        (["--label", "x", "--at-least", "2"], "0.8"),
        (["--label", "x", "--at-least", "nan"], "0.8"),
        (["--label", "x", "--out", "a.npz"], ".json"),
        (["--label", "x", "--resolution", "big"], "336x448"),
        (["--label", "x", "--templates", "IN81"], "IN80"),
    ],
)
def test_asked_wrongly_is_one_sentence_and_exit_code_2(asked, lens, run, words, hint):
    code, out, err = run("tag", "dog.jpg", *words)
    assert (code, out) == (2, "")
    assert hint in err
    assert len(err.splitlines()) == 1
    assert (asked, lens.loaded) == ([], [])
