"""Readers on the files as their authors released them (../shared/annotations), counted."""

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from clipsight.bench.composition import ReadOptions, get_benchmark, read_benchmark
from clipsight.bench.composition.folder import Reading

# Records set aside by whoever made ../shared, by file: SOURCE.md there.
LEFT_OUT = {"valse": {"foil-it": 3, "relations": 10, "plurals": 950}}
VALIDATED = {
    "existence": 505, "counting-hard": 868, "counting-small-quant": 900, "counting-adversarial": 691,
    "action-replacement": 648, "actant-swap": 949, "coreference-standard": 708, "coreference-hard": 104,
}  # fmt: skip
"""Of the files that are whole."""


@cache
def read(id: str, folder: Path) -> Reading:
    tagger = ReadOptions(tagger=lambda text: [(word, "NN") for word in text.split()])
    return read_benchmark(get_benchmark(id), folder, tagger)


def kept(folder: Path) -> dict[str, int]:
    """What SOURCE.md says is in each file of SugarCrepe and SugarCrepe++."""
    lines = re.findall(
        r"^- (\w+)\.json from .*? (\d+) kept", (folder / "SOURCE.md").read_text(), re.MULTILINE
    )
    return {name: int(count) for name, count in lines}


@pytest.mark.parametrize("id", ["sugarcrepe", "sugarcrepe_pp"])
def test_sugarcrepe(id, shared):
    reading = read(id, shared / "annotations")
    assert Counter(item.split for item in reading.items) == kept(shared / "annotations" / id)
    assert not reading.malformed
    assert not reading.absent
    rows = {one.split: one.rows for one in reading.benchmark.annotations}
    text = (shared / "annotations" / id / "SOURCE.md").read_text()
    assert {
        name: int(count) for name, count in re.findall(r"data/(\w+)\.json: (\d+) records there", text)
    } == rows


def test_an_index_that_is_missing_does_not_shift_the_others(shared):
    reading = read("sugarcrepe", shared / "annotations")
    raw = json.loads((shared / "annotations" / "sugarcrepe" / "swap_obj.json").read_text())
    assert "108" not in raw
    ids = {item.id.split("/")[-1]: item.positives[0] for item in reading.items if item.split == "swap_obj"}
    assert ids == {key: record["caption"] for key, record in raw.items()}


def test_lines_point_at_the_record(shared):
    reading = read("sugarcrepe_pp", shared / "annotations")
    item = next(one for one in reading.items if one.split == "swap_att" and one.id.endswith("/5"))
    lines = (shared / "annotations" / "sugarcrepe_pp" / item.source).read_text().splitlines()
    assert lines[item.line].strip().startswith('"id": 5')


def test_valse_and_its_validated_items(shared):
    reading = read("valse", shared / "annotations")
    counts = Counter(item.split for item in reading.items)
    for one in reading.benchmark.annotations:
        assert counts[one.split] == one.rows - LEFT_OUT["valse"].get(one.split, 0)
    validated = Counter(item.split for item in reading.items if "validated" in item.tags)
    assert {name: validated[name] for name in VALIDATED} == VALIDATED
    assert {
        one.split: one.tagged["validated"] for one in reading.benchmark.annotations
    }.items() >= VALIDATED.items()
    assert not reading.malformed
    by_place = Counter(item.pictures[0].collection for item in reading.items)
    assert by_place["swig"] == 779 + 1042
    assert by_place["visual7w"] == 534 + 1000 + 1000 + 756
    assert (
        by_place["coco_val2014"] + by_place["coco_train2014"] + by_place["visdial_val2018"] == 997 + 916 + 141
    )
    assert by_place["coco_val2017"] == 604 + 50


def test_vl_checklist(shared):
    reading = read("vl_checklist", shared / "annotations")
    assert Counter(item.split for item in reading.items) == {
        name: 50
        for name in (
            "Attribute/vg/color", "Attribute/vg/material", "Attribute/vg/size", "Attribute/vaw/state",
            "Relation/vg/spatial", "Relation/vg/action", "Relation/swig_action",
            "Object/Size/hake_size/hake_obj_medium", "Object/Location/vg_location/vg_subj_center",
        )
    }  # fmt: skip
    assert not reading.malformed
    text = (shared / "annotations" / "vl_checklist" / "SOURCE.md").read_text()
    there = {
        name: int(count) for name, count in re.findall(r"from data/(\S+)\.json: (\d+) records there", text)
    }
    rows = {one.split: one.rows for one in reading.benchmark.annotations}
    assert {name: rows[name] for name in there} == there
    assert len(rows) == 10 + 4 + 42
    first = next(item for item in reading.items if item.split == "Attribute/vg/color")
    assert (first.positives, first.negatives) == (("brown knob",), ("teal knob",))
    assert first.pictures[0].file == "VG_100K/2376832.jpg"


def test_cola(shared):
    reading = read("cola", shared / "annotations")
    assert len(reading.items) == 210
    assert not reading.malformed
    assert [ref.file for ref in reading.items[0].pictures] == ["2390970.jpg", "2388902.jpg"]


def test_crepe_crops_and_ranks_among_its_negatives(shared):
    reading = read("crepe", shared / "annotations")
    assert Counter(item.split for item in reading.items) == {"swap": 23}
    assert not reading.malformed
    assert {len(item.negatives) for item in reading.items} == {5}
    first = reading.items[0]
    assert first.pictures[0].crop == (249, 0, 550, 516)
    assert (first.pictures[0].file, first.group) == ("1.jpg", "11")
    assert {one.annotation.split for one in reading.absent} >= {"atom", "negate"}


def test_orders_of_coco(shared):
    reading = read("aro", shared / "annotations")
    raw = json.loads((shared / "annotations" / "aro" / "coco_karpathy_test_first50.json").read_text())
    assert len(reading.items) == sum(len(record["caption"]) for record in raw) == 250
    assert not reading.malformed
    for item in reading.items:
        words = sorted(item.positives[0].split())
        assert len(item.negatives) == 4
        assert all(len(text.split()) <= 30 for text in item.texts)
        if len(words) < 30:
            assert all(sorted(text.split()) == words for text in item.negatives)
    assert reading.items[0].pictures[0].file == "val2014/COCO_val2014_000000391895.jpg"


def test_colorswap(shared):
    reading = read("colorswap", shared / "annotations")
    assert len(reading.items) == 50
    assert not reading.malformed
    assert [ref.file for ref in reading.items[0].pictures] == ["img_9_1.png", "img_9_2.png"]


def test_hard_positives_stand_beside_their_captions(shared):
    reading = read("hard_positives", shared / "annotations")
    assert Counter(item.split for item in reading.items) == {"replace_att": 50, "replace_rel": 50}
    assert not reading.malformed
    first = reading.items[0]
    assert first.positives == ("walking elephant", "strolling elephant")
    assert first.negatives == ("jumping elephant",)
    assert first.pictures[0].file == "VG_100K_2/2401814.jpg"


@pytest.mark.parametrize("id", ["sugarcrepe", "sugarcrepe_pp", "valse", "vl_checklist", "cola", "crepe"])
def test_ids_are_unique(id, shared):
    counts = Counter(item.id for item in read(id, shared / "annotations").items)
    assert max(counts.values()) == 1
