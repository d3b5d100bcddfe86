"""Segmentations: nothing lost in any file, masks that other programs read back, drawings without mistakes."""

import io
import json
import sys
import types
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clipsight.draw import masks
from clipsight.draw.palette import DISTINCT, colour, hatching
from clipsight.results import mask_files
from clipsight.results.segmentation import Segmentation
from results.scenes import PROVENANCE
from tiny import past_type_checks


def made(
    classes=("background", "cat", "dog", "grass", "zebra"), *, size=(60, 83), background=True, labels=None
) -> Segmentation:
    """Blobs of three classes, the last one absent."""
    rng = np.random.default_rng(0)
    if labels is None:
        rows, columns = np.mgrid[: size[0], : size[1]]
        field = np.sin(columns / size[1] * 6) + np.cos(rows / size[0] * 4) + 2
        labels = np.clip(field.round(), 0, min(3, len(classes) - 2)).astype(np.int32) - (not background)
    count = len(classes)
    pixels = np.bincount(labels.ravel() + 1, minlength=count + 1)[1:]
    return Segmentation(
        image=rng.integers(0, 256, (*labels.shape, 3), dtype=np.uint8),
        classes=tuple(classes),
        words=tuple((name, f"a {name}") for name in classes),
        background=background,
        labels=torch.from_numpy(labels),
        probability=torch.from_numpy(rng.random(labels.shape, np.float32)),
        scores=torch.linspace(0.9, 0.1, count) * torch.from_numpy(pixels > 0),
        areas=torch.from_numpy(pixels / labels.size).float(),
        source="photo.jpg",
        provenance=replace(PROVENANCE, contrast="none", contrast_texts=()),
    )


def test_asking():
    seg = made()
    assert set(seg.present) == {"cat", "dog", "grass"}
    assert list(seg.masks) == list(seg.present)
    assert torch.equal(seg.mask("cat"), seg.labels == 1)
    assert seg.mask(4).sum() == 0
    shares = [float(seg.areas[seg.index(name)]) for name in seg.present]
    assert shares == sorted(shares, reverse=True)
    assert "3" not in seg.notes
    assert seg.notes == PROVENANCE.notes
    with pytest.raises(KeyError, match="'cow' was not asked"):
        seg.mask("cow")
    with pytest.raises(IndexError, match="class 5 of 5"):
        seg.mask(5)
    assert "photo.jpg" in repr(seg)
    assert "cat" in repr(seg)


def test_npz_round_trip_loses_nothing(tmp_path: Path):
    seg = made(("кот", "a <b>dog</b>", "same \x00"), background=False)
    back = Segmentation.load(seg.save(tmp_path / "x.npz"))
    for name in ("classes", "words", "background", "source", "provenance"):
        assert getattr(back, name) == getattr(seg, name)
    for name in ("labels", "probability", "scores", "areas"):
        assert torch.equal(getattr(back, name), getattr(seg, name))
    assert np.array_equal(back.image, seg.image)
    whole = seg.save(tmp_path / "y.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:-200])
    with pytest.raises(ValueError, match="not a complete clipsight result"):
        Segmentation.load(tmp_path / "cut.npz")


@pytest.mark.parametrize("background", [True, False])
def test_png_holds_the_labels(tmp_path: Path, background: bool):
    seg = made(background=background)
    with Image.open(seg.save(tmp_path / "x.png")) as picture:
        assert picture.mode == "P"
        values = np.asarray(picture)
        about = json.loads(picture.info["clipsight"])
        shown = picture.convert("RGBA")
    assert np.array_equal(values, seg.index_map())
    assert np.array_equal(values.astype(int) - (not background), seg.labels.numpy())
    assert about["values"]["1"] == seg.classes[int(background)]
    assert about["provenance"]["fingerprint"] == "3f9a12bc"
    pixels = np.asarray(shown)
    assert (pixels[values == 0, 3] == 0).all()
    first = pixels[values == 1]
    assert len(first)
    assert (first == (*seg.colour(int(background)), 255)).all()


def test_png_of_many_classes_has_sixteen_bits(tmp_path: Path):
    labels = np.arange(600, dtype=np.int32).reshape(20, 30)
    seg = made(tuple(f"c{k}" for k in range(600)), background=False, labels=labels)
    with Image.open(seg.save(tmp_path / "x.png")) as picture:
        assert np.array_equal(np.asarray(picture), labels + 1)


@pytest.mark.parametrize("seed", range(6))
def test_run_lengths_read_back(seed: int):
    rng = np.random.default_rng(seed)
    mask = rng.random((5 + seed, 9)) < (0, 1, 0.5, 0.5, 0.1, 0.9)[seed]
    found = mask_files.run_lengths(mask)
    assert found["size"] == list(mask.shape)
    assert sum(found["counts"]) == mask.size
    runs = np.repeat(np.arange(len(found["counts"])) % 2, found["counts"]).astype(bool)
    assert np.array_equal(runs.reshape(mask.shape, order="F"), mask)


def test_json_masks_read_back(tmp_path: Path):
    seg = made()
    data = json.loads(seg.save(tmp_path / "x.json").read_text("utf-8"))
    cat, zebra = data["classes"][1], data["classes"][4]
    runs = np.repeat(np.arange(len(cat["rle"]["counts"])) % 2, cat["rle"]["counts"]).astype(bool)
    assert np.array_equal(runs.reshape(cat["rle"]["size"], order="F"), seg.mask("cat").numpy())
    assert zebra["rle"] is None
    assert zebra["score"] == 0
    assert np.float32(cat["area"]) == seg.areas[1]
    assert data["classes"][0]["colour"] is None
    left, top, right, bottom = cat["box"]
    inside = seg.mask("cat").clone()
    inside[top : bottom + 1, left : right + 1] = False
    assert not inside.any()


def fill(shapes: list, size: tuple[int, int]) -> np.ndarray:
    """Pixels whose centre lies in an odd number of rings."""
    from matplotlib.path import Path as Outline

    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    centres = np.stack([columns.ravel(), rows.ravel()], 1)
    odd = np.zeros(len(centres), bool)
    for rings in shapes:
        for ring in rings:
            odd ^= Outline(np.array(ring)).contains_points(centres)
    return odd.reshape(size)


@pytest.mark.parametrize("seed", range(5))
def test_polygons_read_back(seed: int):
    rng = np.random.default_rng(seed)
    mask = rng.random((17, 23)) < (0.5, 0.03, 0.97, 1, 0.3)[seed]
    shapes = mask_files.polygons(mask)
    assert np.array_equal(fill(shapes, mask.shape), mask)
    for rings in shapes:
        assert all(ring[0] == ring[-1] and len(ring) >= 4 for ring in rings)
        turns = [sum((a[0] * b[1] - b[0] * a[1]) for a, b in pairwise(r)) for r in rings]
        assert turns[0] > 0
        assert all(turn < 0 for turn in turns[1:])


def test_straight_outlines_are_short():
    mask = np.zeros((100, 200), bool)
    mask[10:90, 20:150] = True
    (rings,) = mask_files.polygons(mask)
    assert len(rings) == 1
    assert len(rings[0]) == 9  # four corners, each cut
    assert mask_files.polygons(np.zeros((4, 4), bool)) == []


def test_geojson(tmp_path: Path):
    seg = made()
    data = json.loads(seg.save(tmp_path / "x.geojson").read_text("utf-8"))
    assert data["type"] == "FeatureCollection"
    assert [f["properties"]["name"] for f in data["features"]] == list(seg.present)
    for feature in data["features"]:
        assert feature["geometry"]["type"] == "MultiPolygon"
        filled = fill(feature["geometry"]["coordinates"], tuple(seg.labels.shape))
        assert np.array_equal(filled, seg.mask(feature["properties"]["class_id"]).numpy())


def test_compressed_run_lengths_need_pycocotools(monkeypatch: pytest.MonkeyPatch):
    seg = made()
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(ImportError, match=r"pip install 'clipsight\[bench\]'"):
        seg.rle("cat")
    given = []

    def encode(mask: np.ndarray) -> dict[str, object]:
        given.append(mask)
        return {"size": [1, 2], "counts": b"abc"}

    stand_in = types.ModuleType("pycocotools")
    stand_in.mask = types.SimpleNamespace(encode=encode)  # pyright: ignore
    monkeypatch.setitem(sys.modules, "pycocotools", stand_in)
    assert seg.rle("cat") == {"size": [60, 83], "counts": "abc"}
    assert given[0].flags.f_contiguous
    assert given[0].dtype == np.uint8
    assert np.array_equal(given[0], seg.mask("cat").numpy())


def test_detections():
    seg = made()
    found = seg.to_detections()
    assert set(found) == {"xyxy", "mask", "class_id", "confidence", "data"}
    n = len(seg.present)
    assert found["xyxy"].shape == (n, 4)
    assert found["mask"].shape == (n, 60, 83)
    assert found["mask"].dtype == bool
    assert (
        [seg.classes[k] for k in found["class_id"]] == list(found["data"]["class_name"]) == list(seg.present)
    )
    assert found["confidence"].dtype == np.float32
    for corners, mask in zip(found["xyxy"], found["mask"], strict=True):
        rows, columns = np.nonzero(mask)
        assert corners.tolist() == [columns.min(), rows.min(), columns.max(), rows.max()]
    nothing = made(background=False, labels=np.full((4, 5), -1, np.int32)).to_detections()
    assert nothing["xyxy"].shape == (0, 4)
    assert nothing["mask"].shape == (0, 4, 5)
    assert len(nothing["data"]["class_name"]) == 0


def test_saving_keeps_what_is_there(tmp_path: Path):
    path = tmp_path / "x.png"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="exists and was kept"):
        made().save(path)
    made().save(path, overwrite=True)
    with pytest.raises(ValueError, match=r"one of \.png, \.npz, \.json, \.geojson"):
        made().save(tmp_path / "x.jpg")


def test_overlay_colours_the_classes_and_greys_the_rest():
    labels = np.zeros((60, 80), np.int32)
    labels[10:50, 20:60] = 1
    seg = made(("background", "cat"), labels=labels)
    plain = np.asarray(seg.overlay(alpha=1, contours=False, names=False)).astype(int)
    assert plain.shape == (60, 80, 3)
    assert (plain[12:48, 22:58] == seg.colour("cat")).all()
    assert np.ptp(plain[:8], axis=-1).max() < np.ptp(seg.image[:8].astype(int), axis=-1).max() / 2
    outlined = np.asarray(seg.overlay(alpha=0, contours=True, names=False)).astype(int)
    assert (outlined[10, 25:55] == seg.colour("cat")).mean() > 0.9
    assert (outlined[30, 30] == outlined[30, 30].mean()).sum() <= 3
    without = np.asarray(seg.overlay(alpha=0, contours=False, names=False))
    assert np.array_equal(outlined[20:40, 30:50], without[20:40, 30:50])
    assert seg.overlay(size=(30, 40)).size == (40, 30)
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        seg.overlay(alpha=2)


def test_names_are_written_inside_their_area():
    labels = np.zeros((300, 400), np.int32)
    labels[20:140, 150:380] = 1
    labels[200:205, 10:390] = 2
    seg = made(("background", "cat", "line"), labels=labels)
    changed = np.asarray(seg.overlay()) != np.asarray(seg.overlay(names=False))
    rows, columns = np.nonzero(changed.any(-1))
    assert len(rows) > 50
    assert (seg.labels.numpy()[rows, columns] == 1).all()  # no room for the line's name


@pytest.mark.parametrize(
    ("size", "count"), [((60, 83), 5), ((400, 90), 3), ((70, 900), 60), ((1, 1), 3), ((33, 20), 300)]
)
def test_sheets_of_any_shape(size: tuple[int, int], count: int):
    labels = np.random.default_rng(0).integers(-1, count - 1, size).astype(np.int32)
    long = "a very long name of something that nobody can read to its end in a legend"
    names = (long, "собака", "$x_1$ 🦓", *(f"c{k}" for k in range(count)))[:count]
    sheet = made(names, background=False, labels=labels).grid()
    assert sheet.mode == "RGB"
    assert 300 < sheet.width < 1600
    assert np.asarray(sheet)[:10].min() == 255  # the margin is free


def test_png_of_a_notebook():
    with Image.open(io.BytesIO(made()._repr_png_())) as picture:
        assert picture.size == made().grid().size


def test_colours():
    assert len(DISTINCT) == len(set(DISTINCT)) == 30
    assert len({(colour(k), hatching(k)) for k in range(255)}) == 255
    assert colour(0) == (0, 114, 178)
    assert made().colour("cat") == made(("cat", "x"), background=False).colour("cat") == colour(0)


def seen_by(colours: np.ndarray, matrix: list[list[float]]) -> np.ndarray:
    """CIELAB of sRGB colours after a matrix on linear light."""
    unit = colours / 255
    linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4) @ np.array(matrix).T
    to_xyz = [[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]]
    xyz = np.clip(linear, 0, 1) @ np.array(to_xyz).T / [0.9505, 1, 1.0888]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


@pytest.mark.parametrize(
    "matrix",  # Machado, Oliveira and Fernandes 2009, severity 1
    [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    ],
    ids=["full colour vision", "no red cones", "no green cones"],
)
@pytest.mark.parametrize(("count", "least"), [(20, 16.5), (30, 14)])
def test_thirty_colours_are_told_apart(matrix: list[list[float]], count: int, least: float):
    lab = seen_by(np.array([colour(k) for k in range(count)]), matrix)
    apart = np.linalg.norm(lab[:, None] - lab, axis=-1) + 1000 * np.eye(count)
    assert apart.min() > least


def test_after_thirty_classes_colours_come_again_with_stripes():
    numbers = np.repeat(np.array([[0, 30, 60]]), 40, 0).repeat(40, 1)
    alpha = np.asarray(masks.layer(numbers, numbers.shape, alpha=1, contours=False))[..., 3]
    plain, first, second = (alpha[:, k * 40 : (k + 1) * 40] for k in range(3))
    assert plain.min() == 255
    assert 0.3 < (first < 128).mean() < 0.7
    assert not np.array_equal(first, second)


def test_fields_that_do_not_fit():
    seg = made()
    for changes, message in (
        ({"labels": seg.labels + 2}, "labels must lie between -1 and 4"),
        ({"labels": seg.labels[1:]}, "labels must be"),
        ({"scores": seg.scores[1:]}, "scores must be"),
        ({"words": seg.words[1:]}, "needs words for each"),
    ):
        with past_type_checks(), pytest.raises(ValueError, match=message):
            replace(seg, **changes)


def test_a_name_has_room_or_none():
    mask = np.zeros((40, 100), bool)
    mask[5:35, 10:90] = True
    assert masks._place(mask, (400, 1000), 300, 30) is not None
    assert masks._place(mask, (400, 1000), 900, 30) is None
    assert masks._place(mask & False, (400, 1000), 10, 10) is None
