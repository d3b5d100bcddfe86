"""The two layouts can be read back with what others read them with."""

import csv
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipsight.world import make_scenes, nouns, write_tsv, write_voc, write_webdataset

COUNT, SEED = 4, 2


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_tsv_rows_are_the_captions(tmp_path: Path):
    write_tsv(tmp_path / "set", COUNT, SEED, "train")
    with (tmp_path / "set/captions.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    scenes = list(make_scenes(COUNT, SEED, "train"))
    assert [row["title"] for row in rows] == [c.text for scene in scenes for c in scene.captions]
    assert [json.loads(row["roles"]) for row in rows] == [
        [list(s) for s in c.spans] for scene in scenes for c in scene.captions
    ]
    assert np.array_equal(_pixels(tmp_path / "set" / rows[0]["filepath"]), np.asarray(scenes[0].image))


def test_webdataset_shards_hold_each_key_together(tmp_path: Path):
    write_webdataset(tmp_path, COUNT, SEED, "train")
    with tarfile.open(tmp_path / "scenes-000000.tar") as shard:
        names = shard.getnames()
        assert [name.rsplit(".", 1)[1] for name in names] == ["png", "txt", "json"] * COUNT
        assert all(len({n.rsplit(".", 1)[0] for n in names[i : i + 3]}) == 1 for i in range(0, len(names), 3))
        picture, text, facts = (shard.extractfile(name) for name in names[:3])
        assert picture is not None
        assert text is not None
        assert facts is not None
        scene = next(make_scenes(1, SEED, "train"))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(picture.read()))), np.asarray(scene.image))
        assert text.read().decode() == scene.captions[0].text
        assert [o["name"] for o in json.load(facts)["objects"]] == [o.name for o in scene.objects]


def test_voc_labels_are_the_masks(tmp_path: Path):
    write_voc(tmp_path, COUNT, SEED)
    classes = (tmp_path / "classes.txt").read_text().split("\n")[:-1]
    assert classes == ["background", *nouns()]
    listed = (tmp_path / "ImageSets/Segmentation/heldout.txt").read_text().split()
    for name, scene in zip(listed, make_scenes(COUNT, SEED), strict=True):
        labels = _pixels(tmp_path / f"SegmentationClass/{name}.png")
        objects = _pixels(tmp_path / f"SegmentationObject/{name}.png")
        assert _pixels(tmp_path / f"JPEGImages/{name}.jpg").shape == (*labels.shape, 3)
        for number, (item, mask) in enumerate(zip(scene.objects, scene.masks, strict=True), 1):
            assert (labels[mask] == classes.index(item.name)).all()
            assert np.array_equal(objects == number, mask)
        assert np.array_equal(labels == 0, ~scene.masks.any(0))


@pytest.mark.parametrize("write", [write_tsv, write_webdataset, write_voc])
def test_a_folder_in_use_is_not_overwritten(tmp_path: Path, write):
    write(tmp_path, 1)
    with pytest.raises(FileExistsError, match="give another folder"):
        write(tmp_path, 1)


@pytest.mark.parametrize("write", [write_tsv, write_webdataset, write_voc])
@pytest.mark.parametrize("wrong", [{"size": 8}, {"seed": -1}, {"count": -1}])
def test_a_refused_request_leaves_nothing_behind(tmp_path: Path, write, wrong):
    with pytest.raises(ValueError, match=r"size is 8|negative"):
        write(tmp_path / "set", **{"count": 1, **wrong})
    assert not (tmp_path / "set").exists()
