"""`clipsight anomaly`, against a made-up anomaly: words in, files, lines and exit codes out."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from clipsight.pictures import read_picture
from clipsight.results import Anomaly, Provenance
from clipsight.tasks.adapt import Adaptation

ASK = ("anomaly", "dog.jpg", "--name", "bottle")


@pytest.fixture
def asked(lens, monkeypatch):
    """What the lens was asked; the lower right corner is damaged."""
    calls = []

    def anomaly(picture, name, **arguments):
        calls.append({"image": picture, "name": name, **arguments})
        return Anomaly(
            image=np.asarray(read_picture(picture)),
            name=name,
            map=torch.linspace(0.4, 0.6, 24 * 32).reshape(24, 32),
            score=0.52,
            view_scores=torch.tensor([0.52]),
            views=("as it is",),
            temperature=arguments["temperature"],
            normal=("intact {}",),
            abnormal=("broken {}",),
            source=picture,
            provenance=Provenance(
                model="fake",
                pretrained=None,
                fingerprint="0000",
                method="anoclip",
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

    monkeypatch.setattr(lens, "anomaly", anomaly, raising=False)
    return calls


def test_writes_the_map_and_prints_score_place_and_trust(asked, run):
    code, out, err = run(*ASK)
    assert (code, err) == (0, "")
    line, trust, note = out.splitlines()
    said = "bottle: abnormal 0.52 (ranks only), highest 0.600 at x 31, y 23"
    assert line == f"dog.jpg: {said} -> dog.anomaly.png"
    assert "no probabilities" in trust
    assert note == "  note: The fake lens looked."
    assert Path("dog.anomaly.png").read_bytes().startswith(b"\x89PNG")


def test_defaults_are_those_of_the_python_api(asked, run):
    run(*ASK)
    assert asked == [
        {
            "image": "dog.jpg",
            "name": "bottle",
            "recipe": "anoclip",
            "domain": "auto",
            "normal": None,
            "abnormal": None,
            "views": "one",
            "temperature": None,
            "adaptation": None,
            "tiles": False,
            "resolution": "native",
        }
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--domain", "textures"], {"domain": "textures"}),
        (["--domain", "X-ray image"], {"domain": ["X-ray image"]}),
        (["--domain", "photo", "--domain", "scan"], {"domain": ["photo", "scan"]}),
        (["--normal", "intact {}", "--normal", "new {}"], {"normal": ("intact {}", "new {}"), "abnormal": None}),
        (["--abnormal", "{} with a hole"], {"abnormal": ("{} with a hole",)}),
        (["--views", "all", "--tiles"], {"views": "all", "tiles": True}),
        (["--adapt", "5"], {"adaptation": Adaptation(steps=5)}),
        (["--temperature", "0.01"], {"temperature": 0.01}),
        (["--method", "naclip", "--resolution", "448"], {"recipe": "naclip", "resolution": 448}),
    ],
)  # fmt: skip
def test_options_become_values_of_the_api(asked, run, words, expected):
    code, _, err = run(*ASK, *words)
    assert (code, err) == (0, "")
    assert {name: asked[0][name] for name in expected} == expected


def test_forms_folders_and_files_that_exist(asked, run):
    words = ("--format", "npz", "--format", "json", "--out", "new")
    assert run("anomaly", "*.jpg", "cat.png", "--name", "bottle", *words)[0] == 0
    ends = ("cat.anomaly.json", "cat.anomaly.npz", "dog.anomaly.json", "dog.anomaly.npz")
    assert sorted(file.name for file in Path("new").iterdir()) == list(ends)
    assert Anomaly.load("new/dog.anomaly.npz").score == pytest.approx(0.52)
    code, _, err = run(*ASK, "--format", "npz", "--out", "new")
    assert (code, len(err.splitlines()), len(asked)) == (1, 1, 2)
    assert run(*ASK, "--format", "npz", "--out", "new", "--overwrite")[0] == 0


def test_json_and_a_bad_picture_among_good_ones(asked, run):
    code, out, err = run("anomaly", "broken.png", "dog.jpg", "--name", "bottle", "--json")
    document = json.loads(out)
    assert (code, len(err.splitlines())) == (1, 2)  # how many, and which
    assert document["results"][0]["result"]["rank_only"] is True
    assert document["failures"][0]["image"] == "broken.png"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ([], "-t bottle"),
        (["--name", " "], "blank"),
        (["-t", "metal", "nut"], '-t "metal nut"'),
        (["--name", "x", "--normal", "intact"], "{}"),
        (["--name", "x", "--normal", "a {}", "--abnormal", "a {}"], "both poles"),
        (["--name", "x", "--domain", ""], "kind of image"),
        (["--name", "x", "--domain", "objects", "--domain", "photo"], "cannot be combined"),
        (["--name", "x", "--views", "two"], "all"),
        (["--name", "x", "--adapt", "-1"], "0 or more"),
        (["--name", "x", "--temperature", "0"], "above 0"),
        (["--name", "x", "--method", "anoclp"], "anoclip"),
        (["--name", "x", "--format", "html"], "png"),
        (["--name", "x", "--out", "a.html"], ".npz"),
    ],
)
def test_asked_wrongly_is_one_sentence_and_exit_code_2(asked, lens, run, words, hint):
    code, out, err = run("anomaly", "dog.jpg", *words)
    assert (code, out) == (2, "")
    assert hint in err
    assert len(err.splitlines()) == 1
    assert (asked, lens.loaded) == ([], [])
