"""`clipsight tune`: runs that are told on one line, documents for programs, what is refused and how."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import clipsight
from clipsight.cli.tune_report import row_line
from tune.small_run import small_folder

QUICK = (
    "--data", "world:7:12", "--steps", "4", "--batch", "8", "--lr", "1e-3", "--warmup", "1", "--calibrate", "1",
    "--log-every", "2", "--device", "cpu",
)  # fmt: skip
BUNDLED = Path(clipsight.__file__).parent / "assets" / "clipsight-tiny"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def base(tmp_path) -> str:
    """A small model's name."""
    return small_folder(tmp_path / "base")


def test_tune_alone_lists_what_it_does(run):
    code, out, _ = run("tune")
    assert code == 0
    assert all(name in out for name in ("cae", "contrastive", "wise", "soup"))


def test_options_are_listed_by_what_they_are_about(run):
    code, out, _ = run("tune", "cae", "--help")
    assert code == 0
    heads = [line.split("─")[1].strip() for line in out.splitlines() if line.startswith("╭─ ")]
    assert heads == ["Parameters", "Loss", "Model", "Data", "Output", "Training", "Additional losses"]
    listed = out[out.index("╭─ ") :]
    assert listed.index("--variant") < listed.index("--data") < listed.index("--epochs")


def test_people_get_the_last_row_the_weights_and_the_model(run, base):
    code, out, err = run("tune", "cae", "--model", base, "--variant", "pb", *QUICK, "--out", "runs/pb")
    assert (code, err) == (0, "")
    row, weights, model = out.splitlines()
    assert row.startswith("step 4 · loss ")
    assert " · cae_pb " in row
    assert weights.startswith("Loss weights: contrastive 1, cae_pb 0.")
    assert model == "Model: local-dir:runs/pb/model (its README.md says how to load it)"
    lens = clipsight.load("local-dir:runs/pb/model", device="cpu")
    assert lens.loaded.fingerprint != clipsight.load(base, device="cpu").loaded.fingerprint
    assert Path("runs/pb/data").is_dir()


def test_json_is_one_document_and_the_same_command_again_changes_nothing(run, base):
    words = ("tune", "cae", "--model", base, "--variant", "ab", "gb", *QUICK, "--out", "run", "--json")
    code, out, err = run(*words)
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert document["model"] == str(Path("run/model"))
    assert (document["steps"], document["stopped"], document["skipped"]) == (4, "", 0)
    assert list(document["weights"]) == ["contrastive", "cae_ab", "cae_gb"]
    assert document["last"]["step"] == 4
    assert document["seconds"] > 0
    kept = Path("run/model/open_clip_model.safetensors").read_bytes()
    assert run(*words) == (0, out, "")
    assert Path("run/model/open_clip_model.safetensors").read_bytes() == kept
    code, out, err = run(*words, "--loss", "ratio")
    assert (code, out) == (1, "")
    assert "with other settings" in err
    assert len(err.splitlines()) == 1


def test_a_run_whose_time_is_up_says_how_it_goes_on(run, base):
    words = ("tune", "contrastive", "--model", base, *QUICK, "--out", "run")
    code, out, err = run(*words, "--max-minutes", "1e-9")
    assert (code, err) == (0, "")
    assert "Stopped after 2 steps: 0 seconds are over." in out
    assert "run the same command to continue" in out
    assert "Model:" not in out
    code, out, _ = run(*words)
    assert code == 0
    assert "Model: local-dir:" in out


def test_every_loss_beside_it_can_be_asked_for(run, base):
    code, out, err = run(
        "tune", "contrastive", "--model", base, *QUICK, "--negatives", "own", "--negative-kinds", "given", "swap",
        "--negatives-per-caption", "2", "--negatives-weight", "0.7", "--distill", "0.1", "--teacher", "0.99",
        "--train", "lora", "--lora-rank", "2", "--precision", "fp32", "--out", "run", "--json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert json.loads(out)["weights"] == {"contrastive": 1.0, "own_negatives": 0.7, "distill": 0.1}
    said_there = json.loads(Path("run/model/card.json").read_text())["tuning"]
    assert said_there["objectives"]["own_negatives"]["foils"] == 2
    assert said_there["objectives"]["distill"]["momentum"] == 0.99
    assert (said_there["settings"]["train"], said_there["settings"]["lora_rank"]) == ("lora", 2)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--variant", "ab", "pb", "--weight", "1"), 2, "--weight was given 1 times for 2 variants"),
        (("--variant", "xy"), 2, "xy"),
        (("--variant", "ab", "--layers", "some"), 2, "layers is 'some'; give last, ends, all"),
        (("--variant", "ab", "--batch", "500"), 1, "there are"),
        (("--variant", "ab", "--patience", "2"), 2, "give --validate 500"),
        (("--variant", "ab", "--validate", "4000"), 1, "none is left to train on"),
        (("--variant", "ab", "--data", "world:7"), 1, "world:SEED:COUNT"),
        (("--variant", "ab", "--train", "vision"), 1, "does not depend on anything that is trained"),
        (("--variant", "ab", "--negatives", "own", "--negative-kinds", "odd"), 1, "'odd' is not known"),
        (("--variant", "ab", "--roles", "odd"), 2, "roles is 'odd'"),
        (("--variant", "ab", "--max-minutes", "1", "--max-seconds", "1"), 2, "exclude each other"),
        (("--variant", "ab", "--device", "gpu"), 2, "--device cuda"),
    ],
)
def test_what_is_asked_wrongly_is_said_in_a_sentence(run, base, words, code, sentence):
    given = [
        word for pair in zip(QUICK[::2], QUICK[1::2], strict=True) if pair[0] not in words for word in pair
    ]
    found, out, err = run("tune", "cae", "--model", base, *given, "--out", "run", *words)
    assert (found, out) == (code, "")
    assert sentence in err
    assert len(err.splitlines()) == 1
    assert not Path("run/model").exists()


def test_what_is_not_installed_is_said_before_the_data_are_opened(run, base, monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    code, out, err = run("tune", "cae", "--model", base, "--variant", "ab", *QUICK, "--out", "run")
    assert (code, out) == (1, "")
    assert err == 'clipsight: tuning needs accelerate: pip install "clipsight[tune]".\n'
    assert not Path("run").exists()


@pytest.mark.skipif(not BUNDLED.exists(), reason="the bundled model is not trained yet")
def test_the_bundled_model_is_tuned_when_no_other_is_named(run):
    words = (
        "--data",
        "world:7:4",
        "--steps",
        "1",
        "--batch",
        "4",
        "--calibrate",
        "1",
        "--train",
        "layernorm",
    )
    code, _, err = run("tune", "cae", "--variant", "gcb", *words, "--device", "cpu", "--out", "run")
    assert (code, err) == (0, "")
    assert "- Base model: clipsight-tiny, fingerprint" in Path("run/model/README.md").read_text()


def test_wise_and_soup_give_models_between_models(run, base, tmp_path):
    other = small_folder(tmp_path / "other", seed=1)
    wise = ("tune", "wise", base, other, "--data", "world:8:3", "--device", "cpu", "--alphas", "0.5", "1")
    code, out, err = run(*wise, "--out", "wise")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert any(line.split()[1:3] == ["α", "┃"] for line in lines if line.startswith("┃"))
    assert sum("←" in line for line in lines) == 1
    assert lines[-1] == "Model: local-dir:wise"
    clipsight.load("local-dir:wise", device="cpu")
    code, out, err = run(*wise, "--out", "wise")
    assert (code, out) == (1, "")
    assert "--overwrite" in err
    code, out, _ = run(*wise, "--out", "wise", "--overwrite", "--json")
    document = json.loads(out)
    assert code == 0
    assert [row["alpha"] for row in document["rows"]] == [0.0, 0.5, 1.0]
    assert set(document["rows"][0]) == {"alpha", "foils", "t2i", "i2t"}
    assert document["model"] == "wise"
    assert document["chosen"] in (0.0, 0.5, 1.0)

    code, out, err = run("tune", "soup", base, "other", "wise", "--out", "soup")
    assert (code, err, out) == (0, "", "Model: local-dir:soup\n")
    code, out, _ = run("tune", "soup", base, other, "--out", "soup", "--overwrite", "--json")
    assert json.loads(out) == {"model": "soup", "of": [base, other]}
    lens = clipsight.load("local-dir:soup", device="cpu")
    parts = [clipsight.load(name, device="cpu").loaded.module.state_dict() for name in (base, other)]
    made = lens.loaded.module.state_dict()
    for name, value in made.items():
        assert (value - (parts[0][name] + parts[1][name]) / 2).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ({"step": 3, "eval.t2i": 0.5, "eval.i2t": 0.25}, "step 3 · t2i 0.50 · i2t 0.25"),
        (
            {
                "step": 40, "contrastive": 2.0, "contrastive.batch_top1": 0.25, "cae_pb": 0.5, "cae_pb.log_gamma": 0.0,
                "cae_pb.s_object": 0.1, "cae_pb.valid": 0.75, "cae_pb.gradient_ratio": 0.3, "loss": 2.6,
                "logit_scale": 14.0, "lr": 1e-4, "skipped": 0, "seconds_per_step": 1.25, "eval.t2i": 0.5,
            },
            "step 40 · loss 2.600 · t2i 0.50 · contrastive 2.000 (top-1 0.25) · "
            "cae_pb 0.500 (γ 1.00, count 0.75, gradient 0.30) · 1.25 s/step",
        ),
    ],
)  # fmt: skip
def test_a_row_is_told_on_one_line(row: dict[str, Any], line: str):
    assert row_line(row) == line


def test_every_setting_of_the_api_has_a_flag():
    """The options are the API's own dataclasses: a setting added there appears here."""
    from dataclasses import fields

    from cli.test_surface import _arguments
    from clipsight.tune import CaeOptions, DataOptions, LossOptions, Matching, TuneSettings

    found = {argument.field_info.name for argument in _arguments("tune cae")}
    for options in (CaeOptions, DataOptions, LossOptions, Matching, TuneSettings):
        assert {field.name for field in fields(options)} <= found, options.__name__
    assert "--no-train-scale" in {flag for argument in _arguments("tune cae") for flag in argument.names}
