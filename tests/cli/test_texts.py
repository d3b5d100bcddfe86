"""The words of a command: one flag, several values, and notes on what may be meant otherwise."""

import json
from pathlib import Path

import pytest

from clipsight.cli.texts import comma_notes


@pytest.mark.parametrize(
    "words",
    [
        ("-t", "dog", "cat"),
        ("-t", "dog", "-t", "cat"),
        ("--text", "dog", "cat"),
        ("--label", "dog", "--text", "cat"),
        ("--name", "dog", "cat"),
        ("--name=dog", "-tcat"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("verb", ["explain", "classify", "points"])
def test_one_flag_takes_several_words_and_its_former_names(lens, run, verb, words):
    assert run(verb, "dog.jpg", *words)[0] == 0
    asked = lens.asked[0]
    assert asked.get("texts", asked.get("labels")) == ("dog", "cat")


def test_images_may_come_after_the_words(lens, run):
    assert run("explain", "-t", "a dog", "a cat", "dog.jpg", "*.png")[0] == 1  # broken.png is among them
    assert {asked["image"] for asked in lens.asked} == {"dog.jpg", "cat.png", "broken.png"}
    assert {asked["texts"] for asked in lens.asked} == {("a dog", "a cat")}
    Path("dog").mkdir()
    lens.asked.clear()
    assert run("explain", "cat.png", "-t", "dog", "sea.jpg", "--overwrite")[0] == 0
    assert lens.asked[0]["texts"] == ("dog", "sea.jpg")  # a folder called dog, and no such file


def test_a_text_given_twice_counts_once_and_is_noted(lens, run):
    Path("labels.txt").write_text("cat\nbird\n")
    code, _, err = run("classify", "dog.jpg", "-t", "dog", "cat", "dog", "--texts-file", "labels.txt")
    assert (code, lens.asked[0]["labels"]) == (0, ("dog", "cat", "bird"))
    assert err == 'clipsight: note: "dog", "cat" were given more than once and count once.\n'


def test_commas_are_not_silently_one_phrase(lens, run):
    code, out, err = run("explain", "dog.jpg", "-t", "dog, big cat", "--json")
    assert (code, lens.asked[0]["texts"]) == (0, ("dog, big cat",))
    assert err == 'clipsight: note: "dog, big cat" is asked as one text; for 2 texts type -t dog "big cat".\n'
    assert json.loads(out)["results"]


@pytest.mark.parametrize(
    ("texts", "count"),
    [
        (["dog"], 0),
        (["a dog, which is running across the field"], 0),  # a sentence
        (["dog,cat"], 1),
        (["1,000 dogs of many kinds"], 0),
        (["dog,"], 0),
        (["a", "red", "car"], 1),
        (["red", "car"], 0),
        (["dog, cat", "sky, sea"], 2),
    ],
)
def test_notes_only_where_something_else_may_be_meant(texts, count):
    assert len(comma_notes(texts)) == count


def test_words_without_quotation_marks_are_said_to_be_a_phrase(lens, run):
    _, _, err = run("explain", "dog.jpg", "-t", "a", "red", "car")
    assert 'type -t "a red car"' in err


def test_a_file_of_texts_is_split_at_line_ends_alone(lens, run):
    Path("texts.txt").write_bytes("a\u2028b\r\nc\x0bd\n\n e ".encode())
    run("explain", "dog.jpg", "--texts-file", "texts.txt")
    assert lens.asked[0]["texts"] == ("a\u2028b", "c\x0bd", "e")


def test_a_folder_is_its_images_without_results_and_other_files(lens, run):
    folder = Path("photos")
    folder.mkdir()
    for name in ("b.JPG", "a.png", "c.jfif", "a.explain.png", ".hidden.png"):
        (folder / name).write_bytes(Path("dog.jpg").read_bytes())
    (folder / "notes.txt").write_text("mine")
    (folder / "below").mkdir()
    code, _, err = run("explain", "photos", "dog.jpg", "-t", "dog")
    assert code == 0
    names = [Path(asked["image"]).as_posix() for asked in lens.asked]
    assert names == ["photos/a.png", "photos/b.JPG", "photos/c.jfif", "dog.jpg"]
    assert err == ("clipsight: note: of photos, 3 images are read, without 1 other file and 1 result file.\n")
    code, _, err = run("explain", "photos/below", "-t", "dog")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "holds no image" in err
