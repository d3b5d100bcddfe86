"""Maps, points, masks and the kept picture lie in the frame that the user sees, whatever the file says of rotation."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import clipsight
from clipsight import Lens
from clipsight.errors import ClipsightWarning, PictureError
from clipsight.world import make_scene
from inputs import corpus, profiles

THINGS = ["a dog", "a car", "a tree"]


@pytest.fixture(scope="module")
def lens() -> Lens:
    return clipsight.load("clipsight-tiny")


@pytest.fixture(scope="module")
def scene() -> Image.Image:
    return make_scene(3).image.crop((0, 0, 112, 80))


@pytest.fixture(params=[3, 6, 7])
def turned(request, tmp_path: Path, scene: Image.Image) -> tuple[Path, np.ndarray]:
    """A JPEG that lies turned in its file, and its upright pixels."""
    exif = Image.Exif()
    exif[0x0112] = request.param
    stored = scene.transpose(
        {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE}[
            request.param
        ]
    )
    path = tmp_path / "turned.jpg"
    stored.save(path, exif=exif, quality=95, subsampling=0)
    with Image.open(path) as opened:
        upright = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    assert np.abs(upright.astype(int) - np.asarray(scene)).mean() < 3
    return path, upright


def test_explanations_are_those_of_the_upright_picture(lens: Lens, turned) -> None:
    path, upright = turned
    got, wanted = lens.explain(path, THINGS), lens.explain(upright, THINGS)
    assert torch.equal(got.maps, wanted.maps)
    assert got.maps.shape == (3, 14, 20)  # 80 × 112 at the short side of 112, in patches of 8
    assert np.array_equal(got.image, upright)
    assert got.overlay("a dog").size == (112, 80)
    assert got.upsample().shape == (3, 80, 112)
    assert np.array_equal(got.points("a dog").xy, wanted.points("a dog").xy)
    assert torch.equal(lens.explain([path], THINGS)[0].maps, wanted.maps)


def test_the_other_verbs_see_it_upright_too(lens: Lens, turned) -> None:
    path, upright = turned
    seg = lens.segment(path, THINGS, recipe="naclip")
    assert torch.equal(seg.labels, lens.segment(upright, THINGS, recipe="naclip").labels)
    assert seg.labels.shape == (80, 112)
    assert torch.equal(lens.classify(path, THINGS).similarity, lens.classify(upright, THINGS).similarity)
    assert torch.equal(lens.tag(path, THINGS).scores, lens.tag(upright, THINGS).scores)
    assert torch.equal(lens.anomaly(path, "dog").map, lens.anomaly(upright, "dog").map)


def test_a_thing_in_a_corner_is_found_in_that_corner(lens: Lens, tmp_path: Path) -> None:
    scene = make_scene(0)
    thing, (rows, columns) = scene.objects[0], np.nonzero(scene.masks[0])
    cut = np.where(scene.masks[0][..., None], np.asarray(scene.image), 255).astype(np.uint8)
    sprite = Image.fromarray(cut).crop((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
    white = Image.new("RGB", (224, 112), "white")
    white.paste(sprite.resize((40, 40)), (176, 8))
    exif = Image.Exif()
    exif[0x0112] = 6
    white.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "corner.png", exif=exif)
    peak = lens.explain(tmp_path / "corner.png", [f"a {thing.name}"]).to_dict()["peaks"][0]
    assert peak["x"] > 168
    assert peak["y"] < 56


@pytest.mark.parametrize("size", [(1, 1), (20_000, 10), (1, 20_000)])
def test_any_size_is_explained(lens: Lens, tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, "green").save(tmp_path / "s.png")
    ex = lens.explain(tmp_path / "s.png", THINGS)
    assert ex.maps.isfinite().all()
    assert ex.maps[0].numel() <= 4096
    assert bool([note for note in ex.provenance.notes if "4096" in note]) == (size != (1, 1))


def test_what_was_left_out_of_the_file_is_in_the_result(lens: Lens, tmp_path: Path) -> None:
    frames = [make_scene(index).image for index in range(2)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    for answer in (lens.explain(tmp_path / "a.gif", THINGS), lens.classify(tmp_path / "a.gif", THINGS)):
        assert "Only the first picture of the animation was read." in answer.provenance.notes
    frames[0].save(tmp_path / "p.png", icc_profile=b"broken")
    assert any("colour profile" in note for note in lens.explain(tmp_path / "p.png", THINGS).provenance.notes)
    with pytest.warns(ClipsightWarning, match=r"p\.png: Its colour profile"):
        lens.preprocess(tmp_path / "p.png")  # pixels have no place for a note


def test_a_list_with_unreadable_pictures_is_refused_before_anything_is_encoded(
    lens: Lens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, gone, text = tmp_path / "good.png", tmp_path / "gone.png", tmp_path / "text.png"
    corpus.picture().save(good)
    text.write_text("words")
    passes = []
    monkeypatch.setattr(lens.module.visual, "forward", lambda *_: passes.append("forward"))
    monkeypatch.setattr("clipsight.session.engine.Engine.features", lambda *_: passes.append("features"))
    for method in ("clip_surgery", "freecp"):
        with pytest.raises(PictureError) as caught:
            lens.explain([good, gone, np.zeros((4, 4)), good, text], THINGS, method=method)
        said = str(caught.value)
        assert said.startswith("3 of 5 pictures cannot be read, so none was encoded")
        for part in (
            "[1] cannot read",
            "gone.png",
            "[2] a picture array must be uint8",
            "[4] cannot read",
            "text.png",
        ):
            assert part in said
        assert "good.png" not in said
    assert not passes
    with pytest.raises(PictureError, match="And 30 more") as caught:
        lens.explain([gone] * 50, THINGS)
    assert str(caught.value).count("no such file") == 20


def test_a_list_with_bad_texts_is_refused_before_anything_is_read(lens: Lens, tmp_path: Path) -> None:
    for texts in (["a dog", "&nbsp;"], ["a dog", "<end_of_text>"], []):
        with pytest.raises(ValueError, match="text"):
            lens.explain([tmp_path / "gone.png"], texts)


def test_a_list_gives_what_its_pictures_give_alone(lens: Lens) -> None:
    pictures = [make_scene(0).image, corpus.picture(100, 60), make_scene(1).image]
    for method in ("clip_surgery", "freecp"):
        asked = {"method": method, "resolution": 56}
        alone = [lens.explain(picture, THINGS, **asked) for picture in pictures]
        for one, other in zip(lens.explain(pictures, THINGS, **asked), alone, strict=True):
            assert torch.allclose(one.maps, other.maps, atol=1e-5)
    assert lens.explain([], THINGS) == []


def test_a_profile_reaches_the_model(lens: Lens, tmp_path: Path) -> None:
    image = make_scene(1).image
    light = Image.fromarray(np.round(255 * profiles.decode_srgb(np.asarray(image) / 255)).astype(np.uint8))
    light.save(tmp_path / "linear.png", icc_profile=profiles.linear_rgb())
    light.save(tmp_path / "dark.png")
    as_seen, managed, naive = (
        lens.classify(p, THINGS).similarity for p in (image, tmp_path / "linear.png", tmp_path / "dark.png")
    )
    assert (as_seen - managed).abs().max() < (as_seen - naive).abs().max() / 2
