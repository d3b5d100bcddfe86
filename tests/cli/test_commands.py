"""The other verbs, and what all of them share."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import clipsight
from clipsight.cli import main
from clipsight.cli.checks import check_allocator, check_hub, check_kernels
from clipsight.errors import ClipsightWarning, HubUnreachable

VERBS = (
    *("explain", "words", "classify", "segment", "tag", "points", "anomaly"),
    *("demo", "world", "tune", "bench", "models", "methods", "doctor"),
)
HEAVY = {"torch", "numpy", "matplotlib", "open_clip", "PIL", "scipy", "sklearn"}


@pytest.mark.parametrize(
    "words", [["--help"], ["tune", "cae", "--help"], ["bench", "audit", "--help"]], ids=" ".join
)
def test_help_names_every_command_and_loads_nothing_heavy(words):
    code = f"import sys; from clipsight.cli import main; main({words}); print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    *page, modules = done.stdout.splitlines()
    if words == ["--help"]:
        for verb in VERBS:
            assert any(verb in line for line in page)
    assert HEAVY.isdisjoint(modules.split())


def test_version(run):
    code, out, _ = run("--version")
    assert (code, out.strip()) == (0, clipsight.__version__)


def test_classify_prints_the_best_and_writes_a_sheet(lens, run):
    words = ("classify", "dog.jpg", "-t", "cat", "dog", "--top", "1")
    code, out, _ = run(*words)
    assert (code, out) == (0, "dog.jpg: dog 100.00% -> dog.classify.png\n")
    lines = run(*words[:-2], "--overwrite")[1].splitlines()
    assert lines == ["dog.jpg: dog 100.00% -> dog.classify.png", "  100.00%  dog", "    0.00%  cat"]
    assert Path("dog.classify.png").read_bytes().startswith(b"\x89PNG")
    assert not list(Path().glob("*.json"))
    assert run(*words, "--out", "answers", "--format", "json")[0] == 0
    assert json.loads(Path("answers/dog.classify.json").read_text())["labels"] == ["cat", "dog"]


def test_classify_as_json(lens, run):
    _, out, _ = run("classify", "dog.jpg", "--label", "cat", "--label", "dog", "--json")
    assert json.loads(out)["results"][0]["result"]["labels"] == ["cat", "dog"]


@pytest.mark.parametrize("words", [["--label", "x", "--top", "0"], ["--label", "x", "--out", "a.npz"], []])
def test_classify_asked_wrongly(lens, run, words):
    code, _, err = run("classify", "dog.jpg", *words)
    assert (code, len(err.splitlines()), lens.loaded) == (2, 1, [])


def test_an_unreachable_hub_is_one_sentence_and_exit_code_1(lens, run, monkeypatch):
    def load(*_: object, **__: object) -> None:
        raise HubUnreachable("the weights could not be had;\nuse --model clipsight-tiny or a path.")

    monkeypatch.setattr(clipsight, "load", load)
    code, out, err = run("explain", "dog.jpg", "--text", "a dog")
    assert (code, out) == (1, "")
    assert err.startswith("clipsight: the weights")
    assert len(err.splitlines()) == 1


def test_an_unforeseen_error_says_how_to_see_more(lens, run, monkeypatch):
    def load(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(clipsight, "load", load)
    code, _, err = run("explain", "dog.jpg", "--text", "a dog")
    assert code == 1
    assert "--debug" in err
    assert "is a bug" in err


def test_our_warnings_are_one_line_and_those_of_libraries_silent(lens, run, monkeypatch):
    def load(model: str, **arguments: object) -> object:
        warnings.warn("the activation was not told", ClipsightWarning, stacklevel=1)
        warnings.warn("something of a library", FutureWarning, stacklevel=1)
        return lens

    monkeypatch.setattr(clipsight, "load", load)
    code, _, err = run("explain", "dog.jpg", "--text", "a dog")
    assert (code, err) == (0, "clipsight: note: the activation was not told\n")


def test_an_interrupted_command_says_so(lens, monkeypatch, capsys):
    def load(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(clipsight, "load", load)
    assert main(["explain", "dog.jpg", "--text", "a dog"]) == 130
    assert capsys.readouterr().err == "clipsight: stopped.\n"


def test_methods_show_source_and_grade(run):
    code, out, _ = run("methods")
    assert code == 0
    for expected in ("clip_surgery", "2304.05653", "the last 6 blocks", "grade"):
        assert expected in out
    listed = json.loads(run("methods", "--json")[1])
    assert [method["id"] for method in listed["methods"]] == list(clipsight.recipes())
    assert [one["id"] for one in listed["attributions"]] == list(clipsight.attributions())
    assert all(one["id"] in out for one in (*listed["attributions"], *listed["image_attributions"]))


def test_models_say_what_a_method_runs_on(run):
    code, out, _ = run("models", "--supports", "clip_surgery")
    assert code == 0
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert {"ViT-B-16", "RN50", "ViT-B-16-SigLIP"} < set(lines)
    assert "convnext_base" not in lines
    assert "convnext_base" in lines["It"]
    assert "none that could be changed" in lines["It"]
    code, out, _ = run("models", "convnext*", "--supports", "naclip", "--json")
    document = json.loads(out)
    assert document["models"] == []
    assert all(row["reason"] for row in document["unsupported"])
    document = json.loads(run("models", "--supports", "clip_surgery", "--json")[1])
    listed, refused = ({row["model"] for row in document[key]} for key in ("models", "unsupported"))
    assert "ViT-B-16" in listed
    assert "convnext_base" in refused
    assert not listed & refused
    assert run("models", "--supports", "no_such_method")[0] == 2


def test_models_are_filtered_by_pattern(run):
    code, out, _ = run("models", "vit-b-16", "--json")
    listed = {model["model"]: model["pretrained"] for model in json.loads(out)["models"]}
    assert code == 0
    assert "openai" in listed["ViT-B-16"]
    assert all("vit-b-16" in name.lower() for name in listed)
    assert "clipsight-tiny" in run("models", "clipsight*")[1]
    listed = {model["model"] for model in json.loads(run("models", "ViT-B*", "--json")[1])["models"]}
    assert "ViT-B-16" in listed
    assert "ViT-bigG-14" not in listed
    assert "ViT-bigG-14" in run("models", "vit-b*")[1]
    code, _, err = run("models", "no-such-model")
    assert (code, len(err.splitlines())) == (1, 1)


@pytest.mark.parametrize("layout", ["tsv", "webdataset", "voc"])
def test_world_writes_and_keeps_a_folder_that_holds_something(run, tmp_path, layout):
    out = tmp_path / layout
    code, printed, _ = run("world", out, "--layout", layout, "--count", "3", "--size", "64")
    assert code == 0
    assert str(out) in printed.replace("\n", "")
    before = sorted(out.rglob("*"))
    assert before
    code, _, err = run("world", out, "--layout", layout, "--count", "1")
    assert (code, len(err.splitlines()), sorted(out.rglob("*"))) == (1, 1, before)
    assert "--overwrite" in err
    code, printed, _ = run("world", "--out", out, "--layout", layout, "--count", "1", "--overwrite", "--json")
    assert (code, json.loads(printed)["count"]) == (0, 1)
    assert 0 < len(sorted(out.rglob("*"))) <= len(before)
    (out / "mine.txt").write_text("mine")
    assert run("world", out, "--count", "1", "--overwrite")[0] == 1
    assert (out / "mine.txt").read_text() == "mine"
    assert sorted(tmp_path.iterdir()) == [out]


def test_doctor_reports_and_connects_nowhere(run):
    code, out, _ = run("doctor", "--json")
    findings = {finding["name"]: finding for finding in json.loads(out)["findings"]}
    assert {
        "clipsight",
        "libraries",
        "devices",
        "kernels",
        "threads",
        "allocator",
        "clipsight-tiny",
        "hub",
    } <= set(findings)
    assert code == (1 if findings["clipsight-tiny"]["verdict"] == "bad" else 0)
    assert "torch" in findings["libraries"]["text"]


def test_doctor_says_which_kernels_compute():
    torch = pytest.importorskip("torch")
    finding = check_kernels({"MKL_CBWR": "COMPATIBLE", "HOME": "/nowhere"})
    assert finding.verdict == "info"
    assert f"ATen {torch.backends.cpu.get_cpu_capability()}" in finding.text
    assert f"threads {torch.get_num_threads()}" in finding.text
    assert "MKL_CBWR=COMPATIBLE" in finding.text
    assert "HOME" not in finding.text


@pytest.mark.parametrize(
    ("environ", "maps", "libc", "verdict"),
    [
        ({}, "", "glibc", "slow"),
        ({"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "-1"}, "", "glibc", "good"),
        (
            {"GLIBC_TUNABLES": "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=99999999999"},
            "",
            "glibc",
            "good",
        ),
        ({"MALLOC_MMAP_MAX_": "0"}, "", "glibc", "slow"),
        ({}, "7f00 r-xp /usr/lib/libjemalloc.so.2", "glibc", "good"),
        ({}, "", "", "info"),
    ],
)
def test_doctor_sees_allocator_settings(environ, maps, libc, verdict):
    assert check_allocator(environ, maps, libc).verdict == verdict


def test_doctor_names_ways_on_when_the_hub_cannot_be_reached(monkeypatch):
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", "http://192.0.2.1")
    assert "not tried" in check_hub(connect=False).text
    finding = check_hub(connect=True)
    assert "cannot be reached" in finding.text
    assert "clipsight-tiny" in finding.advice
