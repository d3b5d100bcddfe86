"""`clipsight words`, against made-up attributions: words in, lines, files and exit codes out."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from clipsight.pictures import read_picture
from clipsight.results import Provenance
from clipsight.results.words import WordAttribution, WordScore

CAPTION = "a red car, of a dog"
ASK = ("words", "dog.jpg", "--text", CAPTION)


@pytest.fixture
def asked(lens, monkeypatch):
    """What the lens was asked; "red" raises and "dog" lowers the match."""
    calls = []

    def words(picture, caption, method, against, spans, roles, **arguments):
        calls.append(
            {
                "image": picture, "caption": caption, "method": method, "against": against, "spans": spans,
                "roles": roles, **arguments,
            }
        )  # fmt: skip
        pixels = read_picture(picture)
        named = {"red": (0.05, "attribute"), "dog": (-0.02, "object"), "of": (0.01, "relation")}
        return WordAttribution(
            image=np.asarray(pixels),
            caption=caption,
            tokens=("<start>", "red", "<end>"),
            places=(None, (2, 5), None),
            kinds=("start", "text", "end"),
            token_scores=torch.tensor([0.4, 0.05, 0.1]),
            words=tuple(
                WordScore(
                    text=text,
                    start=caption.index(text),
                    end=caption.index(text) + len(text),
                    score=score,
                    role=role,
                )
                for text, (score, role) in sorted(named.items(), key=lambda item: caption.find(item[0]))
                if text in caption
            ),
            similarity=0.25,
            unit="share of attention",
            roles_by="rules 1",
            trust=("The fake lens looked.",),
            source=picture,
            provenance=Provenance(
                model="fake",
                pretrained=None,
                fingerprint="0000",
                method=method,
                settings={},
                templates=(),
                contrast="none",
                contrast_texts=(),
                grid=(3, 4),
                size=(24, 32),
                versions={"clipsight": "0"},
                notes=("A note of the model.",),
            ),
        )

    monkeypatch.setattr(lens, "words", words, raising=False)
    return calls


def test_prints_the_caption_and_its_words_and_writes_a_sheet(asked, run):
    code, out, err = run(*ASK)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "dog.jpg: red +0.05, dog −0.02, of +0.01 -> dog.words.png"
    assert lines[1] == "Which words carry the match"
    assert lines[3] == "  a ‹red› car, «of» a dog"
    rows = {line.split()[0]: line.split()[1:3] for line in lines[5:8]}
    assert rows == {
        "red": ["attribute", "+0.0500"],
        "of": ["relation", "+0.0100"],
        "dog": ["object", "−0.0200"],
    }
    assert lines[-2:] == ["  The fake lens looked.", "  note: A note of the model."]
    assert Path("dog.words.png").read_bytes().startswith(b"\x89PNG")
    assert "\x1b" not in out


def test_options_become_values_of_the_api(asked, run):
    run(*ASK)
    run(
        *ASK, "--against", "a blue car", "--against", "a cat", "--method", "perturbation", "--option", "op=drop",
        "--option", "samples=3", "--span", "red car", "--span", "2:5", "--roles", "none", "--units", "spans",
        "--merge", "mean", "--check", "--resolution", "448", "--overwrite",
    )  # fmt: skip
    plain = {
        "image": "dog.jpg", "caption": CAPTION, "method": "attention", "against": None, "spans": None, "roles": "rules",
        "units": "words", "merge": "sum", "check": False, "resolution": "native",
    }  # fmt: skip
    assert asked == [
        plain,
        {
            **plain, "method": "perturbation", "against": ["a blue car", "a cat"], "spans": ["red car", (2, 5)],
            "roles": None, "units": "spans", "merge": "mean", "check": True, "resolution": 448, "op": "drop",
            "samples": 3,
        },
    ]  # fmt: skip


def test_options_are_read_as_numbers_lists_and_words(asked, run):
    run(*ASK, "--option", "layers=[0, 2]", "--option", "heads=max", "--option", "rollout=true")
    assert (asked[0]["layers"], asked[0]["heads"], asked[0]["rollout"]) == ([0, 2], "max", True)


def test_digits_that_the_caption_holds_are_words(asked, run):
    run("words", "dog.jpg", "--text", "at 2:5 a dog", "--span", "2:5")
    assert asked[0]["spans"] == ["2:5"]


def test_files_of_every_kind_and_kept(asked, run):
    formats = [word for kind in ("png", "html", "json", "npz") for word in ("--format", kind)]
    assert run(*ASK, "--out", "answers", *formats)[0] == 0
    assert {path.name for path in Path("answers").iterdir()} == {
        f"dog.words.{kind}" for kind in ("png", "html", "json", "npz")
    }
    assert json.loads(Path("answers/dog.words.json").read_text("utf-8"))["caption"] == CAPTION
    code, _, err = run(*ASK, "--out", "answers")
    assert (code, len(err.splitlines()), len(asked)) == (1, 1, 1)


def test_json_and_a_bad_picture_among_good_ones(asked, run):
    code, out, err = run("words", "broken.png", "*.jpg", "--text", CAPTION, "--json")
    document = json.loads(out)
    assert (code, len(err.splitlines())) == (1, 2)  # how many, and which
    assert document["results"][0]["result"]["words"][0]["text"] == "red"
    assert document["failures"][0]["image"] == "broken.png"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--text", " "], "blank"),
        (["-t", "a", "red", "car"], '-t "a red car"'),
        (["--text", CAPTION, "--method", "atention"], "did you mean 'attention'"),
        (["--text", CAPTION, "--option", "op=drop"], "--option"),
        (["--text", CAPTION, "--option", "layers"], "NAME=VALUE"),
        (["--text", CAPTION, "--span", "blue"], "--span"),
        (["--text", CAPTION, "--span", "5:99"], "--span"),
        (["--text", CAPTION, "--roles", "verbs"], "rules"),
        (["--text", CAPTION, "--resolution", "big"], "336x448"),
        (["--text", CAPTION, "--out", "a.txt"], ".png"),
        ([], "-t"),
    ],
)
def test_asked_wrongly_is_one_sentence_and_exit_code_2(asked, lens, run, words, hint):
    code, out, err = run("words", "dog.jpg", *words)
    assert (code, out) == (2, "")
    assert hint in err
    assert len(err.splitlines()) == 1
    assert (asked, lens.loaded) == ([], [])


def test_the_bundled_model_answers(tmp_path, monkeypatch, run):
    """From picture to files, with nothing made up."""
    from clipsight.world import make_scene

    monkeypatch.chdir(tmp_path)
    scene = make_scene(3, objects=2)
    scene.image.save("scene.png")
    code, out, err = run(
        "words", "scene.png", "--text", scene.foils[0].caption, "--against", scene.foils[0].foil, "--check",
        "--method", "perturbation", "--model", "clipsight-tiny", "--device", "cpu", "--json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    result = json.loads(out)["results"][0]["result"]
    assert result["against"] == [scene.foils[0].foil]
    assert set(result["checks"]) == {
        "rank correlation with random towers",
        "agreement with perturbation (drop)",
    }
    assert result["by_role"]["object"]["count"] > 0
