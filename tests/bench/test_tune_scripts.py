"""The fine-tuning experiment's scripts: what is measured of a model, and the arithmetic of the report."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import clipsight
from clipsight.bench.emoji import foil_accuracy
from clipsight.bench.word_gap import SETUPS
from clipsight.world import make_scenes

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module


@pytest.fixture(scope="module")
def lens():
    return clipsight.load("clipsight-tiny", device="cpu")


def rows(path, arms, **changes):
    """A file of made-up rows: four seeds of each arm, whose figures differ by known steps."""
    noise = (-0.003, -0.001, 0.001, 0.003)
    lines = []
    for arm, variant in arms.items():
        moved = {**NOTHING, **changes.get(arm.replace("-", "_"), {})}
        for seed, step in enumerate(noise):
            figures = {f"foil.{kind}": 0.6 + step for kind in ("replace_rel", "replace_att", "swap_obj")}
            figures |= {"noun_top1": 0.9 + step + moved["noun"], "delta_foil.relation": 0.1 + step}
            figures["foil.replace_rel"] += moved["relation"]
            figures["foil.replace_att"] += moved["attribute"]
            for name, (method, _) in SETUPS.items():
                factor = moved["own"] if method == moved["trains"] else moved["other"]
                figures[f"gamma.{name}.composition"] = 2.0 * factor * (1 + step)
            row = {"arm": arm, "seed": seed, "settings": {"variant": variant} if variant else {}}
            row |= {"device": "cpu", "train_seconds": 100.0 + seed, "figures": figures, "versions": {}}
            lines.append(json.dumps(row))
    path.write_text("\n".join(lines) + "\n")
    return path


NOTHING = {"noun": 0.0, "relation": 0.0, "attribute": 0.0, "own": 1.0, "other": 1.0, "trains": None}
GOOD = {"relation": 0.05, "attribute": 0.02, "own": 0.5, "other": 0.7, "trains": "attention", "noun": -0.005}
OWN_ALONE = {"own": 0.5, "other": 0.95, "trains": "gradcam", "noun": -0.02}
ARMS = {"ft": None, "cae-ab": None, "cae-gcb": None, "control": "pb"}


@pytest.fixture
def made(load, tmp_path):
    read = load("tune_rows").read
    return read(rows(tmp_path / "rows.jsonl", ARMS, cae_ab=GOOD, cae_gcb=OWN_ALONE))


def test_differences_and_intervals_are_those_of_welch_by_hand(load):
    found = load("tune_rows").welch(np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0, 4.0, 6.0]))
    parts = np.array([1.0 / 3, (20 / 3) / 4])
    freedom = parts.sum() ** 2 / (parts**2 / np.array([2, 3])).sum()
    from scipy import stats

    half = stats.t.ppf(0.975, freedom) * parts.sum() ** 0.5
    assert found == pytest.approx((-1.0, -1.0 - half, -1.0 + half))


def test_one_run_has_no_interval_and_none_no_difference(load):
    welch = load("tune_rows").welch
    assert welch(np.array([1.0]), np.array([3.0, 4.0]))[0] == -2.5
    assert np.isnan(welch(np.array([1.0]), np.array([3.0, 4.0]))[1:]).all()
    assert np.isnan(welch(np.array([]), np.array([3.0]))).all()


def test_gammas_are_compared_as_ratios(load, made):
    change = load("tune_rows").against(made, "cae-ab", "gamma.chefer.composition")
    assert change.value == pytest.approx(-0.3)
    assert change.low < -0.3 < change.high < -0.29


def test_setups_of_the_trained_attribution_are_trained_on(load, made):
    trained_on = load("tune_rows").trained_on
    assert trained_on(made, "cae-ab") == {"attention", "attention.all", "attention.rollout"}
    assert trained_on(made, "control") == {"perturbation", "perturbation.drop"}
    assert not trained_on(made, "ft")


def test_the_verdict_follows_the_rows(load, made):
    found = {}
    for claim in load("tune_report").verdict(made):
        found.setdefault(claim.arm, []).append(claim)
    assert [claim.met for claim in found["cae-ab"]] == [True, True, True, True]
    assert found["cae-ab"][0].figure.startswith("9 of 9; median −30 %")
    assert found["cae-ab"][1].figure.startswith("+5.0 (")
    # Halving γ under its own attribution counts for nothing.
    assert [claim.met for claim in found["cae-gcb"]] == [False, False, False, False]
    assert found["cae-gcb"][3].figure.startswith("−2.0 (")
    assert [claim.met for claim in found["control"]] == [True]
    assert {claim.met for claim in found["hn-cae"]} == {None}


def test_a_control_that_does_something_fails(load, tmp_path):
    path = rows(tmp_path / "rows.jsonl", ARMS, control={"relation": 0.05})
    (claim,) = (
        one for one in load("tune_report").verdict(load("tune_rows").read(path)) if one.arm == "control"
    )
    assert claim.met is False


def test_tables_hold_means_spreads_and_what_is_missing(load, made):
    tables = load("tune_report").tables(made, None)
    lines = dict(line.strip("| ").split(" | ", 1) for line in tables["foils"].splitlines()[2:])
    assert lines["FT"].startswith("4 | 60.0 ± 0.3 | ")
    assert lines["CAE-AB"].startswith("4 | 65.0 ± 0.3<br>+5.0 (+4.6 to +5.4) | ")
    assert lines["CAE-PB"].startswith("missing | – | ")
    assert "| FT | cpu | 4 | 102 ± 1 |" in tables["besides"]
    assert tables["wise"] == "*The sweep is missing.*"
    gamma = next(line for line in tables["gamma"].splitlines() if line.startswith("| `attention` "))
    assert "**1.00 ± 0.00<br>−50 %**" in gamma
    assert "2.00 ± 0.01<br>(+0 %)" in gamma


def test_a_run_written_twice_counts_once_and_a_torn_line_is_named(load, tmp_path):
    read = load("tune_rows").read
    path = rows(tmp_path / "rows.jsonl", {"ft": None})
    path.write_text(path.read_text() + path.read_text().splitlines()[0] + "\n")
    assert len(read(path)) == 4
    path.write_text(path.read_text() + '{"arm": "ft", "se')
    with pytest.raises(ValueError, match=r"rows\.jsonl:6 is no row"):
        read(path)


def test_pages_keep_their_prose_and_plots_are_drawn(load, made, tmp_path):
    fill = load("tune_report").fill
    page = "Before.\n<!-- tune foils -->old<!-- /tune -->\nAfter."
    filled = fill(page, {"foils": "NEW"})
    assert filled == fill(filled, {"foils": "NEW"})
    assert [part in filled for part in ("Before.", "NEW", "After.", "old")] == [True, True, True, False]
    with pytest.raises(ValueError, match="asks for the table 'foils'"):
        fill(page, {"gamma": ""})
    wise = {
        "rows": [{"alpha": a, "foil.replace_rel": 0.5 + a / 10, "noun_top1": 0.9} for a in (0, 0.5, 1)],
        "chosen": 0.5,
    }
    drawn = load("tune_figures").draw(made, wise, tmp_path)
    assert [path.name for path in drawn] == [
        f"tune_{name}.png" for name in ("foils", "gamma", "pareto", "wise")
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)
    assert "| 0.5 (chosen) | 55.0 | 90.0 |" in load("tune_report").tables(made, wise)["wise"]


def test_one_command_makes_page_and_plots_of_the_first_row_already(load, tmp_path, monkeypatch, capsys):
    path, page = rows(tmp_path / "rows.jsonl", {"zero": None}), tmp_path / "page.md"
    given = ["--rows", path, "--wise", tmp_path / "none.json", "--assets", tmp_path, "--page", page]
    monkeypatch.setattr(sys, "argv", ["tune_report.py", *map(str, given)])
    load("tune_report").main()
    text = page.read_text(encoding="utf-8")
    assert text.count("<!-- /tune -->") == 6
    assert "| FT | missing |" in text
    assert "cannot be said" in text
    assert "| before tuning | 4 | 60.0 ± 0.3 |" in text
    assert (tmp_path / "tune_foils.png").exists()
    assert "tune_wise" not in capsys.readouterr().out


def test_figures_have_their_names_and_are_those_of_the_bench(load, lens, tmp_path):
    measures = load("tune_measures")
    found = measures.measure(lens, seeds=(7,), count=16, folder=tmp_path)
    told = foil_accuracy(lens, list(make_scenes(16, 7, "heldout")))
    assert {name[5:]: value for name, value in found.items() if name.startswith("foil.")} == pytest.approx(
        told
    )
    assert {
        f"gamma.{name}.{other}" for name in SETUPS for other in ("composition", "attribute")
    } <= found.keys()
    assert {
        "noun_top1",
        "retrieval.i2t@5",
        "map.pixel_auroc",
        "map.pointing",
        "delta_foil.object",
    } <= found.keys()
    json.dumps(found, allow_nan=False)
    # A second time scenes come from the folder; a live module gets the bundled model's templates.
    kept = sorted(path.stat().st_mtime_ns for path in tmp_path.iterdir())
    live = measures.measure(clipsight.load(lens.module), seeds=(7,), count=16, folder=tmp_path)
    assert sorted(path.stat().st_mtime_ns for path in tmp_path.iterdir()) == kept
    assert live == pytest.approx(found, abs=1e-6)


def test_a_text_of_several_scenes_is_right_for_each(load, lens):
    (one,) = make_scenes(1, 3, "heldout")
    others = list(make_scenes(4, 4, "heldout"))
    found = load("tune_measures").told_apart(lens, [one, one, *others])
    # The same scene twice: no picture can be told from the other, and none need be.
    assert found["retrieval.t2i@1"] == pytest.approx(
        load("tune_measures").told_apart(lens, [one, *others])["retrieval.t2i@1"]
    )
    assert all(found[f"retrieval.{side}@1"] <= found[f"retrieval.{side}@5"] for side in ("i2t", "t2i"))
