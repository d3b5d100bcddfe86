"""`clipsight demo` and `clipsight explain`, end to end on the bundled model."""

import json
from pathlib import Path

import pytest
from PIL import Image

import clipsight

ASSETS = Path(clipsight.__file__).parent / "assets"
pytestmark = pytest.mark.skipif(
    not (ASSETS / "clipsight-tiny/open_clip_model.safetensors").exists(),
    reason="the bundled model is not trained yet",
)


def test_demo_writes_its_pictures_says_where_and_keeps_them(run, tmp_path):
    out = tmp_path / "demo-out"
    code, printed, err = run("demo", "--out", out)
    assert (code, err) == (0, "")
    assert str(out) in printed
    names = {file.name for file in out.iterdir()}
    assert {"picture.png", "explanation.png", "explanation.html", "explanation.npz"} < names
    explanation = clipsight.Explanation.load(out / "explanation.npz")
    assert sum(name.startswith("word-") for name in names) == len(explanation.texts)
    code, _, err = run("demo", "--out", out)
    assert (code, len(err.splitlines())) == (1, 1)
    assert run("demo", "--out", out, "--overwrite")[0] == 0


def test_demo_asks_for_one_absent_word_and_its_presence_is_the_lowest(run, tmp_path):
    run("demo", "--out", tmp_path)
    presence = clipsight.Explanation.load(tmp_path / "explanation.npz").presence
    assert presence.argmin() == len(presence) - 1


def test_explain_and_classify_on_the_bundled_model(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (150, 90), "green").save("field.png")
    model = ("--model", "clipsight-tiny")
    assert run("explain", "field.png", "--text", "dog", *model)[0] == 0
    with Image.open("field.explain.png") as sheet:
        assert sheet.width > 150
    code, out, _ = run("explain", "field.png", "--text", "dog", *model, "--format", "json", "--json")
    (result,) = json.loads(out)["results"]
    assert code == 0
    assert result["result"]["provenance"]["model"] == "clipsight-tiny"
    assert run("classify", "field.png", "--label", "dog", "--label", "cat", *model)[0] == 0
