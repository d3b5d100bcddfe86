"""`clipsight points`, against the fake's maps: words in, points, masks, files and exit codes out."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clipsight import refine
from clipsight.refine import SamMasks


@pytest.fixture
def sam(monkeypatch):
    """A segmenter that marks the box of the points; remembers what was loaded and asked."""
    calls = []

    def load_sam(model, device="cpu"):
        calls.append(("load", model, device))
        return "network", "processor"

    def sam_masks(image, xy, labels, *, device, loaded):
        calls.append((image.size, xy.tolist(), labels.tolist(), device, loaded))
        masks = torch.zeros(2, image.height, image.width, dtype=torch.bool)
        masks[0, :, 16:] = True
        return SamMasks(masks=masks, scores=torch.tensor([0.9, 0.5]))

    monkeypatch.setattr(refine, "load_sam", load_sam)
    monkeypatch.setattr(refine, "sam_masks", sam_masks)
    return calls


def test_prints_points_and_trust_and_writes_a_sheet(lens, run):
    code, out, err = run("points", "dog.jpg", "--text", "a dog", "--downsample", "1")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "dog.jpg: a dog: 3 points on it, 3 off it -> dog.points.png",
        "  a dog: 3 points on it, 3 off it",
        "    Trust line of a dog.",
        "    x,y,label",
        *("    12,20,1", "    20,20,1", "    28,20,1"),
        *("    4,4,0", "    12,4,0", "    20,4,0"),
        "  note: The fake lens looked.",
    ]
    with Image.open("dog.points.png") as sheet:
        assert sheet.width > 100
        assert json.loads(sheet.info["clipsight"])["kind"] == "points"


def test_the_points_are_those_of_the_python_api(lens, run):
    _, out, _ = run("points", "dog.jpg", "--text", "dog+cat", "--text", "cat", "--threshold", "0.7", "--json")
    first, second = json.loads(out)["results"][0]["result"]["targets"]
    ex = lens.explain("dog.jpg", ["dog", "cat"])
    for target, text in ((first, "dog+cat"), (second, "cat")):
        expected = ex.points(text, threshold=0.7)
        assert (target["text"], target["xy"]) == (text, expected.xy.tolist())
        assert target["labels"] == expected.labels.tolist()
        assert target["mask"] is None
    assert set(first["trust"]) == {"dog", "cat"}
    assert lens.asked[0]["texts"] == ("dog", "cat")


def test_a_plus_that_joins_nothing_belongs_to_the_text(lens, run):
    code, out, _ = run("points", "dog.jpg", "--text", "C++", "--text", "dog + cat")
    assert (code, lens.asked[0]["texts"]) == (0, ("C++", "dog", "cat"))
    assert "    Trust line of C++." in out
    assert "    dog: Trust line of dog." in out


def test_defaults_and_options_are_those_of_the_python_api(lens, run):
    run("points", "dog.jpg", "--text", "x")
    words = (
        "--overwrite",
        "--method",
        "clip",
        "--contrast-name",
        "sky",
        "--resolution",
        "square",
        "--templates",
        "none",
    )
    run("points", "dog.jpg", "--text", "x", *words)
    first, second = lens.asked
    assert first == {
        "image": "dog.jpg",
        "texts": ("x",),
        "method": "clip_surgery",
        "contrast": "auto",
        "resolution": "native",
        "templates": "auto",
    }
    asked = {name: second[name] for name in ("method", "contrast", "resolution", "templates")}
    assert asked == {"method": "clip", "contrast": ["sky"], "resolution": "square", "templates": None}


def test_a_map_without_a_peak_is_said(lens, run, monkeypatch):
    explain = type(lens).explain

    def flat(self, *args, **arguments):
        explanation = explain(self, *args, **arguments)
        explanation.maps.fill_(0.1)
        return explanation

    monkeypatch.setattr(type(lens), "explain", flat)
    code, out, _ = run("points", "dog.jpg", "--text", "a dog")
    assert code == 0
    assert "a dog: no points: the map has no clear peak" in out
    assert "x,y,label" not in out


def test_points_are_written_when_asked_and_kept(lens, run):
    ask = ("points", "dog.jpg", "cat.png", "--text", "a dog", "--format", "json")
    assert run(*ask, "--out", "new")[0] == 0
    assert sorted(file.name for file in Path("new").iterdir()) == ["cat.points.json", "dog.points.json"]
    assert json.loads(Path("new/dog.points.json").read_text())["image_size"] == [24, 32]
    code, _, err = run(*ask, "--out", "new")
    assert (code, len(err.splitlines())) == (1, 3)  # how many, and which
    assert run(*ask, "--out", "new", "--overwrite")[0] == 0


def test_sam_is_loaded_once_and_its_best_mask_written(lens, sam, run):
    ask = ("points", "dog.jpg", "cat.png", "--text", "a/dog", "--text", "a+b", "--sam", "some/sam")
    code, out, _ = run(*ask, "--device", "cpu")
    assert code == 0
    assert sam[0] == ("load", "some/sam", "cpu")
    assert [call[0] for call in sam[1:]] == 4 * [(32, 24)]
    assert "dog.jpg: a/dog: " in out
    assert " -> dog.points.png, dog.points.1-a-dog.png, dog.points.2-a+b.png" in out
    out = run(*ask, "--device", "cpu", "--overwrite", "-v")[1]
    assert "mask of 384 pixels, SAM's own score 0.90" in out
    with Image.open("dog.points.1-a-dog.png") as picture:
        mask = np.asarray(picture)
    assert (mask.shape, mask[0, 0], mask[0, 31]) == ((24, 32), 0, 255)
    code, out, err = run(*ask, "--json")
    assert (code, len(err.splitlines()), len(sam)) == (1, 3, 10)  # kept, and nothing was loaded for them


def test_masks_and_points_with_a_name_of_ones_own(lens, sam, run):
    words = ("--text", "a dog", "--sam", "some/sam", "--out", "mine.json", "--json")
    code, out, _ = run("points", "dog.jpg", *words)
    assert code == 0
    assert json.loads(out)["results"][0]["saved"] == ["mine.json", "mine.1-a-dog.png"]
    mask = json.loads(Path("mine.json").read_text())["targets"][0]["mask"]
    assert mask["score"] == pytest.approx(0.9)
    assert mask["rle"] == {"size": [24, 32], "counts": [384, 384]}


def test_without_transformers_the_install_line_is_said_before_a_model_is_loaded(lens, run, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    code, out, err = run("points", "dog.jpg", "--text", "a dog", "--sam", "some/sam")
    assert (code, out, lens.loaded) == (1, "", [])
    assert "pip install 'clipsight[hf]'" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ([], "-t"),
        (["--text", " "], "blank"),
        (["--text", "x", "--threshold", "0"], "0.8"),
        (["--text", "x", "--threshold", "1.5"], "0.8"),
        (["--text", "x", "--downsample", "0"], "own grid"),
        (["--text", "x", "--method", "clip_sugery"], "clip_surgery"),
        (["--text", "x", "--contrast", "labels", "--contrast-name", "sky"], "exclude"),
        (["--text", "x", "--out", "a.npz"], ".json"),
    ],
)
def test_asked_wrongly_is_one_sentence_and_exit_code_2(lens, run, words, hint):
    code, out, err = run("points", "dog.jpg", *words)
    assert (code, out) == (2, "")
    assert hint in err
    assert len(err.splitlines()) == 1
    assert lens.loaded == []
