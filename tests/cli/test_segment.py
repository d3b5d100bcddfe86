"""`clipsight segment`, against a made-up segmentation: words in, files, lines and exit codes out."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import clipsight
from clipsight.cli import progress
from clipsight.language.vocabularies import vocabulary
from clipsight.pictures import read_picture
from clipsight.results import Provenance, Segmentation
from clipsight.tasks import Background

BUNDLED = Path(clipsight.__file__).parent / "assets/clipsight-tiny/open_clip_model.safetensors"
ASK = ("segment", "dog.jpg", "--name", "cat", "--name", "dog", "--name", "grass")


@pytest.fixture
def asked(lens, monkeypatch):
    """What the lens was asked; it answers that the left half is cat, the right half dog, its corner nothing."""
    calls = []

    def segment(picture, names, **arguments):
        calls.append({"image": picture, "names": names, **arguments})
        pixels = read_picture(picture)
        labels = torch.zeros((pixels.height, pixels.width), dtype=torch.int32)
        labels[:, 16:] = len(names) > 1
        labels[:6, 24:] = -1
        areas = torch.stack([(labels == k).float().mean() for k in range(len(names))])
        arguments["progress"](1, 2)
        arguments["progress"](2, 2)
        return Segmentation(
            image=np.asarray(pixels),
            classes=names.classes,
            words=names.words,
            background=names.background,
            labels=labels,
            probability=torch.full(labels.shape, 0.75),
            scores=torch.where(areas > 0, 0.75, 0.0),
            areas=areas,
            source=picture,
            provenance=Provenance(
                model="fake",
                pretrained=None,
                fingerprint="0000",
                method="sc_clip",
                settings={},
                templates=(),
                contrast="none",
                contrast_texts=(),
                grid=(3, 4),
                size=(24, 32),
                versions={"clipsight": "0"},
                notes=("The fake lens looked.",),
            ),
        )

    monkeypatch.setattr(lens, "segment", segment, raising=False)
    return calls


def _labels(file):
    with Image.open(file) as picture:
        return np.asarray(picture)


def test_writes_a_sheet_and_prints_a_line_for_each_name(asked, run):
    code, out, err = run(*ASK)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "dog.jpg: cat 50.0%, dog 43.8%, (nothing) 6.2% -> dog.segment.png",
        "  cat: 50.0% of the image, probability 0.75",
        "  dog: 43.8% of the image, probability 0.75",
        "  (nothing): 6.2% of the image",
        "  no pixel: grass",
        "  note: The fake lens looked.",
    ]
    with Image.open("dog.segment.png") as sheet:
        assert sheet.width > 300
        assert "fake" in sheet.info["clipsight"]


def test_defaults_are_those_of_the_python_api(asked, run):
    run("segment", "dog.jpg", "--name", "cat")
    (call,) = asked
    assert call.pop("names").classes == ("cat",)
    assert call.pop("progress") is progress.part_done
    assert call == {
        "image": "dog.jpg",
        "recipe": None,
        "window": "auto",
        "background": None,
        "refine": None,
        "templates": "auto",
        "short_side": None,
        "logit_scale": None,
        "area": None,
        "batch": 8,
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--window", "whole"], {"window": "whole"}),
        (["--window", "224"], {"window": 224}),
        (["--window", "224,112"], {"window": (224, 112)}),
        (["--background", "none"], {"background": Background()}),
        (["--background", "0.2"], {"background": Background(threshold=0.2)}),
        (["--background", "presence"], {"background": Background(presence=0.2)}),
        (["--background-word", "sky", "--background-word", "sea"], {"background": Background(words=("sky", "sea"))}),
        (
            ["--background-word", "sky", "--background", "0.1"],
            {"background": Background(words=("sky",), threshold=0.1)},
        ),
        (["--refine", "pamr"], {"refine": "pamr"}),
        (["--refine", "none", "--method", "auto"], {"refine": "none", "recipe": None}),
        (["--method", "naclip.voc21-b16"], {"recipe": "naclip.voc21-b16"}),
        (["--short-side", "336", "--logit-scale", "40", "--area", "0.01", "--batch", "2"],
         {"short_side": 336, "logit_scale": 40.0, "area": 0.01, "batch": 2}),
        (["--templates", "none"], {"templates": None}),
    ],
)  # fmt: skip
def test_options_become_values_of_the_api(asked, run, words, expected):
    code, _, err = run(*ASK, *words)
    assert (code, err) == (0, "")
    assert {name: asked[0][name] for name in expected} == expected


def test_names_with_synonyms_come_from_options_and_files(asked, run):
    Path("names.txt").write_text("person: man, woman\n\nvehicle = car, bus\n", encoding="utf-8")
    assert run("segment", "dog.jpg", "--name", "cat", "--names-file", "names.txt")[0] == 0
    names = asked[0]["names"]
    assert names.classes == ("cat", "person", "vehicle")
    assert names.words == (("cat",), ("person", "man", "woman"), ("car", "bus"))


@pytest.mark.parametrize(
    ("word", "benchmark", "variant"),
    [("voc21", "VOC21", "S"), ("VOC21:P", "VOC21", "P"), ("cocostuff", "COCO-Stuff", "S"), ("pc60:p", "PC60", "P")],
)  # fmt: skip
def test_vocabularies_by_name(asked, run, word, benchmark, variant):
    assert run("segment", "dog.jpg", "--vocabulary", word)[0] == 0
    assert asked[0]["names"] == vocabulary(benchmark, variant)


def test_two_thousand_names_print_few_lines(asked, run):
    Path("names.txt").write_text("\n".join(f"thing {k}" for k in range(2000)))
    code, out, _ = run("segment", "dog.jpg", "--names-file", "names.txt", "--format", "json")
    assert code == 0
    assert len(asked[0]["names"]) == 2000
    assert "and 1990 more" in out
    assert len(out.splitlines()) < 10


def test_a_name_alone_is_said_to_have_no_rival(asked, run):
    assert "no rival" in run("segment", "dog.jpg", "--name", "cat")[1]
    words = ("--name", "cat", "--name", "dog", "--overwrite")
    assert "no rival" not in run("segment", "dog.jpg", *words)[1]


def test_every_form_is_written(asked, run):
    forms = ("png", "labels", "npz", "json", "geojson")
    words = [word for form in forms for word in ("--format", form)]
    assert run(*ASK, *words, "--out", "new")[0] == 0
    ends = ("geojson", "json", "labels.png", "npz", "png")
    assert sorted(file.name for file in Path("new").iterdir()) == [f"dog.segment.{end}" for end in ends]
    labels = _labels("new/dog.segment.labels.png")
    assert (labels[0, 0], labels[-1, -1], labels[0, -1], labels.shape) == (1, 2, 0, (24, 32))
    assert Segmentation.load("new/dog.segment.npz").classes == ("cat", "dog", "grass")
    assert json.loads(Path("new/dog.segment.json").read_text())["classes"][0]["rle"]["size"] == [24, 32]
    assert len(json.loads(Path("new/dog.segment.geojson").read_text())["features"]) == 2


def test_the_label_map_under_a_name_of_ones_own(asked, run):
    for words in (("--out", "mask.png", "--format", "labels"), ("--out", "mask.labels.png")):
        assert run(*ASK, *words)[0] == 0
        assert _labels(words[1]).shape == (24, 32)
    assert run(*ASK, "--out", "sheet.png")[0] == 0
    with Image.open("sheet.png") as sheet:
        assert sheet.width > 300


def test_existing_files_are_kept_and_other_pictures_go_on(asked, lens, run):
    Path("dog.segment.labels.png").write_text("mine")
    code, out, err = run("segment", "dog.jpg", "broken.png", "cat.png", "--name", "x", "--format", "labels")
    assert (code, Path("dog.segment.labels.png").read_text()) == (1, "mine")
    _, kept, broken = err.splitlines()
    assert "--overwrite" in kept
    assert "broken.png" in broken
    assert "cat.png: x 93.8%, (nothing) 6.2% -> cat.segment.labels.png" in out
    assert run(*ASK, "--format", "labels", "--overwrite")[0] == 0
    assert Path("dog.segment.labels.png").read_bytes().startswith(b"\x89PNG")


def test_json_is_alone_on_standard_output(asked, run):
    code, out, _ = run(*ASK, "--json")
    (result,) = json.loads(out)["results"]
    assert (code, result["saved"], result["result"]["kind"]) == (0, ["dog.segment.png"], "segmentation")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ([], "--vocabulary voc21"),
        (["--name", "cat", "--name", "Cat "], "twice"),
        (["--name", ""], "blank"),
        (["--name", "cat, dog"], "-t cat dog"),
        (["-t", "cat, big dog"], '-t cat "big dog"'),
        (["--name", "person:"], "person: man, woman"),
        (["--vocabulary", "voc22"], "VOC21"),
        (["--vocabulary", "voc21:Q"], "give one of S"),
        (["--vocabulary", "voc21", "--name", "cat"], "leave"),
        (["--vocabulary", "voc21", "--background-word", "sky"], "exclude"),
        (["--name", "x", "--background-word", " "], "blank"),
        (["--name", "x", "--background", "sky"], "--background-word"),
        (["--name", "x", "--background", "1.5"], "0 to 1"),
        (["--name", "x", "--background", "nan"], "0 to 1"),
        (["--name", "x", "--window", "big"], "224,112"),
        (["--name", "x", "--window", "0"], "whole"),
        (["--name", "x", "--refine", "crf"], "pamr"),
        (["--name", "x", "--method", "sc_clp"], "sc_clip"),
        (["--name", "x", "--short-side", "0"], "336"),
        (["--name", "x", "--logit-scale", "0"], "above 0"),
        (["--name", "x", "--area", "2"], "0.01"),
        (["--name", "x", "--batch", "0"], "1 or more"),
        (["--name", "x", "--format", "html"], "geojson"),
        (["--name", "x", "--out", "a.jpg"], ".geojson"),
        (["--name", "x", "--out", "a.png", "--format", "npz"], "differ"),
    ],
)
def test_asked_wrongly_is_one_sentence_and_exit_code_2(asked, lens, run, words, hint):
    code, out, err = run("segment", "dog.jpg", *words)
    assert (code, out) == (2, "")
    assert hint in err
    assert len(err.splitlines()) == 1
    assert (asked, lens.loaded) == ([], [])


def test_markup_in_names_is_printed_not_obeyed(asked, run):
    _, out, _ = run("segment", "dog.jpg", "--name", "[red]\x1b[31mdog[/red]")
    assert "[red]" in out
    assert "\x1b" not in out


def test_a_bar_for_windows_is_drawn_under_that_of_pictures_and_goes_away():
    seen = []
    for _ in progress.with_progress(["a", "b"], 2, str):
        running, parts = progress._RUNNING.get()
        task = next(task for task in running.tasks if task.id == parts)
        seen.append((task.visible, task.completed))
        for done in (1, 3):
            progress.part_done(done, 3)
            seen.append((task.visible, task.completed))
    assert seen == 2 * [(False, 0), (True, 1), (False, 3)]
    progress.part_done(1, 3)  # nobody looks
    assert progress._RUNNING.get() is None


@pytest.mark.skipif(not BUNDLED.exists(), reason="the bundled model is not trained yet")
def test_pictures_of_any_size_have_a_result(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    for name, size in (("dot", (1, 1)), ("small", (5, 3)), ("panorama", (900, 60))):
        Image.effect_noise(size, 60).convert("RGB").save(f"{name}.png")
    words = ("--name", "dog", "--name", "car", "--method", "naclip", "--model", "clipsight-tiny")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code, out, err = run("segment", "*.png", *words, "--format", "npz")
    assert (code, err) == (0, "")
    for name, shape in (("dot", (1, 1)), ("small", (3, 5)), ("panorama", (60, 900))):
        labels = Segmentation.load(f"{name}.segment.npz").labels
        assert labels.shape == shape
        assert int(labels.min()) >= 0
        assert f"{name}.png: " in out
