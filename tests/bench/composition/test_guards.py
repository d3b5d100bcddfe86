"""What stands beside every score: recognition, retrieval, and texts alone; that none of it is forgotten or made up."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import clipsight
from clipsight.bench.composition import (
    Choices,
    DataAbsent,
    Item,
    PictureRef,
    ReadOptions,
    compare,
    encode,
    evaluate,
    get_benchmark,
    guard_ids,
    guards_at_hand,
    read_benchmark,
)
from clipsight.bench.composition.encoding import all_texts
from clipsight.bench.composition.published import CLIP
from clipsight.bench.emoji import noun_accuracy
from clipsight.session.lens import Lens
from clipsight.world import make_scenes, nouns

BUNDLED = Path(clipsight.__file__).parent / "assets" / "clipsight-tiny"
needs_bundled = pytest.mark.skipif(not BUNDLED.exists(), reason="the bundled model is not trained yet")


@pytest.fixture(scope="module")
def lens() -> Lens:
    return clipsight.load("clipsight-tiny", device="cpu")


@pytest.fixture
def sorted_pictures(tmp_path):
    """Class folders: two cats of colours 1 and 2, a big dog of colour 3, an owl that cannot be read."""
    folder = tmp_path / "pets"
    for name, colour in (("cat/1.png", 1), ("cat/2.JPG", 2), ("big_dog/deep/3.png", 3), ("owl/4.png", None)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if colour is None:
            path.write_bytes(b"no picture")
        else:
            Image.new("RGB", (8, 8), (colour,) * 3).save(path)
    (folder / "cat" / "notes.txt").write_text("no picture either")
    return folder


def rows(report) -> dict[str, dict]:
    return {row["split"]: row for row in report.to_dicts() if row["kind"] == "split"}


def asked(*paths: Path, templates: str | tuple[str, ...] | None = ("a {}.", "the {}.")) -> ReadOptions:
    return ReadOptions(zero_shot=paths, templates=templates)


# colour 1 is a cat by the mean of both sentences, although one of them alone says dog; 2 ties; 3 is taken for a cat
NAMED = {
    (1, "a cat."): 0.1, (1, "the cat."): 0.5, (1, "a big dog."): 0.3, (1, "the big dog."): 0.1,
    (2, "a cat."): 0.3, (2, "the cat."): 0.2, (2, "a big dog."): 0.2, (2, "the big dog."): 0.3,
    (3, "a cat."): 0.5, (3, "the cat."): 0.2, (3, "a big dog."): 0.1, (3, "the big dog."): 0.1,
    (1, "a owl."): 0.0, (1, "the owl."): 0.0,
}  # fmt: skip


def test_class_folders_by_the_mean_of_the_sentences(sorted_pictures, plant):
    report = evaluate(plant(NAMED), ["zero_shot"], options=asked(sorted_pictures))
    row = rows(report)["pets"]
    assert (row["rule"], row["metric"], row["average"]) == ("classes", "top1", "micro")
    top1 = row["metrics"]["top1"]
    assert (top1["scored"], top1["wins"], top1["ties"]) == (3, 1, 1)
    assert top1["groups"] == {
        "cat": {"score": 50.0, "scored": 2, "wins": 1}, "big dog": {"score": 0.0, "scored": 1, "wins": 0},
    }  # fmt: skip
    assert top1["macro"] == 25
    assert top1["chance"] == pytest.approx(100 / 3)
    assert "top5" not in row["metrics"]
    assert (row["counts"]["counted"], row["counts"]["missing"], row["counts"]["unreadable_pictures"]) == (
        4,
        1,
        1,
    )
    assert row["counts"]["texts"] == 6
    assert report.settings["zero_shot_templates"] == ["a {}.", "the {}."]
    assert report.settings["zero_shot"] == [str(sorted_pictures)]


def test_classes_json_names_the_folders_and_no_templates_take_the_names(sorted_pictures, plant):
    told = {"cat": "tabby", "big_dog": "hound", "owl": "owl"}
    (sorted_pictures / "classes.json").write_text(json.dumps(told))
    model = plant({(1, "tabby"): 0.5, (2, "tabby"): 0.5, (3, "hound"): 0.5, (3, "owl"): 0.1})
    row = rows(evaluate(model, ["zero_shot"], options=asked(sorted_pictures, templates=None)))["pets"]
    assert row["score"] == 100
    assert set(row["metrics"]["top1"]["groups"]) == {"tabby", "hound"}
    (sorted_pictures / "classes.json").write_text(json.dumps(told | {"owl": "tabby"}))
    with pytest.raises(DataAbsent, match="several folders are called 'tabby'"):
        read_benchmark(get_benchmark("zero_shot"), None, asked(sorted_pictures))
    del told["owl"]
    (sorted_pictures / "classes.json").write_text(json.dumps(told))
    with pytest.raises(DataAbsent, match="does not say the name of every class folder"):
        read_benchmark(get_benchmark("zero_shot"), None, asked(sorted_pictures))


def test_a_table_of_pictures_and_labels(sorted_pictures, plant, tmp_path):
    table = tmp_path / "labels.csv"
    lines = [
        "filepath,label",
        "pets/cat/1.png,cat",
        "pets/cat/2.JPG,cat",
        "pets/gone.png,big dog",
        "pets/x.png, ",
    ]
    table.write_text("\n".join(lines))
    report = evaluate(plant(NAMED), ["zero_shot"], options=asked(table))
    row = rows(report)["labels"]
    assert (row["counts"]["counted"], row["counts"]["missing"], row["counts"]["malformed"]) == (3, 1, 1)
    assert str(report.malformed[0]) == "labels.csv:5: 'label' is blank"
    assert (row["metrics"]["top1"]["wins"], row["metrics"]["top1"]["ties"]) == (1, 1)
    both = rows(evaluate(plant(NAMED), ["zero_shot"], options=asked(table, sorted_pictures)))
    assert {name: one["counts"]["counted"] for name, one in both.items()} == {"labels": 3, "pets": 4}


def test_imagenets_folders_have_open_clips_names_and_twins_tie(tmp_path, plant):
    folder = tmp_path / "imagenet" / "val"
    for index in range(1000):
        (folder / f"n{index:08}").mkdir(parents=True)
    for index in (0, 657, 744):  # tench; missile, twice
        Image.new("RGB", (8, 8), (index % 256,) * 3).save(folder / f"n{index:08}" / "x.png")
    model = plant({(0, "tench"): 0.5, (657 % 256, "missile"): 0.5, (744 % 256, "missile"): 0.5})
    report = evaluate(model, ["zero_shot"], options=asked(folder, templates=None))
    row = rows(report)["imagenet"]
    assert row["counts"]["expected"] == 50_000
    top1, top5 = row["metrics"]["top1"], row["metrics"]["top5"]
    assert (top1["wins"], top1["ties"], top1["chance"]) == (1, 2, 0.1)
    assert (top5["wins"], top5["ties"]) == (3, 0)
    assert set(top1["groups"]) == {"tench", "missile", "missile (n00000744)"}
    (found,) = compare(report, CLIP)
    assert (found.published.value, found.ours) == (63.3, pytest.approx(100 / 3))
    assert found.apart == "3 of 50,000 items; other templates"
    (folder / "n00000999").rmdir()
    with pytest.raises(DataAbsent, match="999 of ImageNet's 1000 class folders"):
        read_benchmark(get_benchmark("zero_shot"), None, asked(folder))


def test_what_cannot_be_classified_is_said(tmp_path, sorted_pictures):
    zero_shot = get_benchmark("zero_shot")
    with pytest.raises(DataAbsent, match=r"--zero-shot FOLDER(.|\n)*FOLDER/\n├── classes.json"):
        read_benchmark(zero_shot, None)
    with pytest.raises(DataAbsent, match="has 1 class folders"):
        read_benchmark(zero_shot, None, asked(sorted_pictures / "big_dog"))
    table = tmp_path / "one.csv"
    table.write_text("filepath,label\n1.png,cat\n")
    with pytest.raises(DataAbsent, match="has 1 classes in its column 'label'"):
        read_benchmark(zero_shot, None, asked(table))
    table.write_text("file,class\n1.png,cat\n")
    with pytest.raises(DataAbsent, match="has 0 classes"):
        read_benchmark(zero_shot, None, asked(table))
    twin = tmp_path / "other" / "pets.csv"
    twin.parent.mkdir()
    twin.write_text("filepath,label\n1.png,cat\n2.png,dog\n")
    with pytest.raises(ValueError, match="called alike"):
        read_benchmark(zero_shot, None, asked(sorted_pictures, twin))
    choices = Choices(classes=("cat", "dog"), names=("cat", "dog"))
    facts = {"id": "x", "benchmark": "b", "split": "s", "rule": "classes", "positives": ()}
    picture = (PictureRef(file="1.png", collection="zero_shot"),)
    assert all_texts([Item(pictures=picture, group="dog", choices=choices, **facts)]) == ["cat", "dog"]
    for group, given in (("cow", choices), ("dog", None)):
        with pytest.raises(ValueError, match="one of the item's choices"):
            Item(pictures=picture, group=group, choices=given, **facts)


KARPATHY = {
    "images": [
        {
            "split": "train",
            "filepath": "val2014",
            "filename": "0.png",
            "sentences": [{"raw": "x"}],
            "cocoid": 1,
        },
        {
            "split": "test",
            "filepath": "val2014",
            "filename": "1.png",
            "sentences": [{"raw": "a"}, {"raw": "b"}],
        },
        {"split": "test", "filepath": "val2014", "filename": "2.png", "sentences": [{"raw": "c"}]},
    ],
    "dataset": "coco",
}
SALESFORCE = [
    {"image": "val2014/1.png", "caption": ["a", "b"]},
    {"image": "val2014/2.png", "caption": ["c"]},
]
COCO = {
    "info": {"year": 2017},
    "images": [{"id": 7, "file_name": "1.png"}, {"id": 9, "file_name": "2.png"}],
    "annotations": [
        {"image_id": 7, "id": 1, "caption": "a"},
        {"image_id": 9, "id": 2, "caption": "c"},
        {"image_id": 7, "id": 3, "caption": "b"},
    ],
}
FORMS = {
    "coco/dataset_coco.json": KARPATHY,
    "aro/coco_karpathy_test.json": SALESFORCE,
    "annotations/captions_val2017.json": COCO,
}
# a finds its picture, b the other one, c ties
NEAR = {(1, "a"): 0.5, (1, "b"): 0.1, (1, "c"): 0.4, (2, "b"): 0.3, (2, "c"): 0.4}


@pytest.mark.parametrize("name", FORMS)
def test_retrieval_is_the_same_from_each_form_of_the_captions(name, put, paint, plant, tmp_path):
    put(name, FORMS[name])
    split = "val2017" if "2017" in name else "karpathy_test"
    paint({f"coco/{'val2017' if '2017' in name else 'val2014'}/{index}.png": index for index in (1, 2)})
    report = evaluate(plant(NEAR), ["coco_retrieval"], tmp_path / "annotations", tmp_path / "pictures")
    row = rows(report)[split]
    assert {key: (one["wins"], one["ties"], one["scored"]) for key, one in row["metrics"].items()} == {
        "i2t@1": (2, 0, 2), "i2t@5": (2, 0, 2), "i2t@10": (2, 0, 2),
        "t2i@1": (1, 1, 3), "t2i@5": (3, 0, 3), "t2i@10": (3, 0, 3),
    }  # fmt: skip
    assert (row["counts"]["expected"], row["counts"]["counted"]) == (5000, 2)
    means = {mean.name: mean.score for mean in report.means}
    assert list(means) == [f"{side} R@{k}" for side in ("i2t", "t2i") for k in (1, 5, 10)]
    if split == "karpathy_test":
        assert (means["i2t R@1"], means["t2i R@1"]) == (100, pytest.approx(100 / 3))
        found = {one.published.name: one for one in compare(report, CLIP)}
        assert found["t2i R@1"].published.value == 30.5
        assert found["t2i R@1"].apart == "2 of 5,000 items"


def test_pictures_that_are_missing_are_counted_in_retrieval(put, paint, plant, tmp_path):
    put("coco_karpathy_test.json", [*SALESFORCE, {"image": "val2014/3.png", "caption": ["d"]}])
    paint({"val2014/1.png": 1, "val2014/2.png": 2})
    (row, *_) = evaluate(
        plant(NEAR), ["coco_retrieval"], tmp_path / "annotations", tmp_path / "pictures"
    ).rows
    assert row.metrics["t2i@1"].scored == 3  # of the captions whose pictures are there
    assert "1 of 3 without picture, the release has 5,000" in row.line()
    assert row.missing_names == ("val2014/3.png",)


def test_malformed_captions_are_named_and_the_others_count(put, plant, tmp_path):
    images = [
        *KARPATHY["images"],
        {"split": "test", "filename": "9.png", "sentences": "none"},
        {"filename": "8"},
    ]
    put("dataset_coco.json", {**KARPATHY, "images": images})
    reading = read_benchmark(get_benchmark("coco_retrieval"), tmp_path / "annotations")
    assert len(reading.items) == 2
    assert [str(bad) for bad in reading.malformed] == [
        "dataset_coco.json:2: element 3 of 'images', which begins there: 'sentences' is not a list",
        "dataset_coco.json:2: element 4 of 'images', which begins there: 'split' is missing",
    ]
    put("dataset_coco.json", {"images": {}, "dataset": "coco"})
    (bad,) = read_benchmark(get_benchmark("coco_retrieval"), tmp_path / "annotations").malformed
    assert bad.reason == "'images' is not a list"
    put("dataset_coco.json", {"dataset": "coco"})
    (bad,) = read_benchmark(get_benchmark("coco_retrieval"), tmp_path / "annotations").malformed
    assert bad.reason == "it is an object without 'images'"
    put("captions_val2017.json", {**COCO, "annotations": COCO["annotations"][:1]})
    found = read_benchmark(get_benchmark("coco_retrieval"), tmp_path / "annotations")
    assert [item.positives for item in found.items] == [("a",)]
    assert any(
        "'caption' is a list, not a list of texts with something in it" in b.reason for b in found.malformed
    )


def test_the_real_captions_of_coco(shared):
    reading = read_benchmark(get_benchmark("coco_retrieval"), shared / "annotations")
    assert len(reading.items) == 50
    assert sum(len(item.positives) for item in reading.items) == 250
    assert not reading.malformed
    assert reading.items[0].pictures[0].file == "val2014/COCO_val2014_000000391895.jpg"


def test_texts_alone_are_the_half_that_needs_no_picture(put, paint, plant, tmp_path):
    record = {"id": 0, "filename": "1.png", "caption": "p", "caption2": "q", "negative_caption": "n"}
    put("sugarcrepe_pp/swap_obj.json", [record, {**record, "id": 1, "caption2": "r"}, {**record, "id": 2}])
    paint({"val2017/1.png": 1})
    model = plant({(1, "p"): 0.5}, {("q", "p"): 0.5, ("n", "p"): 0.2})
    folders = (tmp_path / "annotations", tmp_path / "pictures")
    whole = rows(evaluate(model, ["sugarcrepe_pp"], *folders))["swap_obj"]["metrics"]["tot"]
    report = evaluate(model, ["sugarcrepe_pp_text"], folders[0])
    alone = rows(report)["swap_obj"]
    assert alone["metrics"]["tot"] == whole
    assert (whole["wins"], whole["scored"]) == (2, 3)
    assert (alone["counts"]["pictures"], alone["counts"]["missing"]) == (0, 0)
    (found,) = compare(report, CLIP)
    assert (found.published.value, found.ours) == (46.7, pytest.approx(200 / 3))
    assert found.apart.startswith("3 of 245 items; without replace_att")


def test_texts_alone_of_the_real_file(shared, plant):
    """All captions are orthogonal here: every question ties, none is won, and all records of the file are there."""
    report = evaluate(plant({}), ["sugarcrepe_pp_text"], shared / "annotations", limit=40)
    assert {name: row["counts"]["items"] for name, row in rows(report).items()} == {
        "replace_att": 761, "replace_obj": 1599, "replace_rel": 1363, "swap_att": 651, "swap_obj": 240,
    }  # fmt: skip
    assert not report.failures
    assert not report.malformed


def test_guards_are_those_whose_data_are_there(put, tmp_path, sorted_pictures):
    folder = tmp_path / "annotations"
    assert guard_ids() == (
        "coco_retrieval", "flickr30k_retrieval", "hard_positives", "sugarcrepe_pp_text", "world_nouns",
        "world_retrieval", "zero_shot",
    )  # fmt: skip
    absent = ("coco_retrieval", "flickr30k_retrieval", "hard_positives", "sugarcrepe_pp_text", "zero_shot")
    assert guards_at_hand(["sugarcrepe"], None) == (("world_nouns", "world_retrieval"), absent)
    put("sugarcrepe_pp/swap_obj.json", [])
    put("flickr30k_test.json", [])
    options = asked(sorted_pictures)
    there = ("flickr30k_retrieval", "sugarcrepe_pp_text", "zero_shot")
    assert guards_at_hand(["sugarcrepe"], folder, options) == (there, ("coco_retrieval", "hard_positives"))
    assert guards_at_hand(["world"], folder, options)[0] == (
        "flickr30k_retrieval", "sugarcrepe_pp_text", "world_nouns", "world_retrieval", "zero_shot",
    )  # fmt: skip
    assert "zero_shot" not in guards_at_hand(["zero_shot"], folder, options)[0]


def test_files_of_sugarcrepe_are_not_taken_for_those_of_its_successor(put, tmp_path):
    put("swap_obj.json", {"0": {"filename": "1.png", "caption": "a", "negative_caption": "b"}})
    assert "sugarcrepe_pp_text" not in guards_at_hand(["sugarcrepe"], tmp_path / "annotations")[0]


def test_a_guard_without_data_is_a_note_and_no_failure(put, paint, plant, tmp_path):
    put("sugarcrepe/swap_obj.json", {"0": {"filename": "1.png", "caption": "a", "negative_caption": "b"}})
    put("coco_karpathy_test.json", [{"image": "val2014/9.png", "caption": ["d"]}])
    paint({"val2017/1.png": 1})
    folders = (tmp_path / "annotations", tmp_path / "pictures")
    guards = ["coco_retrieval", "flickr30k_retrieval"]
    model = plant({(1, "a"): 0.5})
    report = evaluate(model, ["sugarcrepe"], *folders, guards=guards)
    assert not report.failures
    assert report.guards == ("coco_retrieval",)
    assert report.settings["guards"] == guards
    said = [note for note in report.notes if note.startswith("Not measured")]
    assert len(said) == 2
    assert "Flickr30k retrieval was asked for" in said[0]
    assert "none of its 1 items has its pictures" in said[1]
    assert not any("├──" in note for note in said)
    assert {row["benchmark"]: row["guard"] for row in report.to_dicts() if row["kind"] == "split"} == {
        "sugarcrepe": False, "coco_retrieval": True,
    }  # fmt: skip
    encode(model, ["sugarcrepe"], *folders, tmp_path / "cache", guards=guards)
    for wrong in (["sugarcrepe"], "coco_retrieval", ["coco_retrieval"] * 2):
        with pytest.raises(ValueError, match="guards is"):
            evaluate(model, ["sugarcrepe"], *folders, guards=wrong)


def test_a_limit_takes_items_all_over_the_file_and_says_so(put, paint, plant, tmp_path):
    records = {
        str(index): {"filename": f"{index}.png", "caption": "a", "negative_caption": "b"}
        for index in range(10)
    }
    put("sugarcrepe/swap_obj.json", records)
    paint({f"val2017/{index}.png": index for index in range(10)})
    model = plant({})
    folders = (tmp_path / "annotations", tmp_path / "pictures")
    report = evaluate(model, ["sugarcrepe"], *folders, limit=4)
    (row,) = report.rows
    assert (row.counts.items, row.counts.counted, report.settings["limit"]) == (10, 4, 4)
    assert {one for one in model.encoded if isinstance(one, int)} == {0, 2, 5, 7}
    assert any("At most 4 items of each split" in note for note in report.notes)
    assert evaluate(model, ["sugarcrepe"], *folders, limit=11).rows[0].counts.counted == 10
    with pytest.raises(ValueError, match="limit is 0"):
        evaluate(model, ["sugarcrepe"], *folders, limit=0)


@needs_bundled
def test_nouns_of_the_world_are_the_benchs_figure(lens):
    options = ReadOptions(world_seeds=(101,), world_count=30)
    (row,) = evaluate(lens, ["world_nouns"], options=options).rows
    expected = noun_accuracy(lens, list(make_scenes(30, 101, "heldout", objects=1)))
    assert row.score() == pytest.approx(100 * expected)
    assert row.metrics["top1"].chance == pytest.approx(100 / len(nouns()))
    assert row.metrics["top5"].wins >= row.metrics["top1"].wins


def recall_by_sorting(scores: np.ndarray, owner: np.ndarray, k: int) -> tuple[float, float]:
    """(picture to captions, caption to pictures) in percent, by sorting; right where nothing ties."""
    nearest = owner[np.argsort(-scores, axis=1)[:, :k]]
    by_picture = (nearest == np.arange(len(scores))[:, None]).any(1)
    by_text = (np.argsort(-scores.T, axis=1)[:, :k] == owner[:, None]).any(1)
    return 100 * by_picture.mean(), 100 * by_text.mean()


@needs_bundled
def test_retrieval_of_the_worlds_scenes(lens):
    options = ReadOptions(world_seeds=(101,), world_count=20)
    report = evaluate(lens, ["world_retrieval"], options=options)
    scenes = list(make_scenes(20, 101, "heldout"))
    captions = [list(dict.fromkeys(one.text for one in scene.captions)) for scene in scenes]
    owner = np.array([index for index, some in enumerate(captions) for _ in some])
    pictures = np.concatenate([lens.encode_image(lens.preprocess(scene.image)).numpy() for scene in scenes])
    texts = lens.encode_text([text for some in captions for text in some]).numpy()
    scores = (pictures / np.linalg.norm(pictures, axis=1, keepdims=True)) @ (
        texts / np.linalg.norm(texts, axis=1, keepdims=True)
    ).T
    for k in (1, 5):
        expected = recall_by_sorting(scores, owner, k)
        ours = [report.find("world_retrieval", f"{side} R@{k}") for side in ("i2t", "t2i")]
        assert ours == pytest.approx(expected, abs=1.01)  # a caption that two scenes share ties here


@needs_bundled
def test_retrieval_end_to_end_on_photographs(lens, shared, tmp_path):
    """Real photographs with their real captions, written as Salesforce writes them; one picture is not there."""
    index = json.loads((shared / "realset" / "index.json").read_text())["images"]
    records = [
        {"image": Path(one["image"]).name, "caption": one["captions"]} for one in index if one["captions"]
    ][:40]
    (tmp_path / "coco_karpathy_test.json").write_text(
        json.dumps([*records, {"image": "gone.jpg", "caption": ["x"]}])
    )
    report = evaluate(
        lens, ["coco_retrieval"], tmp_path, shared / "realset" / "images", cache=tmp_path / "cache"
    )
    (row,) = report.rows
    assert (row.counts.counted, row.counts.missing) == (41, 1)
    photos = [shared / "realset" / "images" / record["image"] for record in records]
    pictures = np.concatenate(
        [lens.encode_image(lens.preprocess(photo, "square")).numpy() for photo in photos]
    )
    texts = lens.encode_text([text for record in records for text in record["caption"]]).numpy()
    owner = np.array([index for index, record in enumerate(records) for _ in record["caption"]])
    unit = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in (pictures, texts)]
    expected = recall_by_sorting(unit[0] @ unit[1].T, owner, 5)
    assert [report.find("coco_retrieval", f"{side} R@5") for side in ("i2t", "t2i")] == pytest.approx(
        expected
    )
    assert row.metrics["t2i@5"].scored == len(owner)
