"""Finding the files of a benchmark, and what is said when they are not there or are not what they should be."""

import pytest

from clipsight.bench.composition import (
    BENCHMARKS,
    DataAbsent,
    benchmark_ids,
    expected_tree,
    get_benchmark,
    read_benchmark,
)
from clipsight.bench.composition.benchmark import Annotation, Benchmark, reader
from clipsight.bench.composition.pictures import COLLECTIONS
from clipsight.bench.composition.protocol import PROTOCOLS, Protocol, ProtocolMean
from clipsight.bench.composition.rules import RULES

RECORD = {"filename": "1.jpg", "caption": "a cat on a mat", "negative_caption": "a mat on a cat"}
FAMILIES = {
    "aro", "cola", "colorswap", "crepe", "eqben", "hard_positives", "mmvp_vlm", "negbench", "sugarcrepe",
    "sugarcrepe_pp", "svo_probes", "valse", "vl_checklist", "whatsup", "winoground", "world",
    "coco_retrieval", "flickr30k_retrieval", "sugarcrepe_pp_text", "world_nouns", "world_retrieval", "zero_shot",
}  # fmt: skip
WITHOUT_TREE = {"world", "world_nouns", "world_retrieval", "sugarcrepe_pp_text", "zero_shot"}
"""Drawn when needed, without pictures, or with a tree of its own: `test_guards`."""


def test_all_families_are_registered():
    assert set(benchmark_ids()) == FAMILIES


@pytest.mark.parametrize("id", sorted(FAMILIES))
def test_a_benchmark_is_consistent(id):
    benchmark = get_benchmark(id)
    assert set(benchmark.protocols) <= set(PROTOCOLS)
    assert set(benchmark.collections) <= set(COLLECTIONS)
    splits = [one.split for one in benchmark.annotations]
    assert len(set(splits)) == len(splits)
    for protocol in benchmark.protocols.values():
        names = [mean.name for mean in protocol.means]
        assert len(set(names)) == len(names)
        metrics = {metric for rule in RULES.values() for metric in rule.metrics} | {None, "t2i@5"}
        assert {counting.metric for counting in protocol.counting.values()} <= metrics
        if len(splits) > 1:
            files = {name for mean in protocol.means for name in mean.splits()}
            assert files <= set(splits)


@pytest.mark.parametrize("id", sorted(FAMILIES - WITHOUT_TREE))
def test_absent_data_draw_the_folders_that_are_expected(id, tmp_path):
    with pytest.raises(DataAbsent) as caught:
        read_benchmark(get_benchmark(id), tmp_path)
    said = str(caught.value)
    assert str(tmp_path) in said
    assert get_benchmark(id).origin in said
    assert "annotations/\n└── " in said
    assert "pictures/\n" in said
    with pytest.raises(FileNotFoundError, match="no annotations folder was given"):
        read_benchmark(get_benchmark(id), None)


def test_the_tree_names_files_counts_and_picture_folders():
    assert expected_tree(get_benchmark("cola")).splitlines()[:6] == [
        "annotations/",
        "└── cola/",
        "    └── data/",
        "        └── COLA_multiobjects_matching_benchmark.json   210 records",
        "pictures/",
        "└── cola/   the pictures that Cola names, by file name, or Visual Genome",
    ]
    tree = expected_tree(get_benchmark("sugarcrepe"))
    assert "    ├── add_att.json   692 records\n" in tree
    assert "    └── swap_obj.json   245 records\n" in tree


@pytest.mark.parametrize(
    "name",
    [
        "sugarcrepe/add_att.json", "sugar-crepe/data/add_att.json", "add_att.json", "sugarcrepe/add_att_first50.json",
    ],
)  # fmt: skip
def test_a_file_is_found_where_people_put_it(name, put, tmp_path):
    put(name, {"0": RECORD})
    reading = read_benchmark(get_benchmark("sugarcrepe"), tmp_path / "annotations")
    assert [item.split for item in reading.items] == ["add_att"]
    assert len(reading.absent) == 6


@pytest.mark.parametrize(
    "name",
    [
        "data/Attribute/vg/color.json",
        "Attribute/vg/color.json",
        "Attribute__vg__color.json",
        "data__Attribute__vg__color.json",
    ],
)
def test_flattened_names_are_found(name, put, tmp_path):
    put(f"vl_checklist/{name}", [["VG_100K/1.jpg", {"POS": ["red"], "NEG": ["blue"]}]])
    reading = read_benchmark(get_benchmark("vl_checklist"), tmp_path / "annotations")
    assert [(item.split, item.source) for item in reading.items] == [("Attribute/vg/color", name)]


def test_the_whole_file_goes_before_an_excerpt(put, tmp_path):
    put("sugarcrepe/add_att_first50.json", {"0": RECORD})
    put("add_att.json", {"0": RECORD, "1": RECORD})
    assert len(read_benchmark(get_benchmark("sugarcrepe"), tmp_path / "annotations").items) == 2


def test_malformed_records_are_named_counted_and_passed_over(put, tmp_path):
    records = {"0": RECORD, "1": {**RECORD, "caption": 3}, "2": [], "3": {"filename": "x"}, "4": RECORD}
    put("sugarcrepe/add_att.json", records)
    reading = read_benchmark(get_benchmark("sugarcrepe"), tmp_path / "annotations")
    assert [item.id for item in reading.items] == ["sugarcrepe/add_att/0", "sugarcrepe/add_att/4"]
    assert [(bad.file, bad.line) for bad in reading.malformed] == [
        ("add_att.json", line) for line in (7, 12, 13)
    ]
    (file,) = reading.files
    assert (file.rows, file.malformed, len(file.sha256)) == (5, 3, 64)


def test_a_registry_refuses_doubles_and_lists_near_names():
    with pytest.raises(ValueError, match="registered already"):
        reader(get_benchmark("cola"))
    with pytest.raises(ValueError, match='no protocol is called "official"'):
        reader(
            Benchmark(
                id="mine", title="", origin="", folders=("",), annotations=(), protocols={"macco": Protocol()}
            )
        )
    assert "mine" not in BENCHMARKS
    with pytest.raises(ValueError, match="did you mean 'sugarcrepe'"):
        get_benchmark("sugarcrep")


def test_a_new_benchmark_is_a_description_and_a_function(put, tmp_path):
    mine = Benchmark(
        id="mine",
        title="Mine",
        origin="here",
        folders=("mine",),
        annotations=(Annotation(split="all", files=("rows.json",), rows=1, collection="coco_val2017"),),
        protocols={"official": Protocol(means=(ProtocolMean(name="all", of=("all",)),))},
    )

    @reader(mine)
    def read(row, source):
        yield source.item(
            row,
            rule="pair_text",
            pictures=(source.picture(row.text(0)),),
            positives=(row.text(1),),
            negatives=(row.text(2),),
        )

    try:
        put("mine/rows.json", [["a.jpg", "yes", "no"]])
        (item,) = read_benchmark(mine, tmp_path / "annotations").items
        assert (item.id, item.texts) == ("mine/all/0", ("yes", "no"))
    finally:
        del BENCHMARKS["mine"]
