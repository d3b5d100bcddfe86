"""`clipsight bench composition` and `bench audit`: what is asked, what is shown, what is said without data."""

import json
from pathlib import Path

import pytest

import clipsight
from clipsight.cli import bench_composition
from clipsight.cli.bench_models import SeveralModels
from clipsight.cli.outcome import UsageError
from clipsight.cli.progress import progress_bar

BUNDLED = Path(clipsight.__file__).parent / "assets" / "clipsight-tiny"
REALSET = Path(__file__).resolve().parents[2].parent / "shared" / "realset"
bundled = pytest.mark.skipif(not BUNDLED.exists(), reason="the bundled model is not trained yet")
realset = pytest.mark.skipif(
    not REALSET.is_dir(), reason="the photographs are not beside this checkout (../shared/realset)"
)
FEW = ("--seeds", "101", "--count", "6")
PHOTOS = ("--annotations", REALSET, "--images", REALSET / "images")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def composition(run, *words):
    return run("bench", "composition", *words)


def test_bench_alone_lists_what_it_measures(run):
    code, out, _ = run("bench")
    assert code == 0
    assert all(name in out for name in ("world", "tasks", "composition", "audit"))


@bundled
def test_people_get_a_table_with_guards_beside(run):
    code, out, err = composition(run, *FEW)
    assert (code, err) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert list(lines)[1:3] == ["world", "replace_obj"]
    assert lines["world_nouns"].split() == ["world_nouns", "guard"]
    assert lines["replace_rel"].split()[1] == "accuracy"
    assert lines["t2i"].split()[:2] == ["t2i", "R@10"]
    assert "never counts as correct" in out
    assert "`--guards coco_retrieval` prints the files it needs" in out
    assert out.index("mean of 7 kinds") < out.index("world_nouns")


@bundled
def test_json_is_a_row_for_each_split_and_mean_and_nothing_else(run):
    code, out, err = composition(run, *FEW, "--json", "--guards", "none", "--out", "kept/rows.json")
    rows = json.loads(out)
    assert (code, err) == (0, "")
    assert json.loads(Path("kept/rows.json").read_text()) == rows
    assert [row["kind"] for row in rows].count("split") == 7
    for row in rows:
        assert {
            "label",
            "benchmark",
            "protocol",
            "score",
            "error",
            "guard",
            "model",
            "settings",
            "versions",
        } <= set(row)
        assert row["settings"]["world_seeds"] == [101]
        assert row["model"]["activation"] == "quick_gelu"
    code, _, err = composition(run, *FEW, "--guards", "none", "--out", "kept/rows.json")
    assert (code, len(err.splitlines())) == (1, 1)


@bundled
def test_several_models_stand_side_by_side(run):
    words = ("--model", "clipsight-tiny", "clipsight-tiny", "--label", "one", "--label", "two", *FEW)
    code, out, _ = composition(run, *words, "--guards", "world_nouns")
    assert code == 0
    head, *lines = out.splitlines()
    assert head.split() == ["one", "two", "n", "chance", "ties"]
    (mean,) = [line.split() for line in lines if "mean of 7 kinds" in line]
    assert mean[4] == mean[5]
    assert "world_retrieval" not in out


@bundled
@realset
def test_published_scores_stand_beside_with_grade_and_difference(run):
    words = ("--sets", "sugarcrepe", *PHOTOS, "--protocol", "vl_compo", "--guards", "none", "--cache", "c")
    code, out, _ = composition(run, *words, "--compare-to", "NegCLIP")
    assert code == 0
    lines = out.splitlines()
    mean = next(line.split() for line in lines if "mean of 7 subsets" in line)
    ours = float(mean[-1])
    assert any(line.split() == ["NegCLIP", "83.7", "read", "(1)", f"{ours - 83.7:+.1f}"] for line in lines)
    assert "(1) vl_compo (arXiv 2406.09388)" in out
    assert "measured differently from theirs: sugarcrepe mean of 7 subsets (154 of 7,511 items)" in out
    assert "CLIP ViT-B/32" not in out
    assert "has seen emoji alone" in out
    _, out, _ = composition(run, *words, "--compare", "--json")
    row = next(row for row in json.loads(out) if row.get("split") == "swap_obj")
    assert row["published"] == [
        {
            "model": "CLIP ViT-B/32 (OpenAI)", "value": 61.2, "metric": None, "grade": "read",
            "source": row["published"][0]["source"], "ours": row["score"],
            "difference": pytest.approx(row["score"] - 61.2), "apart": "4 of 245 items",
        }
    ]  # fmt: skip
    official = (word for word in words if word not in ("--protocol", "vl_compo"))
    _, out, _ = composition(run, *official, "--compare")
    assert "No scores are published for these figures with this protocol." in out


@bundled
def test_what_is_absent_is_drawn_and_the_rest_is_measured(run):
    Path("annotations").mkdir()
    code, out, err = composition(
        run, "--sets", "valse,world", *FEW, "--annotations", "annotations", "--guards", "zero_shot"
    )
    assert code == 1
    assert "mean of 7 kinds" in out
    assert "VALSE was asked for, and annotations has none of its files" in err
    assert "annotations/\n└── valse/\n    ├── existence.json   534 records" in err
    assert "pictures/\n├── visual7w/" in err
    assert "--zero-shot FOLDER" in err
    code, out, _ = composition(run, "--sets", "valse", "--annotations", "annotations", "--guards", "none")
    assert (code, out) == (1, "")


@bundled
@realset
def test_parts_fill_a_cache_that_the_whole_run_finds(run, monkeypatch):
    words = ("--sets", "sugarcrepe", *PHOTOS, "--limit", "3", "--guards", "none", "--cache", "features")
    for part in ("1/2", "2/2"):
        code, out, _ = composition(run, *words, "--part", part)
        assert code == 0
        assert f"part {part[0]} of 2 of the features is in features" in out
    told_of = []

    def watched(label):
        from contextlib import nullcontext

        return nullcontext(lambda what, done, total: told_of.append(what))

    monkeypatch.setattr(bench_composition, "progress_bar", watched)
    code, whole, _ = composition(run, *words)
    assert code == 0
    assert set(told_of) == {"files"}  # nothing was left to encode
    code, fresh, _ = composition(run, *words[:-2])
    assert fresh == whole
    assert "At most 3 items of each split" in fresh


@bundled
def test_pictures_to_classify_of_ones_own(run):
    from PIL import Image

    for name in ("cat", "dog"):
        Path("pets", name).mkdir(parents=True)
        Image.new("RGB", (32, 32), "white").save(f"pets/{name}/1.png")
    code, out, _ = composition(run, *FEW, "--zero-shot", "pets", "--templates", "a photo of a {}")
    assert code == 0
    line = next(line.split() for line in out.splitlines() if line.strip().startswith("pets"))
    assert line[:2] == ["pets", "top1"]
    assert line[3:5] == ["2", "50.0"]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["composition", "--sets", "sugarcrep"], "did you mean 'sugarcrepe'"),
        (["composition", "--sets", ","], "names no benchmark"),
        (["composition", "--guards", "zero-shot"], "did you mean 'zero_shot'"),
        (["composition", "--annotations", "nowhere"], "nowhere is not a folder"),
        (["composition", "--zero-shot", "nowhere"], "nowhere does not exist"),
        (["composition", "--templates", "IN81"], "neither a set"),
        (["composition", "--part", "0/2", "--cache", "c"], "1/4 for the first"),
        (["composition", "--part", "3/2", "--cache", "c"], "not a part"),
        (["composition", "--part", "1/2"], "--cache FOLDER"),
        (["composition", "--limit", "0"], "give 1 or more"),
        (["composition", "--workers", "-1"], "give 0 or more"),
        (["composition", "--seeds", "-1"], "0 or above"),
        (["composition", "--out", "rows.csv"], ".json"),
        (["composition", "--protocol", "mine"], "vl_compo"),
        (["composition", "--compare-to", "mine"], "the published models are"),
        (["composition", "--model", "clipsight-tiny", "clipsight-tiny"], "--label"),
        (["composition", "--label", "a", "b"], "2 --label for 1 models"),
        (["audit", "--out", "audit.pdf"], ".html"),
        (["audit", "--captions", "-1"], "0 to skip the attribution gap"),
    ],
)
def test_asked_wrongly_is_one_sentence_and_exit_code_2(lens, run, words, hint):
    code, out, err = run("bench", *words)
    assert (code, out) == (2, "")
    assert hint in err
    assert len(err.splitlines()) == 1
    assert lens.loaded == []


def test_models_and_weights_go_together():
    one = SeveralModels(model=("ViT-B-32",), pretrained=("openai", "negclip.pt"), device="cpu").named()
    assert list(one) == ["ViT-B-32 (openai)", "ViT-B-32 (negclip.pt)"]
    assert [(m.model, m.pretrained, m.device) for m in one.values()] == [
        ("ViT-B-32", "openai", "cpu"), ("ViT-B-32", "negclip.pt", "cpu"),
    ]  # fmt: skip
    mixed = SeveralModels(
        model=("clipsight-tiny", "ViT-B-32"), pretrained=("none", "openai"), label=("a", "b")
    )
    assert [(name, m.pretrained) for name, m in mixed.named().items()] == [("a", None), ("b", "openai")]
    with pytest.raises(UsageError, match="3 --model and 2 --pretrained do not match"):
        SeveralModels(model=("a", "b", "c"), pretrained=("x", "y")).named()
    with pytest.raises(UsageError, match="names none"):
        SeveralModels(model=()).named()


def test_a_bar_waits_two_seconds(monkeypatch):
    from rich.progress import Progress

    from clipsight.cli import progress

    started = []
    monkeypatch.setattr(Progress, "start", lambda self: started.append(True))
    with progress_bar("model") as tell:
        tell("pictures", 1, 10)
        assert not started
        monkeypatch.setattr(progress, "PATIENCE", -1.0)
        tell("pictures", 2, 10)
        assert started


@bundled
def test_an_audit_is_a_page_and_its_data(run):
    words = ("audit", *FEW, "--captions", "4", "--out", "made/audit.html")
    code, out, err = run("bench", *words)
    assert (code, err) == (0, "")
    assert "Object words get more attribution" in out
    assert "Written to" in out
    page, data = Path("made/audit.html").read_text(), json.loads(Path("made/audit.json").read_text())
    assert "Composition audit" in page
    assert data["models"][0]["gap"]["captions"] > 0
    code, _, err = run("bench", *words)
    assert (code, len(err.splitlines())) == (1, 1)
    code, out, _ = run("bench", "audit", *FEW, "--captions", "0", "--out", "data.json", "--json")
    assert code == 0
    assert json.loads(out) == json.loads(Path("data.json").read_text())
    assert json.loads(out)["models"][0]["gap"] is None
    assert not Path("data.html").exists()
