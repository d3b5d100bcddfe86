"""Pictures of every kind of pixel and profile: read as what a viewer shows."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipsight.errors import ClipsightWarning
from clipsight.pictures import read_noted, read_picture
from inputs import corpus, profiles

Colour = tuple[int, int, int]


def near(image: Image.Image, at: tuple[int, int], colour: Colour | np.ndarray, by: float = 3) -> bool:
    return bool(np.abs(np.array(image.getpixel(at), float) - np.asarray(colour, float)).max() <= by)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pngs_of_sixteen_bits(tmp_path: Path, channels: int) -> None:
    samples = np.random.default_rng(0).integers(0, 65_536, (7, 9, channels))
    if channels in (2, 4):
        samples[..., -1] = 65_535
    (tmp_path / "deep.png").write_bytes(corpus.png16(samples))
    got = np.asarray(read_picture(tmp_path / "deep.png"), int)
    colours = samples[..., :1].repeat(3, -1) if channels < 3 else samples[..., :3]
    assert np.abs(got - colours / 257).max() <= 1


@pytest.mark.parametrize("big", [False, True])
def test_tiffs_of_sixteen_bits(tmp_path: Path, big: bool) -> None:
    ramp = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    grey = Image.fromarray(ramp if not big else ramp.astype(">u2"))
    grey.save(tmp_path / "grey.tif")
    assert np.array_equal(
        np.asarray(read_picture(tmp_path / "grey.tif"))[..., 2], np.arange(256).reshape(16, 16)
    )


def test_rgb_tiffs_of_sixteen_bits(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(0, 65_536, (4, 5, 3)).astype("<u2")
    bits = np.array([16, 16, 16], "<u2").tobytes()
    short, long = 3, 4
    file = corpus.tiff(
        {
            256: (long, 1, 5),
            257: (long, 1, 4),
            258: (short, 3, 8),
            259: (short, 1, 1),
            262: (short, 1, 2),
            273: (long, 1, 14),
            277: (short, 1, 3),
            278: (long, 1, 4),
            279: (long, 1, samples.nbytes),
        },
        bits + samples.tobytes(),
    )
    (tmp_path / "rgb.tif").write_bytes(file)
    assert np.abs(np.asarray(read_picture(tmp_path / "rgb.tif"), int) - samples / 257.0).max() <= 1


def test_large_deep_pictures_are_scaled_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.random.default_rng(0).integers(0, 65_536, (50, 30)).astype(np.uint16)
    whole = np.asarray(read_picture(Image.fromarray(samples)))
    monkeypatch.setattr("clipsight.pictures.ranges._STRIP", 100)
    assert np.array_equal(np.asarray(read_picture(Image.fromarray(samples))), whole)
    assert np.array_equal(whole[..., 0], np.round(samples / 257).astype(np.uint8))


def test_one_bit_and_lab(tmp_path: Path) -> None:
    Image.fromarray(np.eye(8, dtype=bool)).save(tmp_path / "bits.png")
    assert np.array_equal(np.asarray(read_picture(tmp_path / "bits.png"))[..., 0], 255 * np.eye(8))
    Image.new("LAB", (3, 3), (128, 168, 108)).save(tmp_path / "lab.tif")
    assert near(read_picture(tmp_path / "lab.tif"), (1, 1), profiles.srgb_of_lab((50.2, 40, -20)))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa", "La"])
def test_what_is_clear_is_white_and_what_is_half_clear_is_half_white(mode: str) -> None:
    image = Image.new({"RGBa": "RGBA", "La": "LA"}.get(mode, mode), (3, 1))
    if mode == "PA":
        image.putpalette([40, 40, 40])
    for x, alpha in enumerate((0, 128, 255)):
        image.putpixel((x, 0), {"RGBA": (40, 40, 40, alpha), "LA": (40, alpha), "PA": (0, alpha)}[image.mode])
    got = read_picture(image.convert(mode))
    for x, value in enumerate((255, 147, 40)):
        assert near(got, (x, 0), (value, value, value), 2)


def test_palettes_with_opacity(tmp_path: Path) -> None:
    image = Image.new("P", (4, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    image.putdata([0, 1, 2, 3])
    image.save(tmp_path / "bytes.png", transparency=bytes([255, 0, 128, 255]))
    got = read_picture(tmp_path / "bytes.png")
    expected = [(255, 0, 0), (255, 255, 255), (127, 127, 255), (9, 9, 9)]
    assert all(near(got, (x, 0), colour, 1) for x, colour in enumerate(expected))
    for name in ("index.png", "index.gif"):
        image.save(tmp_path / name, transparency=1)
        assert read_picture(tmp_path / name).getpixel((1, 0)) == (255, 255, 255)
        assert read_picture(tmp_path / name).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("ink", profiles.INKS)
@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_has_the_colours_of_its_profile(tmp_path: Path, ink: str, format: str) -> None:
    inks, lab = profiles.INKS[ink]
    patch, path = Image.new("CMYK", (16, 16), inks), tmp_path / "patch"
    options = {"quality": 100, "subsampling": 0} if format == "JPEG" else {}
    patch.save(path, format, icc_profile=profiles.inks(), **options)
    assert near(read_picture(path), (8, 8), profiles.srgb_of_lab(lab), 4)
    patch.save(path, format, **options)  # without a profile: what a viewer without colour management shows
    plain = [round((255 - part) * (255 - inks[3]) / 255) for part in inks[:3]]
    assert near(read_picture(path), (8, 8), np.array(plain), 4)


def test_rgb_and_grey_have_the_colours_of_their_profiles(tmp_path: Path) -> None:
    colour = np.array([128, 10, 200])
    expected = 255 * profiles.encode_srgb(colour / 255)
    path = tmp_path / "patch"
    for format in ("PNG", "TIFF", "JPEG", "WEBP"):
        options = {"lossless": True} if format == "WEBP" else {"quality": 100, "subsampling": 0}
        patch = Image.new("RGB", (16, 16), tuple(colour.tolist()))
        patch.save(path, format, icc_profile=profiles.linear_rgb(), **options)
        assert near(read_picture(path), (8, 8), expected), format
        patch.save(path, format, icc_profile=profiles.linear_rgb(swapped=True), **options)
        assert near(read_picture(path), (8, 8), expected[::-1]), format
    Image.new("L", (4, 4), 128).save(path, "PNG", icc_profile=profiles.linear_grey())
    assert near(read_picture(path), (1, 1), 3 * [255 * profiles.encode_srgb(np.array(128 / 255))])
    deep = Image.fromarray(np.full((4, 4), 128 * 257, np.uint16))
    deep.save(path, "PNG", icc_profile=profiles.linear_grey())
    assert near(read_picture(path), (1, 1), (188, 188, 188))


def test_profiles_go_with_opacity_and_palettes(tmp_path: Path) -> None:
    path = tmp_path / "patch.png"
    Image.new("RGBA", (2, 2), (128, 10, 200, 255)).save(path, icc_profile=profiles.linear_rgb())
    assert near(read_picture(path), (0, 0), (188, 56, 229))
    Image.new("RGBA", (2, 2), (128, 10, 200, 0)).save(path, icc_profile=profiles.linear_rgb())
    assert read_picture(path).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (2, 2))
    palette.putpalette([128, 10, 200])
    palette.save(path, icc_profile=profiles.linear_rgb())
    assert near(read_picture(path), (0, 0), (188, 56, 229))
    Image.new("LA", (2, 2), (128, 255)).save(path, icc_profile=profiles.linear_grey())
    assert near(read_picture(path), (0, 0), (188, 188, 188))


def test_srgb_profiles_change_no_pixel(tmp_path: Path) -> None:
    image, path = corpus.picture(200, 150), tmp_path / "p.png"
    image.save(path, icc_profile=profiles.srgb())
    assert np.array_equal(np.asarray(read_picture(path)), np.asarray(image))


@pytest.mark.parametrize(
    "profile",
    [
        b"not a profile",
        profiles.linear_rgb()[:200],
        profiles.inks(),
        profiles.linear_grey(),
        bytes(5000),
        b"\xff" * 300,
    ],
)
def test_a_damaged_or_foreign_profile_is_left_out_and_said(tmp_path: Path, profile: bytes) -> None:
    image, path = corpus.picture(), tmp_path / "p.png"
    image.save(path, icc_profile=profile)
    got, notes = read_noted(path)
    assert np.array_equal(np.asarray(got), np.asarray(image))
    assert [note for note in notes if "colour profile is damaged" in note]
    with pytest.warns(ClipsightWarning, match=r"p\.png: Its colour profile"):
        read_picture(path)


def test_every_byte_of_a_profile_may_be_wrong(tmp_path: Path) -> None:
    image, path, whole = corpus.picture(8, 8), tmp_path / "p.tif", profiles.linear_rgb()
    for place in range(0, len(whole), 3):
        image.save(path, icc_profile=whole[:place] + b"\xff" + whole[place + 1 :])
        assert read_noted(path)[0].size == (8, 8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientations_come_out_upright_once(tmp_path: Path, format: str, orientation: int) -> None:
    # marked corners: red top left, green top right, blue bottom left
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :16, 0] = upright[:16, 32:, 1] = upright[16:, :16, 2] = 255
    # how a camera lying as EXIF 2.32 §4.6.4 says has stored these rows and columns
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0} if format == "JPEG" else {}
    options |= {"lossless": True} if format == "WEBP" else {}
    path = tmp_path / f"o{orientation}"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, format, exif=exif, **options)
    got = read_picture(path)
    assert np.abs(np.asarray(got, int) - upright).mean() < 4
    again = read_picture(got)  # a picture that was read carries no rotation that could be applied twice
    assert np.array_equal(np.asarray(again), np.asarray(got))
    with Image.open(path) as opened:
        assert np.array_equal(np.asarray(read_picture(opened)), np.asarray(got))


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_orientations_that_do_not_exist_turn_nothing(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    corpus.picture().save(tmp_path / "o.png", exif=exif)
    assert np.array_equal(np.asarray(read_picture(tmp_path / "o.png")), np.asarray(corpus.picture()))


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_the_first_frame_is_read_and_said(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue", "green")]
    options = {"lossless": True} if name.endswith("webp") else {}
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
    with pytest.warns(ClipsightWarning, match=f"{name}: Only the first picture of the") as said:
        got = read_picture(tmp_path / name)
    assert len(said) == 1
    assert near(got, (3, 3), (255, 0, 0))
    frames[0].save(tmp_path / name, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert near(read_picture(tmp_path / name), (3, 3), (255, 0, 0))


def test_of_an_opened_animation_the_frame_it_is_at_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "a.gif") as opened:
        opened.seek(1)
        assert near(read_picture(opened), (3, 3), (0, 0, 255))


@pytest.mark.parametrize("size", [(1, 1), (20_000, 10), (1, 20_000), (20_000, 1)])
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_tiny_and_long_pictures(tmp_path: Path, size: tuple[int, int], format: str) -> None:
    Image.new("RGB", size, (0, 128, 0)).save(tmp_path / "s", format)
    got = read_picture(tmp_path / "s")
    assert got.size == size
    assert near(got, (size[0] - 1, size[1] - 1), (0, 128, 0))
