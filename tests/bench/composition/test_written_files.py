"""Readers of the releases that are not at hand, on files written as these are."""

import csv
import io
import json
from collections import Counter

import numpy as np
import pytest

from clipsight.bench.composition import DataAbsent, ReadOptions, get_benchmark, read_benchmark
from clipsight.bench.composition.order import order_options, plain_caption, write_options
from clipsight.bench.composition.readers.mmvp import PATTERNS


def table(*rows: dict) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@pytest.fixture
def read(tmp_path):
    return lambda id, **options: read_benchmark(
        get_benchmark(id), tmp_path / "annotations", ReadOptions(**options)
    )


BOX = {"bbox_x": 10, "bbox_y": 20, "bbox_w": 30, "bbox_h": 40}
RELATION = {
    "image_path": "2354786.jpg", "image_id": "2354786", "true_caption": "the horse is eating the grass",
    "false_caption": "the grass is eating the horse", "relation_name": "eating", **BOX,
}  # fmt: skip
ATTRIBUTION = {
    "image_path": "2409036.jpg", "image_id": "2409036", "true_caption": "the crouched cat and the open door",
    "false_caption": "the open cat and the crouched door", "attributes": ["crouched", "open"], "obj1_name": "cat",
    "obj2_name": "door", **BOX,
}  # fmt: skip


def test_aro_crops_and_groups(put, read):
    put(
        "aro/visual_genome_relation.json",
        [RELATION, {**RELATION, "bbox_w": 0}, {**RELATION, "relation_name": "on"}],
    )
    put("aro/visual_genome_attribution.json", [ATTRIBUTION, {**ATTRIBUTION, "attributes": ["one"]}])
    reading = read("aro")
    relation, other, attribution = reading.items
    assert relation.pictures[0].crop == (10, 20, 30, 40)
    assert (relation.positives, relation.negatives) == (
        (RELATION["true_caption"],),
        (RELATION["false_caption"],),
    )
    assert (relation.group, other.group, attribution.group) == ("eating", "on", "crouched_open")
    assert other.id == "aro/vg_relation/2"
    assert [(one.file, one.reason) for one in reading.malformed] == [
        ("visual_genome_relation.json", "the crop is 0 pixels wide and 40 high"),
        ("visual_genome_attribution.json", "'attributes' holds 1 words, not 2"),
    ]
    assert [one.annotation.split for one in reading.absent] == ["coco_order", "flickr30k_order"]


TAGS = {"brown": "JJ", "lazy": "JJR", "fox": "NN", "dogs": "NNS", "jumps": "VBZ"}


def tagged(text: str) -> list[tuple[str, str]]:
    return [(word, TAGS.get(word, "IN")) for word in text.split()]


def test_orders_shuffle_what_they_say():
    caption = "a brown fox jumps over the lazy dogs of an old sir"
    words = caption.split()
    places = [[TAGS.get(word, "")[:2] for word in words].count(tag) for tag in ("NN", "JJ")]
    assert places == [2, 2]
    for seed in range(20):
        true, nouns, rest, within, wholes = order_options(caption, tagged, np.random.default_rng(seed))
        assert true == caption
        assert all(sorted(text.split()) == sorted(words) for text in (nouns, rest, within, wholes))
        kinds = [[TAGS.get(word, "")[:2] for word in text.split()] for text in (caption, nouns)]
        assert kinds[0] == kinds[1]
        assert [w for w in nouns.split() if w not in TAGS] == [w for w in words if w not in TAGS]
        kept = [i for i, word in enumerate(words) if TAGS.get(word, "VB")[:2] != "VB"]
        assert [rest.split()[i] for i in kept] == [words[i] for i in kept]
        threes = [words[i : i + 3] for i in range(0, 12, 3)]
        assert [sorted(within.split()[i : i + 3]) for i in range(0, 12, 3)] == [
            sorted(three) for three in threes
        ]
        assert sorted(wholes.split()[i : i + 3] for i in range(0, 12, 3)) == sorted(threes)
    assert len({order_options(caption, tagged, np.random.default_rng(seed)) for seed in range(20)}) > 10


def test_captions_reach_the_model_as_the_authors_prepare_them():
    assert (
        plain_caption('  A "Man", (well-dressed) isn\'t #1!  He: sits; ~ ')
        == "a man , well-dressed isn't 1 he sits"
    )
    assert plain_caption("word " * 40) == " ".join(["word"] * 30)


def test_orders_are_made_or_read_as_made(put, read, tmp_path):
    captions = ["a brown fox jumps over the lazy dogs .", "Fox and dogs"]
    put(
        "aro/coco_karpathy_test.json",
        [{"image": "val2014/a.jpg", "caption": captions}, {"image": "b.jpg", "caption": []}],
    )
    made = read("aro", tagger=tagged, seed=3)
    assert [item.id for item in made.items] == ["aro/coco_order/0/0", "aro/coco_order/0/1"]
    assert [bad.reason for bad in made.malformed] == [
        "'caption' is a list, not a list of texts with something in it"
    ]
    assert read("aro", tagger=tagged, seed=3).items == made.items
    assert read("aro", tagger=tagged, seed=4).items != made.items
    options = [(item.pictures[0].file, item.texts) for item in made.items]
    write_options(tmp_path / "annotations" / "aro" / "coco_order.json", options)
    again = read("aro")
    assert [item.texts for item in again.items] == [item.texts for item in made.items]
    assert again.files[0].file == "coco_order.json"


def test_orders_without_a_tagger_say_what_to_install(put, read, monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "spacy", None)
    put("aro/coco_karpathy_test.json", [{"image": "a.jpg", "caption": ["a fox"]}])
    put("aro/visual_genome_relation.json", [RELATION])
    reading = read("aro")
    assert len(reading.items) == 1
    assert "pip install spacy" in reading.absent[-2].reason
    (tmp_path / "annotations/aro/visual_genome_relation.json").unlink()
    with pytest.raises(DataAbsent, match=r"could be read\. the order tasks of ARO"):
        read("aro")


def test_winoground(put, read):
    row = {
        "id": 0, "image_0": "ex_0_img_0", "image_1": "ex_0_img_1", "caption_0": "an old person kisses a young person",
        "caption_1": "a young person kisses an old person", "tag": "Adjective-Age", "secondary_tag": "",
        "num_main_preds": 1, "collapsed_tag": "Object",
    }  # fmt: skip
    lines = [json.dumps(row), "[1]", json.dumps({**row, "id": 1})]
    put("winoground/examples.jsonl", "\n".join(lines) + "\n")
    reading = read("winoground")
    assert [item.id for item in reading.items] == ["winoground/test/0", "winoground/test/1"]
    first = reading.items[0]
    assert [ref.file for ref in first.pictures] == ["ex_0_img_0", "ex_0_img_1"]
    assert (first.group, first.tags, first.rule) == ("Object", ("Object", "Adjective-Age"), "wino")
    assert str(reading.malformed[0]) == "examples.jsonl:2: the record is a list, not an object"


def test_crepe_by_complexity_and_by_compounds(put, read):
    row = {
        "image_id": 1, "caption": "a car on a street", "caption_triples": "", "n": 4,
        "hard_negs": "['a street on a car', \"a car's street\"]", "x": 2, "y": 0, "width": 5, "height": 6,
    }  # fmt: skip
    for kind in ("atom", "negate"):
        for n in (4, 12):
            name = f"crepe/prod_hard_negatives/{kind}/prod_vg_hard_negs_{kind}_complexity_{n}.csv"
            put(name, table({**row, "n": n}, {**row, "hard_negs": "not a list"}, {**row, "hard_negs": "[]"}))
    compounds = {
        "image_id": 2, "caption": "red brick", "x": 0, "y": 0, "width": 5, "height": 6,
        "valid_hard_negs_atom": "['blue brick']", "valid_hard_negs_comp": "[]",
        "valid_hard_negs_combined": "['blue brick', 'red wall']",
    }  # fmt: skip
    put("crepe/syst_vg_hard_negs_seen_compounds_in_laion.csv", table(compounds))
    reading = read("crepe")
    assert Counter(item.split for item in reading.items) == {
        "atom": 2, "negate": 2, "seen_in_laion_atom": 1, "seen_in_laion_combined": 1,
    }  # fmt: skip
    assert {item.group for item in reading.items if item.split == "atom"} == {"4", "12"}
    assert reading.items[0].negatives == ("a street on a car", "a car's street")
    assert reading.items[0].pictures[0].crop == (2, 0, 5, 6)
    assert len({item.id for item in reading.items}) == 6
    assert Counter(bad.reason for bad in reading.malformed) == {
        "'hard_negs' is not a list as Python writes it": 4, "it has no wrong captions": 4,
    }  # fmt: skip


def test_whatsup_pairs_and_sets(put, read):
    def photo(where: str, *options: str) -> dict:
        return {
            "image_path": f"data/controlled_images/mug_{where}_table.jpeg",
            "caption_options": list(options),
        }

    four = ("A mug on a table", "A mug under a table", "A mug left of a table", "A mug right of a table")
    put(
        "whatsup/controlled_images_dataset.json",
        [
            photo("on", *four),
            photo("under", *four),
            photo("left_of", *four),
            photo("right_of", *four[:3]),
            photo("at", *four),
        ],
    )
    put(
        "whatsup/coco_qa_one_obj.json",
        [[397133, "A photo of a bowl on the left", "A photo of a bowl on the right"]],
    )
    put(
        "whatsup/vg_qa_two_obj.json",
        [[2320618, "A to the left of B", "A to the right of B"], [1, "only one"]],
    )
    reading = read("whatsup")
    on, under, left, coco, vg = reading.items
    assert (on.rule, on.positives, len(on.negatives), on.group) == ("kway_text", four[:1], 3, "on")
    assert on.sets == (("pair", "mug and table: on and under"), ("set", "mug and table"))
    assert (on.sets == under.sets, on.sets[1] == left.sets[1]) == (True, True)
    assert on.sets[0] != left.sets[0]
    assert on.pictures[0].file == "controlled_images/mug_on_table.jpeg"
    assert (coco.pictures[0].file, coco.pictures[0].collection) == ("000000397133.jpg", "coco_val2017")
    assert (vg.pictures[0].file, vg.pictures[0].collection) == ("2320618.jpg", "visual_genome")
    assert [bad.reason for bad in reading.malformed] == [
        "it has 3 captions, not 4",
        "the file name 'controlled_images/mug_at_table.jpeg' does not say where things are",
        "it has no element 2",
    ]


def test_mmvp_joins_two_lines(put, read):
    rows = [
        {"Question ID": number, "Type": PATTERNS[(number - 1) // 30], "Statement": f"statement {number}"}
        for number in range(1, 271)
    ]
    put("mmvp_vlm/Questions.csv", table(*rows))
    reading = read("mmvp_vlm")
    assert Counter(item.split for item in reading.items) == dict.fromkeys(PATTERNS, 15)
    assert reading.files[0].rows == reading.benchmark.annotations[0].rows == 135
    first = reading.items[0]
    assert first.positives == ("a photo of statement 1", "a photo of statement 2")
    assert [ref.file for ref in first.pictures] == [f"{PATTERNS[0]}/1.jpg", f"{PATTERNS[0]}/2.jpg"]
    put("mmvp_vlm/Questions.csv", table(*rows[:3], *rows[4:7], rows[9], {**rows[0], "Question ID": "x"}))
    reading = read("mmvp_vlm")
    assert [item.id.split("/")[-1] for item in reading.items] == ["1", "5"]
    assert [bad.line for bad in reading.malformed] == [4, 7, 9]
    assert "no pair" in reading.malformed[1].reason


def test_colorswap_by_id(put, read):
    put(
        "colorswap/test.json",
        [{"id": 12, "caption_1": "a blue raft", "caption_2": "a white raft", "image_source": "x"}],
    )
    (item,) = read("colorswap").items
    assert [ref.file for ref in item.pictures] == ["img_12_1.png", "img_12_2.png"]


def test_eqben_finds_pairs_at_any_depth(put, read):
    def pair(part: str, name: str, caption: object = "one") -> dict:
        return {
            "image0": f"{part}/{name}_0.png", "caption0": caption, "image1": f"{part}/{name}_1.png", "caption1": "two",
        }  # fmt: skip

    put(
        "eqben/eqben_subset.json",
        [pair("eqbensd", "a"), pair("eqbenkubric_cnt", "b"), pair("elsewhere", "c")],
    )
    put(
        "eqben/eqben_ag.json",
        {"video": {"person": [pair("eqbenag", "d", ["first", "second"]), pair("eqbenag", "e")]}},
    )
    put("eqben/eqben_youcook.json", {"video": [pair("eqbenyoucook2", "f.npy"), {"image0": "eqbenag/x.png"}]})
    reading = read("eqben")
    assert Counter(item.split for item in reading.items) == {
        "eqbensd": 1, "eqbenkubric_cnt": 1, "eqbenag": 2, "eqbenyoucook2": 1,
    }  # fmt: skip
    assert next(item for item in reading.items if item.split == "eqbenag").positives == ("first", "two")
    assert len({item.id for item in reading.items}) == 5
    assert [bad.reason[:37] for bad in reading.malformed] == [
        "the picture 'elsewhere/c_0.png' is in",
        "'image1' is missing",
    ]


def test_svo_probes_by_kind(put, read):
    row = {
        "sentence": "A person sits.", "pos_triplet": "person,sit,", "neg_triplet": "person,jump,", "pos_url": "http://a",
        "neg_url": "http://b", "pos_image_id": "12", "neg_image_id": "340", "subj_neg": "False", "verb_neg": "True",
        "obj_neg": "False",
    }  # fmt: skip
    put(
        "svo_probes/svo_probes.csv",
        table(row, {**row, "verb_neg": "False", "obj_neg": "True"}, {**row, "verb_neg": "False"}),
    )
    reading = read("svo_probes")
    assert [item.split for item in reading.items] == ["verb_neg", "obj_neg"]
    first = reading.items[0]
    assert (first.rule, first.positives) == ("pair_image", ("A person sits.",))
    assert [ref.file for ref in first.pictures] == ["12", "340"]
    assert [bad.line for bad in reading.malformed] == [4]


def test_negbench_puts_the_right_answer_first(put, read):
    row = {
        "image_path": "data/coco/images/val2017/000000397133.jpg", "correct_answer": 2, "caption_0": "no car",
        "caption_1": "a car", "caption_2": "a knife but no car", "caption_3": "no knife",
        "correct_answer_template": "hybrid",
    }  # fmt: skip
    put("negbench/COCO_val_mcq_llama3.1_rephrased.csv", table(row, {**row, "correct_answer": 4}))
    retrieval = {"filepath": "data/coco/images/val2017/1.jpg", "captions": "['a cat', 'no dog']"}
    put("negbench/COCO_val_retrieval.csv", table(retrieval, {**retrieval, "captions": "a cat"}))
    reading = read("negbench")
    mcq, recall = reading.items
    assert mcq.texts == ("a knife but no car", "no car", "a car", "no knife")
    assert mcq.group == "hybrid"
    assert (recall.rule, recall.positives, recall.split) == (
        "retrieval",
        ("a cat", "no dog"),
        "coco_retrieval",
    )
    assert [bad.reason for bad in reading.malformed] == [
        "'correct_answer' is 4, not one of 0 to 3", "'captions' is not a list as Python writes it",
    ]  # fmt: skip


def test_hard_positives_are_two_files_row_by_row(put, read):
    reworded = {**ATTRIBUTION, "true_caption": "the open door and the crouched cat"}
    put("hard_positives/data/visual_genome_attribution.json", [ATTRIBUTION, ATTRIBUTION, ATTRIBUTION])
    put(
        "hard_positives/swapped_data/visual_genome_attribution.json",
        [reworded, {**reworded, "image_path": "other.jpg"}],
    )
    put("hard_positives/data/vl_checklist_relations.json", [])
    reading = read("hard_positives")
    (item,) = reading.items
    assert (item.split, item.rule, item.pictures[0].crop) == ("swap", "aug_pos", (10, 20, 30, 40))
    assert item.positives == (ATTRIBUTION["true_caption"], "the open door and the crouched cat")
    assert item.negatives == (ATTRIBUTION["false_caption"],)
    assert [bad.reason for bad in reading.malformed] == [
        "its twin in swapped_data is not there",
        "its halves are about '2409036.jpg' and 'other.jpg'",
        "one of the two files has no such record",
    ]


def test_the_worlds_suite_is_its_foils(read):
    from clipsight.world import make_scene

    items = read("world", world_seeds=(5,), world_count=3, world_size=64).items
    foils = [(index, foil) for index in range(3) for foil in make_scene(index, 5, size=64).foils]
    assert [(item.split, item.positives[0], item.negatives[0]) for item in items] == [
        (foil.kind, foil.caption, foil.foil) for _, foil in foils
    ]
    assert items[0].pictures[0].file == "heldout/5/0/64"
