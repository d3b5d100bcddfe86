"""Every kind of picture file: read as upright eight-bit RGB, or refused in one sentence that names it."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clipsight.errors import PictureError
from clipsight.pictures import picture_name, read_picture
from tiny import past_type_checks


@pytest.fixture
def photo() -> Image.Image:
    across = np.linspace(0, 255, 60).astype(np.uint8)
    planes = [np.tile(across, (40, 1)), np.full((40, 60), 90, np.uint8), np.tile(across[::-1], (40, 1))]
    return Image.fromarray(np.stack(planes, -1))


def close(image: Image.Image, other: Image.Image, by: float = 6) -> bool:
    assert image.mode == "RGB"
    assert image.size == other.size
    return bool(np.abs(np.asarray(image).astype(int) - np.asarray(other).astype(int)).mean() < by)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tiff", ".ppm"])
def test_common_formats_by_path_and_by_object(tmp_path: Path, photo: Image.Image, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    photo.save(path)
    assert close(read_picture(path), photo)
    assert close(read_picture(str(path)), photo)
    with Image.open(path) as opened:
        assert close(read_picture(opened), photo)
    assert picture_name(path) == path.name


def test_a_given_image_is_left_alone(photo: Image.Image) -> None:
    before = photo.tobytes()
    out = read_picture(photo)
    out.putpixel((0, 0), (1, 2, 3))
    assert photo.tobytes() == before


def test_exif_rotation_is_applied(tmp_path: Path, photo: Image.Image) -> None:
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        inverse = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's transposes that undo each orientation
        stored = photo if orientation == 1 else photo.transpose(Image.Transpose(inverse[orientation]))
        stored.save(tmp_path / "r.png", exif=exif)
        assert close(read_picture(tmp_path / "r.png"), photo, 0.01), orientation


def test_damaged_exif_does_not_spoil_the_pixels(tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "e.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12garbage")
    assert close(read_picture(tmp_path / "e.jpg"), photo)


def test_cmyk_and_other_colour_modes(tmp_path: Path, photo: Image.Image) -> None:
    photo.convert("CMYK").save(tmp_path / "c.jpg")
    assert close(read_picture(tmp_path / "c.jpg"), photo)
    for mode in ("YCbCr", "HSV", "L", "1", "RGBX"):
        assert read_picture(photo.convert(mode)).mode == "RGB"


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    Image.fromarray(ramp).save(tmp_path / "d.png")
    out = np.asarray(read_picture(tmp_path / "d.png"))
    assert np.array_equal(out[..., 0], np.arange(256).reshape(16, 16))
    wide = Image.fromarray(ramp.astype(np.int32))
    assert np.array_equal(np.asarray(read_picture(wide))[..., 0], np.arange(256).reshape(16, 16))
    small = Image.fromarray(np.arange(256, dtype=np.int32).reshape(16, 16))
    assert np.array_equal(np.asarray(read_picture(small))[..., 1], np.arange(256).reshape(16, 16))


def test_float_files_are_scaled_or_refused(tmp_path: Path) -> None:
    unit = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    Image.fromarray(unit).save(tmp_path / "f.tiff")
    assert np.asarray(read_picture(tmp_path / "f.tiff"))[-1, -1].tolist() == [255] * 3
    assert np.asarray(read_picture(Image.fromarray(unit * 200)))[-1, -1].tolist() == [200] * 3
    for bad in (unit - 5, unit * 9000, np.full((2, 2), np.nan, np.float32)):
        with pytest.raises(PictureError, match="nothing says which is white"):
            read_picture(Image.fromarray(bad))


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    clear.putpixel((1, 1), (200, 10, 20, 255))
    clear.save(tmp_path / "a.png")
    palette = clear.convert("P")
    palette.save(tmp_path / "p.png", transparency=palette.getpixel((0, 0)))
    Image.new("RGB", (4, 4), (7, 7, 7)).save(tmp_path / "k.png", transparency=(7, 7, 7))
    Image.new("LA", (4, 4), (0, 0)).save(tmp_path / "la.png")
    for name in ("a", "p", "k", "la"):
        assert read_picture(tmp_path / f"{name}.png").getpixel((0, 0)) == (255, 255, 255), name
    red = read_picture(tmp_path / "a.png").getpixel((1, 1))
    assert red == (200, 10, 20)
    half = Image.new("RGBA", (1, 1), (0, 0, 0, 128))
    assert read_picture(half).getpixel((0, 0)) == (127, 127, 127)


def test_palette_bytes_transparency_gives_no_warning(tmp_path: Path, photo: Image.Image) -> None:
    photo.quantize(16).save(tmp_path / "p.png", transparency=bytes([0] * 8 + [255] * 8))
    assert read_picture(tmp_path / "p.png").size == photo.size


@pytest.mark.parametrize("size", [(1, 1), (20_000, 3), (2, 9_000)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, "green").save(tmp_path / "s.png")
    assert read_picture(tmp_path / "s.png").size == size


def test_large_pictures_do_not_warn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (400, 300)).save(tmp_path / "l.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)  # warns above this, refuses above twice
    assert read_picture(tmp_path / "l.png").size == (400, 300)


def _png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def test_decompression_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(_png_header(60_000, 60_000))
    with pytest.raises(PictureError, match=r"bomb\.png.*megapixels"):
        read_picture(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # a program that switched Pillow's own guard off
    with pytest.raises(PictureError, match=r"bomb\.png.*60000 × 60000.*200 megapixels"):
        read_picture(path)
    view = np.broadcast_to(np.zeros(1, np.uint8), (20_000, 20_000, 3))
    with pytest.raises(PictureError, match="megapixels"):
        read_picture(view)


def test_truncated_files_are_refused(tmp_path: Path, photo: Image.Image) -> None:
    for kind in ("JPEG", "PNG", "WEBP", "GIF"):
        buffer = io.BytesIO()
        photo.resize((300, 300)).save(buffer, kind)
        path = tmp_path / f"cut.{kind.lower()}"
        path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
        with pytest.raises(PictureError, match=rf"cut\.{kind.lower()}.*damaged.*again"):
            read_picture(path)
    with (
        Image.open(tmp_path / "cut.jpeg") as opened,
        pytest.raises(PictureError, match=r"cut\.jpeg.*damaged"),
    ):
        read_picture(opened)


def test_what_is_no_picture_is_refused_by_name(tmp_path: Path) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("these are only words")
    empty = tmp_path / "empty.png"
    empty.touch()
    for source, message in (
        (text, r"notes\.jpg.*no picture format that Pillow knows"),
        (empty, r"empty\.png.*is empty"),
        (tmp_path, "is a folder"),
        (tmp_path / "gone.jpg", r"gone\.jpg.*no such file"),
        ("https://example.org/a.jpg", "download it first"),
        ("", "no such file"),
    ):
        with pytest.raises(PictureError, match=message) as caught:
            read_picture(source)
        assert str(caught.value).startswith("cannot read the picture")
        assert "\n" not in str(caught.value)


def test_arrays(photo: Image.Image) -> None:
    pixels = np.asarray(photo)
    assert np.array_equal(np.asarray(read_picture(pixels)), pixels)
    assert np.array_equal(np.asarray(read_picture(pixels[:, ::-1])), pixels[:, ::-1])  # not contiguous
    assert read_picture(pixels[..., 0]).mode == "RGB"
    assert read_picture(pixels[..., :1]).mode == "RGB"
    assert read_picture(np.zeros((2, 3, 4), np.uint8)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), r"got float32; write `\(255 \* x\)"),
        (np.zeros((4, 4), bool), "got bool; write `255"),
        (np.zeros((4, 4, 3), np.uint16), r"got uint16; write `\(x // 257\)"),
        (np.zeros((4, 4, 3), np.int64), "got int64"),
        (np.zeros((3, 8, 9), np.uint8), r"np\.moveaxis"),
        (np.zeros((2, 8, 9, 3), np.uint8), "one by one"),
        (np.zeros((8, 9, 2), np.uint8), r"must have shape \(H, W, 3\)"),
        (np.zeros((0, 9, 3), np.uint8), "no pixels"),
    ],
)
def test_arrays_that_are_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(PictureError, match=message):
        read_picture(array)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (torch.zeros(3, 4, 4), r"got torch\.Tensor; write `Image\.fromarray"),
        (b"\xff\xd8", r"got builtins\.bytes; write `PIL\.Image\.open"),
        (io.BytesIO(), r"PIL\.Image\.open"),
        (["a.jpg"], "one by one"),
        (None, "got builtins.NoneType"),
    ],
)
def test_other_objects_are_refused_with_the_way_on(source: object, message: str) -> None:
    with past_type_checks(), pytest.raises(TypeError, match=message):
        read_picture(source)


def test_names(tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "n.png")
    with Image.open(tmp_path / "n.png") as opened:
        assert picture_name(opened) == "n.png"
    assert picture_name(photo) == ""
    assert picture_name(np.zeros((2, 2), np.uint8)) == ""
    assert picture_name("a/b/c.jpg") == "c.jpg"
