"""`clipsight explain`, against a lens without a model: words in, files, lines and exit codes out."""

import json
from pathlib import Path

import pytest

from clipsight.results import Explanation


def options() -> dict[str, object]:
    """What is passed on to `clipsight.load` when nothing was asked."""
    return {"pretrained": None, "device": None, "dtype": None, "quick_gelu": None, "trust_program": False}


def test_writes_beside_the_working_directory_and_prints_a_line_and_the_trust_of_each_text(lens, run):
    code, out, err = run("explain", "dog.jpg", "--text", "a dog", "--text", "a red car")
    assert (code, err) == (0, "")
    assert Path("dog.explain.png").read_bytes().startswith(b"\x89PNG")
    for expected in (
        "dog.jpg: a dog similarity 0.250, a red car similarity 0.250; presence not measured -> dog.explain.png\n",
        "  a dog: presence",
        "Trust line of a red car.",
        "The fake lens looked.",
    ):
        assert expected in out


def test_defaults_are_those_of_the_python_api(lens, run):
    run("explain", "dog.jpg", "--text", "a dog")
    assert lens.loaded == [("ViT-B-16", {**options(), "pretrained": "openai"})]
    assert lens.asked == [
        {
            "image": "dog.jpg",
            "texts": ("a dog",),
            "method": "clip_surgery",
            "contrast": "auto",
            "resolution": "native",
            "templates": "auto",
        }
    ]


def test_a_missing_picture_is_said_before_a_model_is_loaded(lens, run):
    code, _, err = run("explain", "nowhere.jpg", "--text", "a dog")
    assert code == 1
    assert "nowhere.jpg" in err
    assert not lens.loaded


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--contrast", "none"], {"contrast": None}),
        (["--contrast", "labels"], {"contrast": "labels"}),
        (["--contrast-name", "sky", "--contrast-name", "sea"], {"contrast": ["sky", "sea"]}),
        (["--resolution", "square"], {"resolution": "square"}),
        (["--resolution", "448"], {"resolution": 448}),
        (["--resolution", "336x448"], {"resolution": (336, 448)}),
        (["--templates", "IN80"], {"templates": "IN80"}),
        (["--templates", "none"], {"templates": None}),
        (["--templates", "a {}.", "--templates", "the {}."], {"templates": ["a {}.", "the {}."]}),
        (["--method", "clip"], {"method": "clip"}),
    ],
)
def test_options_become_values_of_the_api(lens, run, words, expected):
    code, _, _ = run("explain", "dog.jpg", "--text", "a dog", *words)
    assert code == 0
    assert {name: lens.asked[0][name] for name in expected} == expected


def test_model_options_reach_load_and_openai_is_for_the_default_model_alone(lens, run):
    run(
        "explain",
        "dog.jpg",
        "--text",
        "x",
        "--model",
        "clipsight-tiny",
        "--dtype",
        "bfloat16",
        "--no-quick-gelu",
    )
    assert lens.loaded == [("clipsight-tiny", {**options(), "dtype": "bfloat16", "quick_gelu": False})]


def test_texts_come_from_a_file_too(lens, run):
    Path("texts.txt").write_text("\ufeffein Hund\n\n  eine Katze  \n", encoding="utf-8")
    run("explain", "dog.jpg", "--text", "a dog", "--texts-file", "texts.txt")
    assert lens.asked[0]["texts"] == ("a dog", "ein Hund", "eine Katze")


def test_patterns_are_expanded_also_when_the_shell_did_not_and_a_file_counts_once(lens, run):
    Path("broken.png").unlink()
    code, _, _ = run("explain", "dog.jpg", "*.*g", "--text", "a dog")
    assert code == 0
    assert [asked["image"] for asked in lens.asked] == ["dog.jpg", "cat.png"]


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(lens, run):
    Path("dog.jpg").rename("dog[1].jpg")
    code, _, _ = run("explain", "dog[1].jpg", "--text", "a dog")
    assert (code, Path("dog[1].explain.png").exists()) == (0, True)


def test_a_bad_picture_is_reported_and_the_others_go_on(lens, run):
    code, out, err = run("explain", "broken.png", "missing*.png", "dog.jpg", "--text", "a dog")
    assert code == 1
    count, broken, missing = err.splitlines()
    assert count == "clipsight: 2 of 3 images failed:"
    assert "missing*.png" in missing
    assert "broken.png" in broken
    assert "Traceback" not in err
    assert "dog.jpg: a dog similarity 0.250; presence not measured -> dog.explain.png" in out
    assert not list(Path().glob("broken.explain*"))


def test_existing_files_are_kept_unless_overwrite_and_nothing_is_loaded_for_them(lens, run):
    Path("dog.explain.png").write_text("mine")
    code, _, err = run("explain", "dog.jpg", "--text", "a dog")
    assert (code, lens.loaded, Path("dog.explain.png").read_text()) == (1, [], "mine")
    assert "--overwrite" in err
    assert len(err.splitlines()) == 1
    code, _, _ = run("explain", "dog.jpg", "--text", "a dog", "--overwrite")
    assert code == 0
    assert Path("dog.explain.png").read_bytes().startswith(b"\x89PNG")


def test_out_is_a_folder_or_a_file_name(lens, run):
    assert run("explain", "dog.jpg", "cat.png", "--text", "x", "--out", "new/folder")[0] == 0
    assert sorted(file.name for file in Path("new/folder").iterdir()) == [
        "cat.explain.png",
        "dog.explain.png",
    ]
    assert run("explain", "dog.jpg", "--text", "a dog", "--out", "result.npz")[0] == 0
    assert Explanation.load("result.npz").texts == ("a dog",)


def test_several_formats(lens, run):
    run("explain", "dog.jpg", "--text", "x", "--format", "npz", "--format", "json", "--format", "html")
    assert sorted(file.suffix for file in Path().glob("dog.explain.*")) == [".html", ".json", ".npz"]


def test_json_is_alone_on_standard_output(lens, run):
    code, out, _ = run("explain", "dog.jpg", "broken.png", "--text", "a dog", "--json")
    document = json.loads(out)
    assert code == 1
    (result,) = document["results"]
    assert (result["image"], result["saved"]) == ("dog.jpg", ["dog.explain.png"])
    assert (result["result"]["texts"], result["result"]["presence"]) == (["a dog"], [None])
    assert document["failures"][0]["image"] == "broken.png"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["explain"], "-t"),
        (["explain", "-t", "dog"], "no image"),
        (["explain", "dog.jpg"], "-t"),
        (["explain", "dog.jpg", "-t"], "-t"),
        (["explain", "dog.jpg", "--text", " "], "blank"),
        (["explain", "dog.jpg", "--text", "x", "--resolution", "big"], "336x448"),
        (["explain", "dog.jpg", "--text", "x", "--resolution", "0"], "native"),
        (["explain", "dog.jpg", "--text", "x", "--contrast", "labels", "--contrast-name", "sky"], "exclude"),
        (["explain", "dog.jpg", "--text", "x", "--method", "clip_sugery"], "clip_surgery"),
        (["explain", "dog.jpg", "--text", "x", "--templates", "IN81"], "IN80"),
        (["explain", "dog.jpg", "--text", "x", "--format", "gif"], "png"),
        (["explain", "dog.jpg", "--text", "x", "--out", "map.jpg"], ".png"),
        (["explain", "dog.jpg", "--text", "x", "--out", "map.png", "--format", "npz"], "differ"),
        (["explain", "dog.jpg", "cat.png", "--text", "x", "--out", "map.png"], "folder"),
        (["explain", "dog.jpg", "a/dog.png", "--text", "x"], "separately"),
        (["explain", "dog.jpg", "--text", "x", "--thershold", "1"], "--thershold"),
        (["explain", "dog.jpg", "--text", "x", "--device", "gpu"], "--device cuda"),
        (["explain", "dog.jpg", "--text", "x", "--device", "GPU:1"], "--device cuda:1"),
        (["explain", "empty", "--text", "x"], "no image"),
        (["explian"], "explain"),
    ],
)
def test_asked_wrongly_is_one_sentence_and_exit_code_2(lens, run, words, hint):
    Path("empty").mkdir()
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert hint in err
    assert len(err.splitlines()) == 1
    assert lens.loaded == []


def test_debug_shows_where_an_error_came_from(lens, run):
    from clipsight.errors import PictureError

    with pytest.raises(PictureError):
        run("explain", "broken.png", "--text", "a dog", "--debug")


def test_markup_and_control_characters_in_texts_are_printed_not_obeyed(lens, run):
    _, out, _ = run("explain", "dog.jpg", "--text", "[red]\x1b[31mdog[/red]")
    assert "[red]" in out
    assert "\x1b" not in out
