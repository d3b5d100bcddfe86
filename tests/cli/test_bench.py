"""`clipsight bench world`: rows for people and for programs, exit codes."""

import json
from pathlib import Path

import pytest

import clipsight
from clipsight.bench import world
from clipsight.bench.world import RecipeRow, WorldFigures, recipes

ASSETS = Path(clipsight.__file__).parent / "assets"
QUICK = ("bench", "world", "--recipes", "clip", "clip_surgery", "--seeds", "1", "2", "--count", "2")
bundled = pytest.mark.skipif(
    not (ASSETS / "clipsight-tiny/open_clip_model.safetensors").exists(),
    reason="the bundled model is not trained yet",
)


@pytest.fixture
def asked(lens, monkeypatch):
    """What the comparison was asked, in place of making it."""
    calls = []

    def compare(lens, recipes, **arguments):
        calls.append({"recipes": recipes, **arguments})
        figures = WorldFigures(auroc=0.5, pointing=0.5, miou=0.5, seconds_per_image=0.1, peak_mb=float("nan"))
        return [
            RecipeRow(
                recipe=recipe, seeds=arguments["seeds"], by_seed=dict.fromkeys(arguments["seeds"], figures)
            )
            for recipe in recipes
        ]

    monkeypatch.setattr(world, "compare", compare)
    return calls


@bundled
def test_json_is_a_list_of_rows_and_nothing_else(run):
    code, out, err = run(*QUICK, "--json")
    rows = json.loads(out)
    assert (code, err) == (0, "")
    assert [row["recipe"] for row in rows] == ["clip", "clip_surgery"]
    for row in rows:
        assert {"auroc", "pointing", "miou", "seconds_per_image", "peak_mb", "by_seed"} < set(row)
        assert row["seeds"] == [1, 2]


@bundled
def test_people_get_a_table_best_first(run):
    code, out, err = run(*QUICK)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert "2 of each seed 1 2" in lines[0]
    assert lines[1].split() == ["recipe", "AUROC", "pointing", "mIoU", "ms", "MB"]
    assert [line.split()[0] for line in lines[2:4]] == ["clip_surgery", "clip"]
    assert "raw cosine" in out


@bundled
def test_a_recipe_that_fails_is_said_and_the_exit_code_is_1(run, monkeypatch):
    measure = recipes.measure

    def fails(lens, recipe, *rest):
        if recipe == "clip":
            raise RuntimeError("it broke")
        return measure(lens, recipe, *rest)

    monkeypatch.setattr(recipes, "measure", fails)
    code, out, err = run(*QUICK, "--json")
    failed, fine = json.loads(out)
    assert (code, err) == (1, "clipsight: clip: RuntimeError: it broke\n")
    assert (failed["error"], failed["auroc"]) == ("RuntimeError: it broke", None)
    assert fine["auroc"] > 0
    code, out, _ = run(*QUICK)
    assert code == 1
    assert "clip_surgery" in out
    with pytest.raises(RuntimeError, match="it broke"):
        run(*QUICK, "--debug")


def test_defaults_are_those_of_the_python_api(asked, lens, run):
    assert run("bench", "world", "--device", "cpu")[0] == 0
    ((model, arguments),) = lens.loaded
    assert (model, arguments["device"], arguments["pretrained"]) == ("clipsight-tiny", "cpu", None)
    (call,) = asked
    assert call["recipes"] == clipsight.recipes()
    assert (call["seeds"], call["count"], call["contrast"]) == (world.SEEDS, world.COUNT, "labels")


def test_each_recipe_and_seed_is_measured_once(asked, run):
    run("bench", "world", "--recipes", "clip", "--recipes", "clip", "--seeds", "3", "3", "--contrast", "none")
    assert (asked[0]["recipes"], asked[0]["seeds"], asked[0]["contrast"]) == (("clip",), (3,), "none")
    run("bench", "world", "--recipes", "clip", "all")
    assert asked[1]["recipes"] == clipsight.recipes()


def test_the_rows_are_written_and_an_existing_file_is_kept(asked, lens, run):
    words = ("bench", "world", "--recipes", "clip", "--out", "figures/rows.json")
    code, out, _ = run(*words, "--json")
    file = Path("figures/rows.json")
    assert (code, json.loads(out)) == (0, json.loads(file.read_text()))
    assert json.loads(out)[0]["peak_mb"] is None
    code, _, err = run(*words)
    assert (code, len(err.splitlines()), len(asked), len(lens.loaded)) == (1, 1, 1, 1)
    code, out, _ = run(*words, "--overwrite")
    assert code == 0
    assert str(file.resolve()) in out.replace("\n", "")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["world", "--recipes", "clip_sugery"], "did you mean 'clip_surgery'"),
        (["world", "--recipes", "clip", "nothing_like_it"], "The recipes are clip"),
        (["world", "--count", "0"], "1 or more"),
        (["world", "--seeds", "-1"], "0 or above"),
        (["world", "--seeds", "one"], "--seeds"),
        (["world", "--contrast", "all"], "labels"),
        (["world", "--out", "rows.csv"], ".json"),
        (["world", "--rows", "rows.csv"], ".jsonl"),
        (["world", "--part", "1/2"], "--rows FILE"),
        (["world", "--part", "3/2", "--rows", "rows.jsonl"], "not a part"),
        (["emoji"], "world"),
    ],
)
def test_asked_wrongly_is_one_sentence_and_exit_code_2(asked, lens, run, words, hint):
    code, out, err = run("bench", *words)
    assert (code, out) == (2, "")
    assert hint in err
    assert len(err.splitlines()) == 1
    assert (asked, lens.loaded) == ([], [])


@bundled
def test_parts_make_the_table_of_the_whole(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quick = (*QUICK, "--rows", "rows.jsonl")
    for part in ("1/2", "2/2"):
        code, out, _ = run(*quick, "--part", part)
        assert code == 0
        assert f"Part {part} is measured" in out
    files = sorted(file.name for file in Path().glob("rows*.jsonl"))
    assert files == ["rows.1of2.jsonl", "rows.2of2.jsonl"]
    code, out, _ = run(*quick, "--json")
    assert code == 0
    assert [len(row["by_seed"]) for row in json.loads(out)] == [2, 2]
    assert not Path("rows.jsonl").exists(), "nothing was left to measure"
    code, _, err = run("bench", "world", "--recipes", "clip", "--seeds", "3", "--count", "2", *quick[-2:])
    assert code != 0
    assert "rows of another run" in err
