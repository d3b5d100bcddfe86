"""Corpora of every kind are read, and rows that cannot be are named."""

import json

import pytest
from PIL import Image

from clipsight.bench.word_gap import Corpus, CorpusCaption, CorpusOptions
from clipsight.records import Malformed
from clipsight.world import make_scene
from clipsight.world.datasets import write_tsv

PLAIN = CorpusOptions(foils=False)


def read(name, options: CorpusOptions = PLAIN) -> tuple[list[CorpusCaption], list[str]]:
    found = list(Corpus(str(name), options))
    captions = [one for one in found if isinstance(one, CorpusCaption)]
    return captions, [str(one) for one in found if isinstance(one, Malformed)]


def test_lines_of_text_are_captions_alone(tmp_path):
    file = tmp_path / "captions.txt"
    file.write_bytes(
        "\ufeffa red car left of a dog\n\n  two cats  \n\xff\n".encode("utf-8", "surrogateescape")
        + b"a \xff dog\n"
    )
    captions, malformed = read(file)
    assert [(one.caption, one.line) for one in captions][:2] == [
        ("a red car left of a dog", 1),
        ("two cats", 3),
    ]
    assert captions[0].picture is None
    assert captions[0].roles.texts("object") == ("car", "dog")
    assert captions[0].roles.extractor == "rules"
    assert malformed == ["captions.txt:5: the line is not UTF-8; save the file in that encoding"]
    assert not Corpus(str(file)).pictured


@pytest.mark.parametrize("ending", ["tsv", "csv", "jsonl", "json"])
def test_tables_and_lists_with_pictures(tmp_path, ending):
    rows = [{"image": "a.png", "caption": "a red car"}, {"image": "sub/b.png", "caption": "a dog, on grass"}]
    file = tmp_path / f"pairs.{ending}"
    if ending == "json":
        file.write_text(json.dumps(rows))
    elif ending == "jsonl":
        file.write_text("\n".join(map(json.dumps, rows)))
    else:
        mark = "\t" if ending == "tsv" else ","
        file.write_text(
            "\n".join([f"image{mark}caption", *(f'{row["image"]}{mark}"{row["caption"]}"' for row in rows)])
        )
    captions, malformed = read(file)
    assert not malformed
    assert [one.caption for one in captions] == ["a red car", "a dog, on grass"]
    assert [one.picture for one in captions] == [tmp_path / "a.png", tmp_path / "sub/b.png"]
    assert len({one.cluster for one in captions}) == 2
    elsewhere, _ = read(file, CorpusOptions(foils=False, images=tmp_path / "there"))
    assert elsewhere[0].picture == tmp_path / "there" / "a.png"
    alone, _ = read(file, CorpusOptions(foils=False, pictures=False))
    assert alone[0].picture is None


def test_rows_that_cannot_be_read_are_named_and_counted(tmp_path):
    file = tmp_path / "rows.jsonl"
    lines = [
        '{"caption": "a dog"}',
        "{",
        '{"text": ""}',
        '["a dog"]',
        '{"words": "a dog"}',
        '{"caption": "a cat"}',
    ]
    file.write_text("\n".join(lines))
    captions, malformed = read(file)
    assert [one.caption for one in captions] == ["a dog", "a cat"]
    assert [line.split(": ")[0] for line in malformed] == [f"rows.jsonl:{n}" for n in (2, 3, 4, 5)]
    assert "no column is called caption" in malformed[3]


def test_rows_without_their_picture_are_named(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("caption,filepath\na dog,a.png\na cat,\n")
    captions, malformed = read(file)
    assert len(captions) == 1
    assert malformed == ["rows.csv:3: 'filepath' is blank"]


def test_roles_of_the_corpus_itself(tmp_path):
    file = tmp_path / "roles.jsonl"
    rows = [
        {"caption": "a red car", "roles": [[2, 5, "attribute"], [6, 9, "object"]]},
        {"caption": "a red car", "roles": '[[2, 5, "object"]]'},
        {"caption": "a red car", "roles": [[2, 50, "attribute"]]},
        {"caption": "a red car", "roles": "none"},
        {"caption": "a red car"},
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    captions, malformed = read(file)
    assert [one.roles.roles for one in captions] == [
        ("other", "attribute", "object"),
        ("other", "object", "other"),
    ]
    assert {one.roles.extractor for one in captions} == {"column"}
    assert [line.split(":")[1] for line in malformed] == ["3", "4", "5"]
    assert "unlike the first" in malformed[2]
    by_rules, _ = read(file, CorpusOptions(roles="rules", foils=False))
    assert len(by_rules) == 5


def test_columns_as_published_files_have_them(tmp_path):
    file = tmp_path / "macco.tsv"
    file.write_text(
        "filepath\ttitle\tobject_list\tattribute_list\trelation_list\n"
        "1.jpg\ta man riding a brown horse\t['man', 'horse']\t['brown', 'the']\t['riding']\n"
    )
    (one,), malformed = read(file)
    assert not malformed
    assert one.roles.roles == ("other", "object", "relation", "other", "attribute", "object")


def test_cocos_captions_and_karpathys_split(tmp_path):
    file = tmp_path / "captions_val.json"
    file.write_text(
        json.dumps(
            {
                "images": [{"id": 7, "file_name": "7.jpg"}, {"id": 8, "file_name": "8.jpg"}],
                "annotations": [
                    {"image_id": 7, "id": 1, "caption": "a dog"},
                    {"image_id": 8, "id": 2, "caption": "a cat"},
                    {"image_id": 7, "id": 3, "caption": "the dog again"},
                ],
            }
        )
    )
    captions, malformed = read(file)
    assert not malformed
    assert [(one.picture.name, one.caption) for one in captions] == [("7.jpg", "a dog"), ("8.jpg", "a cat")]
    every, _ = read(file, CorpusOptions(foils=False, per_picture=5))
    assert [one.caption for one in every] == ["a dog", "the dog again", "a cat"]
    assert len({one.cluster for one in every}) == 2
    split = tmp_path / "dataset_coco.json"
    image = {"split": "test", "filename": "9.jpg", "filepath": "val2014", "sentences": [{"raw": "a bird"}]}
    split.write_text(json.dumps({"images": [image, {**image, "split": "train"}]}))
    (one,), _ = read(split)
    assert one.picture == tmp_path / "val2014/9.jpg"


def test_the_world_has_true_roles_pictures_and_foils():
    corpus = Corpus("world:101,102:4", CorpusOptions(limit=11))
    captions = list(corpus)
    scene = make_scene(0, 101)
    assert captions[0].caption == scene.captions[0].text
    assert captions[0].roles.extractor == "column"
    assert captions[0].picture.size == scene.image.size
    assert {foil.kind for foil in captions[0].foils} == {foil.kind for foil in scene.foils}
    assert not captions[1].foils
    assert {one.cluster.split("/")[1] for one in captions} == {"101", "102"}
    assert len(captions) == corpus.about() == 11
    alone = Corpus("world:101:1", CorpusOptions(pictures=False))
    assert not alone.pictured
    assert next(iter(alone)).picture is None


def test_a_written_world_is_read_as_it_was(tmp_path):
    write_tsv(tmp_path / "world", 2, seed=5, split="heldout")
    captions, malformed = read(tmp_path / "world" / "captions.tsv")
    assert not malformed
    assert len(captions) == 10
    scene = make_scene(0, 5)
    spans = {
        (word.text, role) for word, role in zip(captions[0].roles.words, captions[0].roles.roles, strict=True)
    }
    first, last, role = scene.captions[0].spans[-1]
    assert (scene.captions[0].text[first:last].split()[-1], role) in spans
    with Image.open(captions[0].picture) as picture:
        assert picture.size == scene.image.size


def test_foils_are_made_where_none_are_given(tmp_path):
    file = tmp_path / "captions.txt"
    file.write_text("a red car left of a dog\n")
    (one,) = Corpus(str(file))
    foils = {foil.kind: foil.foil for foil in one.foils}
    assert foils["replace_rel"] == "a red car right of a dog"
    assert {foil.caption for foil in one.foils} == {one.caption}


def test_what_is_no_corpus(tmp_path):
    with pytest.raises(ValueError, match=r"neither a file of captions .* nor scenes"):
        Corpus("captions.doc")
    with pytest.raises(FileNotFoundError, match="not there"):
        Corpus(str(tmp_path / "no.txt"))
    with pytest.raises(ValueError, match="have true ones"):
        Corpus("world:1:1", CorpusOptions(roles="rules"))
    with pytest.raises(ValueError, match="rules"):
        CorpusOptions(roles="rule")
    with pytest.raises(ValueError, match="1 or more"):
        CorpusOptions(limit=0)
