"""Shards read at any place, and scenes of the world drawn once."""

import io
import json
import os
import pickle
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

from clipsight.errors import ClipsightWarning, PictureError, Unsupported
from clipsight.pictures import read_picture
from clipsight.tune.data import scenes as scenes_file
from clipsight.tune.data import shards as shards_file
from clipsight.tune.data.opening import open_examples
from clipsight.tune.data.options import DataOptions
from clipsight.world import make_scenes, write_webdataset


def png(shade=0):
    content = io.BytesIO()
    Image.new("RGB", (5, 4), (shade, 9, 9)).save(content, "PNG")
    return content.getvalue()


def shard(path, members):
    with tarfile.open(path, "w") as file:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    return path


def expected_of(scenes):
    """(caption, roles, foils) that a scene's examples have."""
    for scene in scenes:
        spans = {one.text: one.spans for one in scene.captions}
        spans |= {foil.caption: foil.caption_spans for foil in scene.foils if foil.caption not in spans}
        for caption, places in spans.items():
            yield caption, places, tuple(foil.foil for foil in scene.foils if foil.caption == caption)


def letters(caption, spans):
    """Role of each letter of words that are no articles; phrases may be cut differently."""
    found = {}
    for start, end, role in spans:
        found.update({i: role for i in range(start, end) if not caption[i].isspace()})
    at = 0
    for word in caption.split(" "):
        if word in ("a", "an", "the"):
            for i in range(at, at + len(word)):
                found.pop(i, None)
        at += len(word) + 1
    return found


def same_as_scenes(examples, scenes):
    expected = list(expected_of(scenes))
    assert [one.caption for one in examples] == [caption for caption, _, _ in expected]
    assert [one.foils for one in examples] == [foils for _, _, foils in expected]
    for one, (caption, places, _) in zip(examples, expected, strict=True):
        assert letters(caption, one.spans) == letters(caption, places)


@pytest.fixture(scope="module")
def scenes():
    return list(make_scenes(12, 5, "train"))


def test_scenes_as_shards(tmp_path, monkeypatch, scenes):
    monkeypatch.setattr("clipsight.world.datasets._SHARD", 5)
    write_webdataset(tmp_path, 12, 5)
    several = open_examples(f"shards:{tmp_path}/scenes-{{000000..000002}}.tar")
    same_as_scenes(several, scenes)
    assert open_examples(f"shards:{tmp_path}/scenes-*.tar")[7] == several[7]
    one = open_examples(str(tmp_path / "scenes-000001.tar"))
    same_as_scenes(one, scenes[5:10])
    assert one.about["pictures"] == 5
    assert one[0].key == "scenes-000001.tar:train-5-0000005"
    for index in (len(one) - 1, 0):  # in any order
        number = int(one[index].key.rsplit("-", 1)[1])
        assert np.array_equal(read_picture(one[index].picture), scenes[number].image)
    first = open_examples(str(tmp_path / "scenes-000001.tar"), DataOptions(per_picture=2, roles="none"))
    assert [one.caption for one in first][:2] == [one.text for one in scenes[5].captions[:2]]
    assert (len(first), first[0].spans) == (10, None)


def test_shards_of_others(tmp_path):
    members = {
        "00/a.jpg": png(1), "00/a.txt": b" a red dog\n", "00/a.json": b'{"url": "x"}',
        "00/b.txt": b"a cat", "00/b.png": png(2),
        "c.PNG": png(3), "c.json": b'{"caption": "two cups", "neg_caption": "two mugs", "object_list": ["cups"]}',
        "c.mask.png": png(9),
    }  # fmt: skip
    path = shard(tmp_path / "one.tar", members)
    examples = open_examples(str(path), DataOptions(roles="rules"))
    assert [one.caption for one in examples] == ["a red dog", "a cat", "two cups"]
    assert [read_picture(one.picture).getpixel((0, 0))[0] for one in examples] == [1, 2, 3]
    assert [one.foils for one in examples] == [(), (), ("two mugs",)]


def test_members_of_other_names(tmp_path):
    members = {
        "a.input.jpg": png(1), "a.caption.txt": b"a dog", "b.png": png(2), "b.seg.png": png(3), "b.txt": b"a cat",
        "c.input.jpg": png(4), "c.target.jpg": png(5), "c.txt": b"a bus", "my.photo1.jpg": png(6),
        "my.photo2.jpg": png(7), "d.ppm": png(8), "d.txt": b"a cup", "e.jpg": png(9), "e.png": png(9), "e.txt": b"x",
    }  # fmt: skip
    path = shard(tmp_path / "one.tar", members)
    with pytest.warns(ClipsightWarning, match="3 records"):
        examples = open_examples(str(path), DataOptions(roles="none"))
    assert [one.caption for one in examples] == ["a dog", "a cat", "a cup"]
    assert [read_picture(one.picture).getpixel((0, 0))[0] for one in examples] == [1, 2, 8]
    assert [bad.reason.partition(":")[0] for bad in examples.malformed] == [
        "sample c",
        "sample my",
        "sample e",
    ]
    assert "c.input.jpg, c.target.jpg. Members are called KEY.jpg" in examples.malformed[0].reason


def test_a_member_that_stands_twice_is_named(tmp_path):
    path = tmp_path / "one.tar"
    with tarfile.open(path, "w") as file:
        for caption in (b"a dog", b"a cat"):
            for name, content in (("a.jpg", png()), ("a.txt", caption)):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                file.addfile(entry, io.BytesIO(content))
    with pytest.raises(ValueError, match=r"it has 2 members for its picture: a.jpg, a.jpg"):
        open_examples(str(path))


def test_spoiled_records_of_samples(tmp_path):
    members = {}
    for n, record in enumerate(
        (b'{"caption": "a", "caption": "b"}', b'{"caption": "caf\xe9"}', b"[" * 100_000)
    ):
        members |= {f"{n}.jpg": png(), f"{n}.json": record}
    members |= {"3.jpg": png(), "3.txt": b"caf\xe9", "4.jpg": b"", "4.txt": b"a dog"}
    with pytest.raises(ValueError, match=r"the first of 5: .*'caption' stands twice"):
        open_examples(str(shard(tmp_path / "one.tar", members)))


@pytest.mark.parametrize("damage", [b"", b"{}", b"[[[", "offset", "flip"])
def test_a_damaged_index_is_made_again(tmp_path, damage):
    path = shard(
        tmp_path / "one.tar", {"a.png": png(4), "a.txt": b"a dog", "b.png": png(5), "b.txt": b"a cat"}
    )
    options = DataOptions(cache=tmp_path / "cache", roles="none")
    before = open_examples(str(path), options)
    (index,) = (tmp_path / "cache").iterdir()
    content = index.read_bytes()
    if damage == "offset":
        damage = content.replace(b'"start": 512', b'"start": 513')
        assert damage != content
    elif damage == "flip":
        damage = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
    index.write_bytes(damage)
    after = open_examples(str(path), options)
    assert [one.caption for one in after] == ["a dog", "a cat"]
    assert [read_picture(one.picture).getpixel((0, 0))[0] for one in after] == [4, 5]
    assert after.about == before.about


def test_a_shard_that_changes_under_a_run_is_refused(tmp_path):
    path = shard(tmp_path / "one.tar", {"a.png": png(4), "a.txt": b"a dog"})
    examples = open_examples(str(path))
    shard(path, {"a.png": png(5), "a.txt": b"a dog"})
    with pytest.raises(PictureError, match="the shard was changed since it was opened"):
        examples[0]


def test_samples_that_cannot_be_used(tmp_path):
    members = {
        "a.png": png(), "a.txt": b"a dog", "b.txt": b"no picture", "c.png": png(), "d.png": png(), "d.txt": b"  ",
        "e.png": png(), "e.json": b"{", "f.png": b"no picture either", "f.txt": b"a cat",
    }  # fmt: skip
    path = shard(tmp_path / "one.tar", members)
    with pytest.warns(ClipsightWarning, match="4 records"):
        examples = open_examples(str(path))
    reasons = [
        "b: b has no picture",
        "c: no column is called",
        "d: its caption is blank",
        "e: its record is not JSON",
    ]
    assert [bad.line for bad in examples.malformed] == [2, 3, 4, 5]
    for bad, reason in zip(examples.malformed, reasons, strict=True):
        assert f"sample {reason}" in bad.reason
    with pytest.raises(PictureError, match=r"one.tar:f: cannot read the picture 'one.tar@\d+'"):
        examples[1]


def test_a_shard_that_ends_early(tmp_path):
    path = shard(
        tmp_path / "one.tar", {"a.png": png(), "a.txt": b"a dog", "b.txt": b"a cat", "b.png": png() * 50}
    )
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.warns(ClipsightWarning, match="the file is no whole tar"):
        examples = open_examples(str(path))
    assert [one.caption for one in examples] == ["a dog"]
    (tmp_path / "two.tar").write_bytes(b"\x1f\x8b nothing of the kind")
    with pytest.raises(ValueError, match=r"no whole tar .*compressed ones must be unpacked"):
        open_examples(str(tmp_path / "two.tar"))


def test_shards_that_are_not_there(tmp_path):
    shard(tmp_path / "s-0.tar", {"a.png": png(), "a.txt": b"a dog"})
    with pytest.raises(FileNotFoundError, match=r"s-1.tar' is not there"):
        open_examples(f"shards:{tmp_path}/s-{{0..1}}.tar")
    with pytest.raises(FileNotFoundError, match="no file fits"):
        open_examples(f"shards:{tmp_path}/t-*.tar")


def test_braces_without_their_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "braceexpand", None)
    with pytest.raises(Unsupported, match=r'pip install "clipsight\[tune\]"; or write "\*"'):
        open_examples("shards:s-{0..1}.tar")


def test_a_shard_is_searched_once(tmp_path, monkeypatch):
    path = shard(tmp_path / "one.tar", {"a.png": png(4), "a.txt": b"a dog"})
    options = DataOptions(cache=tmp_path / "cache")
    before = open_examples(str(path), options)
    searched = []
    plain = shards_file._read
    monkeypatch.setattr(shards_file, "_read", lambda path: searched.append(path) or plain(path))
    after = open_examples(str(path), options)
    assert (after[0].caption, after.about, searched) == ("a dog", before.about, [])
    shard(path, {"a.png": png(5), "a.txt": b"a cat"})
    os.utime(path, ns=(1, 1))
    assert open_examples(str(path), options)[0].caption == "a cat"
    assert searched == [path]


def test_the_world(scenes):
    examples = open_examples("world:5:12")
    same_as_scenes(examples, scenes)
    assert examples.about["roles"]["extractor"] == "column"
    for one in (examples[0], examples[len(examples) - 1]):
        assert np.array_equal(one.picture, np.asarray(scenes[int(one.key.split("/")[1])].image))
    assert all(scene.split == "train" for scene in scenes)
    two = open_examples("world:5:12", DataOptions(per_picture=2, limit=5, roles="rules"))
    assert [one.key for one in two] == ["world:5/0", "world:5/0", "world:5/1", "world:5/1", "world:5/2"]
    assert two.about["roles"]["extractor"] == "rules"


def test_scenes_are_drawn_once_and_go_on(tmp_path, monkeypatch, scenes):
    monkeypatch.setattr(scenes_file, "PIECE", 4)
    drawn, told = [], []
    plain = scenes_file._drawn

    def draw(piece):
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(piece.start)
        return plain(piece)

    monkeypatch.setattr(scenes_file, "_drawn", draw)
    options = DataOptions(cache=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        open_examples("world:5:12", options)
    assert drawn == [0, 4]
    monkeypatch.setattr(scenes_file, "_drawn", lambda piece: drawn.append(piece.start) or plain(piece))
    examples = open_examples("world:5:12", options, progress=lambda *said: told.append(said))
    assert drawn == [0, 4, 8]
    assert told == [("scenes", 12, 12)]
    same_as_scenes(examples, scenes)
    again = open_examples("world:5:12", options)
    assert drawn == [0, 4, 8]
    assert again.about == examples.about == open_examples("world:5:12").about
    sent = pickle.loads(pickle.dumps(again))
    for index in (0, 30, len(again) - 1):
        assert np.array_equal(sent[index].picture, again[index].picture)
        number = int(again[index].key.split("/")[1])
        assert np.array_equal(again[index].picture, np.asarray(scenes[number].image))
    assert len(pickle.dumps(again)) < 12 * 112 * 112 * 3 / 4
    with_more = open_examples("world:5:14", options)
    assert drawn == [0, 4, 8, 0, 4, 8, 12]  # the last: the call without a cache drew all, this one the rest
    assert with_more[len(examples)].key == "world:5/12"
    for path in tmp_path.iterdir():
        path.unlink()  # as another process that needs the room
    assert np.array_equal(pickle.loads(pickle.dumps(again))[0].picture, again[0].picture)


@pytest.mark.slow
def test_scenes_do_not_depend_on_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(scenes_file, "PIECE", 2)
    alone = open_examples("world:5:5")
    together = open_examples("world:5:5", DataOptions(processes=2, cache=tmp_path))
    assert together.about == alone.about
    assert all(np.array_equal(a.picture, b.picture) for a, b in zip(alone, together, strict=True))


def test_another_size():
    (example,) = open_examples("world:5:1", DataOptions(scene_size=48, limit=1))
    assert example.picture.shape == (48, 48, 3)


def test_older_shards_lack_roles_of_foils(tmp_path):
    record = {
        "captions": [{"text": "a dog", "spans": [[2, 5, "object"]]}],
        "foils": [
            {"kind": "replace_obj", "caption": "a dog", "foil": "a cat"},
            {"kind": "replace_obj", "caption": "one dog", "foil": "one cat"},
        ],
    }
    path = shard(tmp_path / "one.tar", {"a.png": png(), "a.json": json.dumps(record).encode()})
    assert [(one.caption, one.foils) for one in open_examples(str(path))] == [("a dog", ("a cat",))]
    by_rules = open_examples(str(path), DataOptions(roles="rules"))
    assert [one.caption for one in by_rules] == ["a dog", "one dog"]
