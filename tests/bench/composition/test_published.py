"""Published scores: they name what we measure, and their parts give their wholes by our means."""

from collections import Counter

import pytest

from clipsight.bench.composition import evaluate, get_benchmark
from clipsight.bench.composition.averages import ItemTally
from clipsight.bench.composition.comparing import compare
from clipsight.bench.composition.published import CLIP, PublishedScore, published_models, published_scores
from clipsight.bench.composition.readers.mmvp import PATTERNS
from clipsight.bench.composition.readers.svo_probes import KINDS
from clipsight.bench.composition.relations import MACCO, NOTEBOOK
from clipsight.bench.composition.report import Counts, SplitRow, mean_rows
from clipsight.bench.composition.rules import RULES

NOTHING = Counts(
    expected=None, items=0, counted=0, missing=0, malformed=0, pictures=0, missing_pictures=0,
    unreadable_pictures=0, texts=0, cut_texts=0,
)  # fmt: skip


def splits(id: str) -> set[str]:
    """Names of the splits of a benchmark, those that its reader makes included."""
    benchmark = get_benchmark(id)
    means = [mean for protocol in benchmark.protocols.values() for mean in protocol.means]
    made = {name for mean in means for name in mean.splits()}
    return made | {one.split for one in benchmark.annotations} | {*PATTERNS, *KINDS}


@pytest.mark.parametrize(
    "score", published_scores(), ids=lambda one: f"{one.model} {one.benchmark} {one.name} {one.metric}"
)
def test_a_published_score_has_a_counterpart(score):
    protocol = get_benchmark(score.benchmark).protocols[score.protocol]
    assert score.name in splits(score.benchmark) | {mean.name for mean in protocol.means}
    assert 0 < score.value < 100
    assert score.source
    assert score.metric is None or any(score.metric in rule.metrics for rule in RULES.values())


def test_no_score_is_stated_twice():
    keys = Counter(
        (one.model, one.benchmark, one.name, one.metric, one.protocol) for one in published_scores()
    )
    assert max(keys.values()) == 1


def row(id: str, split: str, value: float) -> SplitRow:
    count = 100_000
    found = ItemTally(scored=count, wins=round(value * count / 100), ties=0, chance=None)
    return SplitRow(
        benchmark=id, split=split, protocol="vl_compo", rule="wino", metric="group", average="micro",
        metrics={"group": found}, counts=NOTHING,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("id", "whole"),
    [
        ("aro", "mean of 4"),
        ("crepe", "mean of atom, swap, negate"),
        ("sugarcrepe", "mean of 7 subsets"),
        ("valse", "mean of 7 phenomena"),
        ("vl_checklist", "mean of Object, Attribute, Relation"),
        ("whatsup", "mean of 6"),
        ("eqben", "group, mean of 5"),
    ],
)
def test_our_means_make_the_published_whole_of_the_published_parts(id, whole):
    scores = {
        one.name: one.value
        for one in published_scores()
        if (one.model, one.benchmark, one.protocol) == (CLIP, id, "vl_compo")
    }
    means = get_benchmark(id).protocols["vl_compo"].means
    parts = {name: value for name, value in scores.items() if name in splits(id)}
    for mean in means:  # a published mean of files stands for each of its files
        if mean.name in scores and mean.name != whole and mean.weights == "equal":
            parts |= {name: scores[mean.name] for name in mean.splits()}
    made = mean_rows(id, "vl_compo", means, {name: row(id, name, value) for name, value in parts.items()})
    (found,) = [one for one in made if one.name == whole]
    assert found.complete
    assert found.score == pytest.approx(scores[whole], abs=0.1)


def test_the_relations_left_out_are_those_of_the_appendix():
    assert (len(NOTEBOOK), len(MACCO)) == (157, 160)
    assert {"leaning against", "pulled by", "pulling"} == MACCO - NOTEBOOK
    assert {"going through", "on the other side of", "higher than", "wrapped in"} <= NOTEBOOK
    assert not {"on", "in", "riding", "to the left of", "behind", "holding"} & MACCO


@pytest.fixture
def report(put, paint, plant, tmp_path):
    put("sugarcrepe/swap_obj.json", {"0": {"filename": "1.png", "caption": "a", "negative_caption": "b"}})
    paint({"1.png": 1})

    def run(protocol: str):
        folders = (tmp_path / "annotations", tmp_path / "pictures")
        return evaluate(plant({(1, "a"): 0.5}), ["sugarcrepe"], *folders, protocol=protocol)

    return run


def test_ours_stand_beside_what_was_made_by_the_same_protocol(report):
    found = compare(report("vl_compo"), CLIP)
    assert [(one.published.name, one.ours) for one in found] == [
        ("mean of 7 subsets", 100), ("swap_obj", 100), ("all items", 100),
    ]  # fmt: skip
    assert found[1].difference == pytest.approx(100 - 61.2)
    assert compare(report("official"), CLIP) == []
    assert {one.published.model for one in compare(report("vl_compo"))} > {CLIP, "NegCLIP"}
    assert compare(report("macco")) == []  # its means have no score here
    with pytest.raises(ValueError, match="nothing is published for 'mine'"):
        compare(report("vl_compo"), "mine")


def test_models_are_listed_once():
    assert published_models()[0] == CLIP
    assert {"CAE, mean of 4", "MACCO", "READ-CLIP"} <= set(published_models())
    assert all(isinstance(one, PublishedScore) for one in published_scores())
