"""The whole way: what the world shows of the bundled model, on a page without outside parts, in sentences that hold."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import clipsight
from clipsight.bench.composition import ImageRoot, Item, PictureRef
from clipsight.bench.word_gap import (
    Corpus,
    CorpusOptions,
    Interval,
    analyse_words,
    attribution_gap,
    verdict,
)
from clipsight.bench.word_gap.drawing import DARK, LIGHT, svg
from clipsight.bench.word_gap.figures import (
    draw_behaviour,
    draw_controls,
    draw_gaps,
    draw_layers,
    draw_shares,
    layered,
)
from clipsight.bench.word_gap.items import item_captions
from clipsight.bench.word_gap.verdict import favours, span
from clipsight.cli import main
from clipsight.records import Malformed
from tiny import tiny_clip

ROOT = Path(__file__).parents[3]
QUICK = {"replicates": 100, "shuffles": 5}


@pytest.fixture(scope="module")
def lens():
    return clipsight.load("clipsight-tiny")


@pytest.fixture(scope="module")
def report(lens):
    """Of two models."""
    models = [("clipsight-tiny", lens), ("not <trained>", clipsight.load(tiny_clip(0)))]
    return analyse_words(models, Corpus("world:101:30"), ["attention", "perturbation", "gradcam"], **QUICK)


def test_objects_win_in_the_bundled_model_and_not_with_shuffled_roles(report):
    tiny = report.models[0]
    by = {row.column.name: row.figures for row in tiny.setups}
    assert by["perturbation"].gap["composition"].low > 1
    for figures in by.values():
        assert figures.shuffled.value == pytest.approx(1, abs=0.25)
        assert sum(one.value for one in figures.shares.values()) == pytest.approx(
            1 - figures.silent, abs=0.05
        )
    foils = tiny.behaviour.foils
    assert foils["replace_obj"].drop.low > foils["replace_att"].drop.high > foils["replace_rel"].drop.high
    assert foils["replace_obj"].wins.value > 0.9
    assert tiny.comparable > 40
    assert tiny.extractors == ("column 1",)


def test_the_sentences_say_what_the_figures_say(report):
    said = " ".join(verdict(report.models[0]))
    assert re.search(r"more than a composition word under \d of 3 attributions", said)
    assert re.search(r"Not noticed.* a wrong relation", said)
    assert "which is few" in said


def test_ratios_in_words():
    assert favours(Interval(2.0, 1.5, 3.0)) == "objects"
    assert favours(Interval(0.5, 0.2, 0.9)) == "composition"
    assert favours(Interval(2.0, 0.9, 3.0)) == "neither"
    assert favours(Interval(2.0, np.nan, np.nan)) == favours(Interval(np.nan, np.nan, np.nan)) == "unknown"
    assert span(Interval(2.0, -0.5, 300.0)) == "2.00 (−0.50–300)"
    assert span(Interval(np.nan, np.nan, np.nan)) == "–"
    assert span(Interval(2.0, np.nan, np.nan)) == "2.00 (–)"


def test_sentences_of_few_captions(lens):
    report = analyse_words([lens], Corpus("world:101:2"), ["attention"], layers=False, **QUICK)
    said = " ".join(verdict(report.models[0]))
    assert "too few or too alike to say of attention" in said
    assert "dealt out anew" not in said


def test_sentences_of_what_cannot_be_compared(report):
    nothing = replace(report.models[0], comparable=0)
    assert verdict(nothing) == (
        f"None of {nothing.captions} captions has both an object word and an attribute or relation word: nothing can "
        "be compared.",
    )


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.outside, self.styled, self.words = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            self.outside += (
                [value] if name in ("src", "srcset", "href") and not value.startswith("data:") else []
            )
            self.styled += [name] if name == "style" or name.startswith("on") else []

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_stands_alone_and_shows_the_numbers(report):
    page = report.to_html()
    parsed = _Page(page)
    assert not parsed.outside
    assert not parsed.styled
    assert "script" not in parsed.tags
    assert parsed.tags.count("img") == 5
    assert parsed.tags.count("source") == 5  # dark paper
    words = "".join(parsed.words)
    assert "not <trained>" in words
    assert span(report.models[0].rows[0].figures.gap["composition"]) in words
    assert "attention, block 4" in words
    for line in verdict(report.models[1]):
        assert line in words


def test_files(report, tmp_path):
    files = report.save(tmp_path / "out.html")
    assert [file.name for file in files] == ["out.html", "out.json"]
    data = json.loads((tmp_path / "out.json").read_text())
    row = data["models"][0]["rows"][0]
    assert row["gap"]["composition"] == pytest.approx(
        report.models[0].rows[0].figures.gap["composition"], rel=1e-5
    )
    assert data["corpus"]["corpus"] == "world:101:30"
    assert data["models"][1]["label"] == "not <trained>"
    with pytest.raises(FileExistsError):
        report.save(tmp_path / "out.html")
    assert [file.name for file in report.save(tmp_path / "out.json", overwrite=True)] == ["out.json"]
    with pytest.raises(ValueError, match="png"):
        report.save(tmp_path / "out.png")


@pytest.mark.parametrize("draw", [draw_gaps, draw_controls, draw_shares, draw_layers, draw_behaviour])
def test_figures_are_drawn_for_one_model_and_several_on_both_papers(report, draw):
    drawn = [
        svg(draw(models, paper)) for models in (report.models[:1], report.models) for paper in (LIGHT, DARK)
    ]
    assert all(one.startswith("<?xml") for one in drawn)
    assert len(set(drawn)) == 4


def test_no_layers_no_figure(lens):
    report = analyse_words([lens], Corpus("world:3:3"), ["attention"], layers=False, **QUICK)
    assert not layered(report.models)
    assert "Layer by layer" not in report.to_html()
    assert report.models[0].label == "clipsight-tiny"


def test_captions_alone(lens, tmp_path):
    file = tmp_path / "captions.txt"
    file.write_text("a red car left of a dog\na big cat\n<b>a dog</b> & a red ball\n")
    model = analyse_words([lens], Corpus(str(file)), layers=False, **QUICK).models[0]
    assert "gradcam" in model.left_out
    assert not model.behaviour.pictured
    assert model.behaviour.foils["replace_rel"].count == 1
    with pytest.raises(ValueError, match="gradcam asks what matches a picture"):
        analyse_words([lens], Corpus(str(file)), ["gradcam"])
    file.write_text("\n")
    with pytest.raises(ValueError, match="it is empty"):
        analyse_words([lens], Corpus(str(file)))


def item(number: int, **others) -> Item:
    facts = {
        "id": f"t/{number}", "benchmark": "t", "split": "replace_obj", "rule": "pair_text", "line": number,
        "source": "t.json",
        "pictures": (PictureRef(file=f"heldout/7/{number}/112", collection="world"),),
        "positives": ("a red car left of a dog",), "negatives": ("a red car left of a cat",),
    }  # fmt: skip
    return Item(**{**facts, **others})


def test_captions_of_a_benchmark(lens, tmp_path):
    gone = PictureRef(file="1.jpg", collection="coco_val2017")
    items = [item(0), item(0, id="again"), item(1, split="custom"), item(2, pictures=(gone,))]
    captions = list(item_captions(items, ImageRoot(tmp_path)))
    assert [len(one.foils) for one in captions[:2]] == [1, 0]
    assert isinstance(captions[2], Malformed)
    assert len(captions) == 3
    assert len(list(item_captions(items, ImageRoot(tmp_path), limit=1))) == 1
    model = attribution_gap(lens, items, tmp_path, ["attention", "gradient"], label="mine", replicates=50)
    assert (model.label, model.captions, model.malformed) == ("mine", 2, 1)
    assert [row.column.name for row in model.rows] == ["attention", "gradient"]
    assert model.behaviour.foils["replace_obj"].count == 1
    nothing = attribution_gap(lens, items[3:], tmp_path, ["attention"])
    assert (nothing.captions, nothing.comparable, nothing.rows) == (0, 0, ())
    assert "None of 0 captions" in verdict(nothing)[0]


def test_limit_and_options_are_recorded(lens):
    report = analyse_words(
        [lens], Corpus("world:3:9", CorpusOptions(limit=4)), ["attention"], layers=False, **QUICK
    )
    assert report.models[0].captions == 4
    assert report.to_dict()["corpus"]["limit"] == 4
    assert report.to_dict()["settings"]["replicates"] == 100


def run(*words: str) -> int:
    return main(["words", *words])


def test_the_command_line(tmp_path, capsys):
    out = tmp_path / "deep" / "out.html"
    ask = (
        "--corpus",
        "world:101:4",
        "--model",
        "clipsight-tiny",
        "--methods",
        "attention",
        "gradient",
        "--no-layers",
    )
    assert run(*ask, "--report", str(out)) == 0
    said = capsys.readouterr().out
    assert "attention" in said
    assert "With roles dealt out anew" in said
    assert f"{out.with_suffix('.json')}" in said.replace("\n", "")
    assert sorted(file.name for file in out.parent.iterdir()) == ["out.html", "out.json"]  # no parts left
    assert run(*ask, "--report", str(out)) == 1  # it exists
    assert "exists" in capsys.readouterr().err
    work = tmp_path / "work"
    assert run(*ask, "--json", "--work", str(work)) == 0
    assert json.loads(capsys.readouterr().out)["models"][0]["label"] == "clipsight-tiny"
    assert any(work.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--corpus", "world:1:1"), "--report out.html"),
        (("--corpus", "world:1:1", "--report", "out.txt"), "does not end with .html"),
        (("--corpus", "captions.doc", "--json"), "neither a file of captions"),
        (("--corpus", "no.txt", "--json"), "is not there"),
        (("--corpus", "world:1:1", "--json", "--limit", "0"), "1 or more"),
        (("--corpus", "world:1:1", "--json", "--roles", "none"), "nothing to compare"),
        (("--corpus", "world:1:1", "--json", "--roles", "rules"), "have true ones"),
        (("dog.jpg", "--corpus", "world:1:1"), "replaces images"),
        (("--corpus", "world:1:1", "--method", "gradcam", "--json"), "need an image"),
        (("dog.jpg", "--text", "a dog", "--limit", "3"), "--limit needs --corpus"),
        (("dog.jpg", "--text", "a dog", "--model", "a", "--model", "b"), "2 models are given"),
        ((), "give an image and its caption"),
    ],
)
def test_what_is_asked_wrongly_is_said_before_anything_is_loaded(words, said, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(clipsight, "load", lambda *_, **__: pytest.fail("a model was loaded"))
    (tmp_path / "dog.jpg").write_bytes(b"")
    assert run(*words) == 2
    assert said in capsys.readouterr().err


def test_the_recorded_figures_are_of_this_model_and_bear_out_the_page(lens):
    data = json.loads((ROOT / "docs/assets/word_gap.json").read_text(encoding="utf-8"))
    tiny, blank = data["models"]
    assert tiny["about"]["fingerprint"] == lens.fingerprint
    gaps = {row["name"]: row for row in tiny["rows"] if row["layer"] is None}
    assert sum(row["gap"]["composition"][1] > 1 for row in gaps.values()) == 10
    assert sum(row["controlled"]["composition"][1] > 1 for row in gaps.values()) == 11
    assert all(low <= 1 <= high for _, low, high in (row["shuffled"] for row in gaps.values()))
    assert sum(row["controlled"]["composition"][1] > 1 for row in blank["rows"] if row["layer"] is None) == 1
    drop = tiny["behaviour"]["foils"]["replace_rel"]["drop"]
    assert drop[1] < 0 < drop[2]
