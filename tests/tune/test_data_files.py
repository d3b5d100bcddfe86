"""Training data by name: tables, lines of JSON, COCO's captions, and what of them cannot be used."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipsight.errors import ClipsightWarning
from clipsight.pictures import read_picture
from clipsight.tune.data.example import Example, Examples
from clipsight.tune.data.opening import open_examples
from clipsight.tune.data.options import DataOptions

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
NEGCLIP = SHARED / "annotations" / "aro" / "valid_neg_clip.tsv"
REALSET = SHARED / "realset"


@pytest.fixture
def images(tmp_path):
    """A folder with a.png, b.png and sub/c.png, each of one colour."""
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for shade, name in enumerate(("a.png", "b.png", "sub/c.png")):
        Image.new("RGB", (8, 6), (shade, 100, 200)).save(folder / name)
    return folder


def table(path, rows, delimiter="\t"):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return str(path)


def opened(name, images, **options):
    return open_examples(name, DataOptions(images=images, **options))


def shades(examples):
    """Which picture each example has, by its red."""
    return [read_picture(one.picture).getpixel((0, 0))[0] for one in examples]


@pytest.mark.parametrize(("suffix", "delimiter"), [("tsv", "\t"), ("csv", ","), ("csv", "\t"), ("tsv", ",")])
def test_a_table(tmp_path, images, suffix, delimiter):
    rows = [
        ("filepath", "title"),
        ("a.png", "a red dog, sleeping"),
        ("sub/c.png", 'a cat\nbehind "a" car'),
        ("deep/down/b.png", "two\tcups"),
    ]
    name = table(tmp_path / f"data.{suffix}", rows, delimiter)
    examples = opened(name, images)
    assert isinstance(examples, Examples)
    assert [one.caption for one in examples] == [caption for _, caption in rows[1:]]
    assert shades(examples) == [0, 2, 1]  # the last by its last part alone
    assert [one.key for one in examples] == [f"data.{suffix}:{line}" for line in (2, 3, 5)]
    assert examples[0].spans == ((2, 5, "attribute"), (6, 9, "object"), (11, 19, "relation"))
    assert examples.about["roles"]["extractor"] == "rules"
    assert (examples.about["count"], examples.about["pictures"], len(examples)) == (3, 3, 3)
    assert examples.about["malformed"] == 0
    with pytest.raises(IndexError):
        examples[3]


def test_the_folder_of_the_file_is_the_images_folder(images):
    name = table(images / "data.tsv", [("filepath", "title"), ("sub/c.png", "a dog")])
    assert shades(open_examples(name)) == [2]


@pytest.mark.parametrize(
    ("columns", "cells"),
    [
        (("roles",), ('[[2, 5, "attribute"], [6, 9, "object"]]',)),
        (("object_list", "attribute_list"), ("['dog']", "['red']")),
        (("objects", "attributes"), ("[[6, 9]]", '[[2, 5, "red"]]')),
    ],
)
def test_columns_of_roles(tmp_path, images, columns, cells):
    rows = [("filepath", "title", *columns), ("a.png", "a red dog sleeps", *cells)]
    name = table(tmp_path / "data.tsv", rows)
    expected = ((2, 5, "attribute"), (6, 9, "object"))
    for roles in ("auto", "column"):
        examples = opened(name, images, roles=roles)
        assert examples[0].spans == expected
        assert examples.about["roles"] == {"extractor": "column", "version": "1"}
    by_rules = opened(name, images, roles="rules")
    assert by_rules[0].spans == (*expected, (10, 16, "relation"))
    assert by_rules.about["fingerprint"] != examples.about["fingerprint"]
    nobody = opened(name, images, roles="none")
    assert nobody[0].spans is None
    assert nobody.about["roles"] is None


@pytest.mark.parametrize("column", ["neg_caption", "neg_captions"])
def test_foils(tmp_path, images, column):
    cells = {
        "['a cat\\'s dog', \"a dog's cat\"]": ("a cat's dog", "a dog's cat"),
        '["a \\u00e9t\\u00e9"]': ("a été",),
        "a single one": ("a single one",),
        "[]": (),
        "": (),
    }
    rows = [("filepath", "title", column), *(("a.png", f"dog {n}", cell) for n, cell in enumerate(cells))]
    examples = opened(table(tmp_path / "data.tsv", rows), images)
    assert [one.foils for one in examples] == list(cells.values())


def test_lines_of_json(tmp_path, images):
    lines = [
        {"image": "a.png", "caption": ["a dog", "a red dog"], "neg_captions": ["a cat"]},
        {"image": "b.png", "caption": "a cup"},
        {"image": "a.png", "caption": "a third of the first"},
    ]
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    examples = opened(str(path), images)
    assert [(one.caption, one.foils) for one in examples] == [
        ("a dog", ("a cat",)), ("a red dog", ("a cat",)), ("a cup", ()), ("a third of the first", ()),
    ]  # fmt: skip
    assert [one.caption for one in opened(str(path), images, per_picture=1)] == ["a dog", "a cup"]
    assert [one.caption for one in opened(str(path), images, limit=2)] == ["a dog", "a red dog"]


def test_what_cannot_be_used_is_named(tmp_path, images):
    path = tmp_path / "data.tsv"
    path.write_text(
        "filepath\ttitle\troles\tneg_caption\n"
        'a.png\ta dog\t[[2, 5, "object"]]\t\n'
        "a.png\ta dog\n"
        'gone.png\ta dog\t[[2, 5, "object"]]\t\n'
        'a.png\t \t[[2, 5, "object"]]\t\n'
        'a.png\ta dog\t[[2, 50, "object"]]\t\n'
        'a.png\ta dog\t[[2, 5, "object"]]\t[\'a cat\n'
        'b.png\ta cat\t[[2, 5, "object"]]\t\n'
    )
    with pytest.warns(ClipsightWarning, match=r"5 records of .*data.tsv.*data.tsv:3: .*2 examples are there"):
        examples = opened(str(path), images)
    assert [one.key for one in examples] == ["data.tsv:2", "data.tsv:8"]
    assert [(bad.file, bad.line) for bad in examples.malformed] == [("data.tsv", n) for n in (3, 4, 5, 6, 7)]
    for bad, reason in zip(
        examples.malformed,
        (
            "2 cells under 4 names",
            "no picture 'gone.png'",
            "'title' is blank",
            "not inside the caption",
            "is none",
        ),
        strict=True,
    ):
        assert reason in bad.reason
    assert examples.about["malformed"] == 5


def test_data_is_of_one_kind(tmp_path, images):
    path = tmp_path / "data.jsonl"
    rows = [
        {"image": "a.png", "caption": "a dog", "objects": ["dog"]},
        {"image": "a.png", "caption": "a cat"},
    ]
    for order, said in ((rows, "no roles of its own"), (rows[::-1], "roles of its own")):
        path.write_text("\n".join(map(json.dumps, order)))
        with pytest.warns(ClipsightWarning, match=f"data.jsonl:2: it has {said}, unlike the first"):
            assert len(opened(str(path), images)) == 1
    path.write_text(json.dumps(rows[1]))
    with pytest.raises(ValueError, match="no columns of roles, which roles='column' asks for"):
        opened(str(path), images, roles="column")
    assert len(opened(str(path), images, roles="rules")) == 1


@pytest.mark.parametrize("cached", [False, True])
def test_the_fingerprint_is_that_of_the_contents(tmp_path, images, cached):
    rows = [("filepath", "title"), ("a.png", "a dog"), ("b.png", "a cat")]
    options = {"cache": tmp_path / "cache"} if cached else {}

    def mark(rows):
        return opened(table(tmp_path / "data.tsv", rows), images, **options).about["fingerprint"]

    first = mark(rows)
    assert mark(rows) == first
    assert mark([rows[0], ("b.png", "a dog"), ("a.png", "a cat")]) != first
    assert mark([rows[0], rows[2], rows[1]]) != first
    (images / "other.png").write_bytes((images / "a.png").read_bytes())
    assert mark([rows[0], ("other.png", "a dog"), rows[2]]) == first  # the same picture elsewhere
    one, two = (images / name for name in ("a.png", "b.png"))
    spare = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(spare)
    assert mark(rows) != first  # the same names and captions, the pictures exchanged
    one.write_bytes(spare[:-1])
    assert mark(rows) not in (first, mark([rows[0], ("b.png", "a dog"), ("b.png", "a cat")]))


def test_fingerprints_of_pictures_are_taken_once(tmp_path, images, monkeypatch):
    from clipsight.tune.data import files

    name = table(tmp_path / "data.tsv", [("filepath", "title"), ("a.png", "a dog"), ("b.png", "a cat")])
    read = []
    plain = files.file_digest
    monkeypatch.setattr(files, "file_digest", lambda *given: read.append(given) or plain(*given))
    first = opened(name, images, cache=tmp_path / "cache").about
    assert len(read) == 2
    assert opened(name, images, cache=tmp_path / "cache").about == first
    assert len(read) == 2
    Image.new("RGB", (9, 9)).save(images / "b.png")
    assert opened(name, images, cache=tmp_path / "cache").about != first
    assert len(read) == 3


def test_backslashes_in_paths(tmp_path, images):
    rows = [("filepath", "title"), ("sub\\c.png", "a dog"), ("C:\\data\\b.png", "a cat")]
    assert shades(opened(table(tmp_path / "data.tsv", rows), images)) == [2, 1]


def test_captions_of_pictures_that_are_not_listed_or_twice(tmp_path, images):
    pictures = [
        {"id": 1, "file_name": "a.png"},
        {"id": 1, "file_name": "b.png"},
        {"id": 2, "file_name": "b.png"},
    ]
    notes = [{"image_id": n, "caption": f"picture {n}"} for n in (1, 2, 7, 7)]
    name = coco(tmp_path / "captions.json", pictures, notes)
    with pytest.warns(ClipsightWarning, match="3 records"):
        examples = opened(name, images)
    assert [one.caption for one in examples] == ["picture 1", "picture 2"]
    reasons = [bad.reason for bad in examples.malformed]
    assert "images[1]: the id 1 stands twice" in reasons
    assert sum("the picture 7, which 'images' does not list" in reason for reason in reasons) == 2


def test_nothing_to_train_on(tmp_path, images):
    name = table(tmp_path / "data.tsv", [("filepath", "title"), ("gone.png", "a dog"), ("lost.png", "a cat")])
    with pytest.raises(ValueError, match=r"the first of 2: data.tsv:2: there is no picture 'gone.png'"):
        opened(name, images)
    with pytest.raises(ValueError, match="it is empty"):
        opened(table(tmp_path / "empty.tsv", [("filepath", "title")]), images)
    with pytest.raises(ValueError, match="no column is called"):
        opened(table(tmp_path / "names.tsv", [("where", "what"), ("a.png", "a dog")]), images)


def test_names_that_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="not there"):
        open_examples(str(tmp_path / "gone.tsv"))
    for name in ("world:7", "world:x:3", "data.txt", "coco"):
        with pytest.raises(ValueError, match="is not known by its name"):
            open_examples(name)
    with pytest.raises(ValueError, match="it is empty"):
        open_examples("world:7:0")
    with pytest.raises(ValueError, match="roles is 'magic'"):
        DataOptions(roles="magic")
    with pytest.raises(ValueError, match="limit is 0"):
        DataOptions(limit=0)
    with pytest.raises(ValueError, match="at least 32"):
        DataOptions(scene_size=8)


def coco(path, images, annotations):
    path.write_text(json.dumps({"info": {}, "images": images, "annotations": annotations}))
    return f"coco:{path}"


def test_coco(tmp_path, images):
    pictures = [
        {"id": 7, "file_name": "b.png"},
        {"id": 3, "file_name": "a.png"},
        {"id": 5, "file_name": "x.png"},
    ]
    said = [(3, "a dog"), (7, "a cat"), (3, "a red dog"), (5, "nobody sees it")]
    notes = [{"image_id": image, "id": n, "caption": caption} for n, (image, caption) in enumerate(said)]
    name = coco(tmp_path / "captions.json", pictures, [*notes, {"image_id": 3, "caption": 8}])
    with pytest.warns(ClipsightWarning, match="2 records"):
        examples = opened(name, images)
    assert [one.caption for one in examples] == ["a cat", "a dog", "a red dog"]
    assert shades(examples) == [1, 0, 0]
    assert [bad.reason.split(":")[0] for bad in examples.malformed] == ["annotations[4]", "images[2]"]
    with pytest.warns(ClipsightWarning, match="2 records"):
        assert len(opened(name, images, per_picture=1)) == 2


def test_karpathy_trains_on_his_training_pictures(tmp_path, images):
    splits = (("a.png", "train"), ("b.png", "test"), ("c.png", "restval"), ("b.png", "val"))
    pictures = [
        {"filename": name, "filepath": "sub", "split": split, "sentences": [{"raw": f"{split} of {name}"}]}
        for name, split in splits
    ]
    path = tmp_path / "dataset_coco.json"
    path.write_text(json.dumps({"images": pictures, "dataset": "coco"}))
    examples = opened(f"coco:{path}", images)
    assert [one.caption for one in examples] == ["train of a.png", "restval of c.png"]
    assert shades(examples) == [0, 2]


def test_a_file_that_is_no_coco(tmp_path):
    path = tmp_path / "captions.json"
    for text in ("[1, 2]", "{}", '{"images": 3}', '{"images": [], "annotations": 3}', "nothing"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"nothing in .* can be trained on"):
            open_examples(f"coco:{path}")


@pytest.mark.slow
@pytest.mark.skipif(not NEGCLIP.is_file(), reason="needs ../shared/annotations")
def test_negclips_own_file(tmp_path):
    """4,828 rows, counted when the file was taken; its pictures are elsewhere, so empty files stand for them."""
    with NEGCLIP.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    (tmp_path / "coco" / "val2014").mkdir(parents=True)
    for row in rows:
        (tmp_path / row["filepath"]).touch()
    examples = open_examples(str(NEGCLIP), DataOptions(images=tmp_path, cache=tmp_path))
    assert (len(examples), examples.malformed) == (4828, ())
    assert sum("\n" in one.caption for one in examples) == 8
    assert [one.caption for one in examples] == [row["title"] for row in rows]
    assert examples[0].foils == (
        "A umbrella holding a flowered child and petting a yak .",
        "A child petting a flowered umbrella and holding a yak .",
    )
    assert all(one.foils for one in examples)
    assert open_examples(str(NEGCLIP), DataOptions(images=tmp_path, cache=tmp_path)).about == examples.about


@pytest.mark.skipif(not REALSET.is_dir(), reason="needs ../shared/realset")
def test_photographs_of_coco(tmp_path):
    index = json.loads((REALSET / "index.json").read_text())["images"]
    pictures, notes = [], []
    for number, one in enumerate(index):
        pictures.append({"id": number, "file_name": Path(one["image"]).name})
        notes += [{"image_id": number, "caption": caption} for caption in one["captions"]]
    examples = opened(coco(tmp_path / "captions.json", pictures, notes), REALSET / "images", per_picture=2)
    assert len(examples) == 2 * examples.about["pictures"] == 2 * 113
    assert np.asarray(read_picture(examples[0].picture)).std() > 5
    assert isinstance(examples[0], Example)
