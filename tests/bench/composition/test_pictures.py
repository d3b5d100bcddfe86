"""Finding, cropping and fitting pictures; features kept and found again."""

import warnings

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from clipsight.bench.composition.item import PictureRef
from clipsight.bench.composition.pictures import COLLECTIONS, ImageRoot
from clipsight.bench.composition.store import FeatureStore, text_key
from clipsight.bench.composition.views import PictureView
from clipsight.errors import PictureError

COCO = PictureRef(file="000000000001.jpg", collection="coco_val2017")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "pictures"


@pytest.mark.parametrize("folder", COLLECTIONS["coco_val2017"].folders)
def test_a_picture_is_found_in_every_folder_of_its_collection(folder, paint, root):
    paint({f"{folder}/000000000001.jpg".lstrip("/"): 9})
    assert ImageRoot(root).find(COCO) == root / folder / "000000000001.jpg"


@pytest.mark.parametrize(
    ("file", "collection", "there"),
    [
        ("val2014/COCO_val2014_1.jpg", "coco_val2014", "val2014/COCO_val2014_1.jpg"),
        ("data/coco/images/val2017/1.jpg", "coco_val2017", "coco/val2017/1.jpg"),
        ("VG_100K/1.jpg", "visual_genome", "vg/VG_100K/1.jpg"),
        ("1.jpg", "visual_genome", "vg/VG_100K_2/1.jpg"),
        ("ex_0_img_0", "winoground", "winoground/images/ex_0_img_0.png"),
        ("12", "svo_probes", "svo_probes/12.jpg"),
    ],
)
def test_a_picture_is_found_by_path_by_name_and_without_its_ending(file, collection, there, paint, root):
    paint({there: 9})
    assert ImageRoot(root).find(PictureRef(file=file, collection=collection)) == root / there


@pytest.mark.parametrize("file", ["absent.jpg", "x" * 5000, "nul\0.jpg", "folder.jpg"])
def test_what_is_not_there_has_no_key_and_is_refused(file, paint, root):
    paint({"val2017/000000000001.jpg": 9})
    (root / "folder.jpg").mkdir()
    ref = PictureRef(file=file, collection="coco_val2017")
    assert ImageRoot(root).key(ref) is None
    with pytest.raises(PictureError, match="no file for"):
        ImageRoot(root).open(ref)
    assert ImageRoot(None).find(COCO) is None


def test_keys_are_of_content_and_crop(paint, root):
    paint({"val2017/000000000001.jpg": 9, "val2017/000000000002.jpg": 9, "val2017/000000000003.jpg": 8})
    pictures = ImageRoot(root)
    one, same, other = (
        pictures.key(PictureRef(file=f"00000000000{index}.jpg", collection="coco_val2017"))
        for index in (1, 2, 3)
    )
    assert one == same != other
    crops = [(0.0, 0.0, 4.0, 4.0), (0.0, 0.0, 4.0, 4.0), (0.0, 0.0, 4.0, 5.0)]
    first, equal, wider = (
        pictures.key(PictureRef(file=COCO.file, collection=COCO.collection, crop=crop)) for crop in crops
    )
    assert first == equal
    assert len({one, first, wider}) == 3


def test_a_crop_is_of_the_files_pixels_and_black_outside(root):
    root.mkdir()
    pixels = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    Image.fromarray(pixels).save(root / "a.png")
    ref = PictureRef(file="a.png", collection="coco_val2017", crop=(5.0, 2.0, 5.0, 3.0))
    cropped = np.asarray(ImageRoot(root).open(ref))
    assert cropped.shape == (3, 5, 3)
    assert (cropped[:, :3] == pixels[2:5, 5:]).all()
    assert not cropped[:, 3:].any()


@pytest.mark.parametrize("crop", [(0.5, 1.5, 1.0, 1.0), (1.5, 0.5, 1.2, 1.4)])
def test_a_crop_of_about_a_pixel_is_one(crop, paint, root):
    paint({"a.png": 9})
    picture = ImageRoot(root).open(PictureRef(file="a.png", collection="coco_val2017", crop=crop))
    assert min(picture.size) >= 1


def test_frames_of_eqben_have_blue_first(root):
    root.mkdir()
    frame = np.zeros((4, 5, 3), np.uint8)
    frame[..., 0] = 200
    np.save(root / "f.npy", frame)
    (root / "bad.npy").write_bytes(b"no array")
    picture = ImageRoot(root).open(PictureRef(file="f.npy", collection="eqben"))
    assert picture.size == (5, 4)
    assert picture.getpixel((0, 0)) == (0, 0, 200)
    with pytest.raises(PictureError, match=r"bad\.npy"):
        ImageRoot(root).open(PictureRef(file="bad.npy", collection="eqben"))


@pytest.mark.parametrize("target", [(32, 32), (24, 40)])
@pytest.mark.parametrize("source", [(32, 32), (50, 33), (33, 50), (20, 61), (61, 20), (9, 10), (40, 24)])
@pytest.mark.parametrize(("kind", "mode"), [("crop", "shortest"), ("pad", "longest"), ("square", "squash")])
@pytest.mark.parametrize("resampling", ["bicubic", "bilinear"])
def test_a_view_is_open_clips_transform(kind, mode, source, target, resampling, rng):
    picture = Image.fromarray(rng.integers(0, 256, (*source, 3), np.uint8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = open_clip.image_transform(
            target if target[0] != target[1] else target[0], False, (0.0,) * 3, (1.0,) * 3, resize_mode=mode,
            interpolation=resampling,
        )(picture)  # fmt: skip
    ours = PictureView(kind=kind, size=target, resampling=resampling)(picture)
    pixels = torch.from_numpy(np.array(ours)).permute(2, 0, 1) / 255
    assert torch.equal(pixels, theirs)


def test_native_leaves_the_picture():
    picture = Image.new("RGB", (7, 5))
    assert PictureView(kind="native", size=(4, 4), resampling="bicubic")(picture) is picture


def test_features_are_kept_for_other_runs_exactly(tmp_path, rng):
    features = rng.standard_normal((3, 4)).astype(np.float32)
    first = FeatureStore(tmp_path, "weights")
    first.add("texts", ["a", "b", "c"], features)
    assert not list(tmp_path.iterdir())
    first.flush()
    first.add("pictures", ["a"], features[:1] + 1)
    first.flush()
    second = FeatureStore(tmp_path, "weights")
    assert second.missing("texts", ["d", "a", "d"]) == ["d"]
    assert second.missing("pictures", ["b"]) == ["b"]
    np.testing.assert_array_equal(second.get("texts", ["c", "a"]), features[[2, 0]])
    np.testing.assert_array_equal(second.get("pictures", ["a"]), features[:1] + 1)
    assert (len(second), len(FeatureStore(tmp_path, "other weights")), len(FeatureStore())) == (4, 0, 0)


def test_two_runs_write_beside_each_other(tmp_path, rng):
    stores = [FeatureStore(tmp_path, "w") for _ in range(2)]
    for name, store in zip("ab", stores, strict=True):
        store.add("texts", [name], rng.standard_normal((1, 4)).astype(np.float32))
        store.flush()
    assert FeatureStore(tmp_path, "w").missing("texts", ["a", "b"]) == []


def test_features_are_written_when_many_wait(tmp_path):
    store = FeatureStore(tmp_path, "w")
    keys = [text_key(str(index)) for index in range(5000)]
    store.add("texts", keys, np.zeros((5000, 2), np.float32))
    assert FeatureStore(tmp_path, "w").missing("texts", keys) == []
