"""`clipsight interact` with the bundled model: captions in both places, files, lines, refusals."""

import json

import pytest

from clipsight.cli import main
from clipsight.results import Interaction
from clipsight.world import make_scene

CAPTION = "a red car left of a dog"
TINY = ("--model", "clipsight-tiny", "--device", "cpu")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_scene(3, split="heldout", size=112).image.save("scene.png")
    return tmp_path


@pytest.mark.parametrize("words", [("scene.png", CAPTION), ("scene.png", "--text", CAPTION)])
def test_a_sheet_is_written_and_the_strongest_words_are_said(folder, capsys, words):
    assert main(["interact", *words, *TINY]) == 0
    assert (folder / "scene.interact.png").stat().st_size > 10_000
    first, second, *others = capsys.readouterr().out.splitlines()
    assert first.startswith("scene.png: ")
    assert "scene.interact.png" in first
    assert "words × patches" in second
    assert any("car (object)" in line for line in others)


def test_other_formats_and_json(folder, capsys):
    formats = ["--format", "html", "npz"]
    assert main(["interact", "scene.png", "-t", CAPTION, *formats, "--json", "--span", "red car", *TINY]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["result"]["spans"][0]["text"] == "red car"
    assert result["result"]["error"] < 1e-5
    assert (folder / "scene.interact.html").exists()
    assert Interaction.load("scene.interact.npz").caption == CAPTION


def test_clip_surgery_and_no_roles(folder, capsys):
    assert main(["interact", "scene.png", CAPTION, "--method", "clip_surgery", "--roles", "none", *TINY]) == 0
    assert "words × patches" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("scene.png",), "give an image and its caption"),
        (("scene.png", CAPTION, "--span", "blue"), "--span"),
        (("scene.png", CAPTION, "--method", "exclip"), "method"),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error(folder, capsys, words, said):
    assert main(["interact", *words, *TINY]) == 2
    assert said in capsys.readouterr().err


def test_explain_takes_the_exact_map(folder, capsys):
    assert main(["explain", "scene.png", "-t", "dog", "--method", "exact", "--json", *TINY]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["result"]["provenance"]["method"] == "exact"
    assert main(["explain", "scene.png", "-t", "dog", "--method", "exakt", *TINY]) == 2
