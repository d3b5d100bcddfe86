"""Deep samples: what is guessed is said, a range that is stated is followed. Cut files are refused."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import clipsight
from clipsight.errors import ClipsightWarning, PictureError
from clipsight.pictures import read_noted, read_picture
from clipsight.world import make_scene
from inputs import corpus
from tiny import past_type_checks

GREY = np.add.outer(np.arange(40) * 3, np.arange(60) * 2).clip(0, 255).astype(np.uint8)
SCENE = Image.fromarray(np.asarray(make_scene(0, size=112).image))


def saved(samples: np.ndarray, folder: Path, kind: str) -> Path:
    path = folder / f"deep.{kind}"
    Image.fromarray(samples).save(path)
    return path


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("factor", [1, 4, 16, 64])
def test_fewer_bits_in_sixteen_are_noted_and_read_right_when_said(tmp_path, kind, factor):
    path = saved(GREY.astype(np.uint16) * factor, tmp_path, kind)
    _, notes = read_noted(path)
    bits = 8 + factor.bit_length() - 1
    assert f"value_range=(0, {2**bits - 1})" in " ".join(notes)
    with pytest.warns(ClipsightWarning, match="so it is dark"):
        read_picture(path)
    told, notes = read_noted(path, (0, 255 * factor))
    assert np.array_equal(np.asarray(told)[..., 0], GREY)
    assert notes == ()


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_the_full_range_has_no_note(tmp_path, kind):
    samples = GREY.astype(np.uint16) * 257
    assert samples.max() > 32768
    picture, notes = read_noted(saved(samples, tmp_path, kind))
    assert np.array_equal(np.asarray(picture)[..., 0], GREY)
    assert notes == ()


def test_a_range_of_a_lens_is_that_of_the_picture(tmp_path):
    lens, path = clipsight.load("clipsight-tiny"), saved(GREY.astype(np.uint16) * 16, tmp_path, "png")
    told = lens.see(path, value_range=(0, 255 * 16))
    assert np.array_equal(np.asarray(told.picture)[..., 0], GREY)
    assert told.notes == ()
    plain = lens.see(path)
    assert "so it is dark" in " ".join(plain.explain(["a dog"]).provenance.notes)
    same = lens.see(np.stack([GREY] * 3, -1))
    assert (told.pixels - same.pixels).abs().max() == 0


@pytest.mark.parametrize("make", [lambda: GREY.astype(np.uint16) * 16, lambda: GREY / 255, lambda: GREY > 90])
@pytest.mark.parametrize("bands", [None, 1, 3])
def test_arrays_of_any_numbers_with_their_range(make, bands):
    array = make()
    white = {"u": 255 * 16, "f": 1.0, "b": 1}[array.dtype.kind]
    expected = GREY if array.dtype.kind != "b" else array * np.uint8(255)
    array = array if bands is None else np.repeat(array[..., None], bands, axis=2)
    picture, notes = read_noted(array, (0, white))
    assert np.array_equal(np.asarray(picture)[..., 1], expected)
    assert notes == ()
    with pytest.raises(PictureError, match="or say the range"):
        read_noted(array)


def test_a_window_is_clipped_and_counted():
    array = np.array([[-1000.0, 0.0, 41.0, 3000.0]])
    picture, notes = read_noted(array, (-160, 240))
    assert np.asarray(picture)[0, :, 0].tolist() == [0, 102, 128, 255]
    assert notes == ("2 samples lie outside -160…240 and were clipped.",)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers(value):
    array = np.ones((4, 4))
    array[1, 2] = value
    with pytest.raises(PictureError, match="NaN or infinite samples"):
        read_noted(array, (0, 1))


@pytest.mark.parametrize(
    "value_range",
    [(1, 1), (2, 1), (0,), (0, 1, 2), 255, "01", (0, np.nan), (0, np.inf), (False, True), (None, 1)],
)
def test_a_range_that_is_none(value_range):
    with past_type_checks(), pytest.raises(ValueError, match="value_range="):
        read_noted(GREY, value_range)


def test_colour_of_sixteen_bits_keeps_its_upper_eight_and_says_where_they_are_empty(tmp_path):
    colour = np.stack([GREY] * 3, -1).astype(np.uint16)
    (tmp_path / "dark.png").write_bytes(corpus.png16(colour * 16))
    (tmp_path / "full.png").write_bytes(corpus.png16(colour * 257))
    assert "Its 16-bit samples reach about" in " ".join(read_noted(tmp_path / "dark.png")[1])
    assert read_noted(tmp_path / "full.png")[1] == ()
    with pytest.raises(PictureError, match="into an array, and give that with value_range"):
        read_noted(tmp_path / "dark.png", (0, 4095))


@pytest.mark.parametrize(("white", "noted"), [(1.0, False), (1.5, True), (100.0, True), (255.0, False)])
def test_floats_in_files(tmp_path, white, noted):
    path = tmp_path / "f.tiff"
    Image.fromarray((GREY / GREY.max() * white).astype(np.float32)).save(path)
    assert bool(read_noted(path)[1]) == noted
    told = np.asarray(read_noted(path, (0, white))[0])[..., 0]
    assert told.max() == 255


def test_samples_that_nothing_explains_say_how(tmp_path):
    path = tmp_path / "f.tiff"
    Image.fromarray(np.array([[-5.0, 900.0]], np.float32)).save(path)
    with pytest.raises(PictureError, match=r"value_range=\(-5, 900\)"):
        read_noted(path)
    assert np.asarray(read_noted(path, (-5, 900))[0])[0, :, 0].tolist() == [0, 255]


def directory_first(data: bytes, *, lists_last: bool = False) -> bytes:
    """The same TIFF with its directory before its strips, as many programs write it; its lists there or at the end."""
    tags = Image.open(io.BytesIO(data)).tag_v2  # pyright: ignore[reportAttributeAccessIssue]
    offsets, counts = tags[273], tags[279]
    strips = b"".join(data[start : start + count] for start, count in zip(offsets, counts, strict=True))
    kept = [tag for tag in (256, 257, 258, 259, 262, 277, 278, 284, 317) if tag in tags]
    values = {tag: ("H", tags[tag] if isinstance(tags[tag], tuple) else (tags[tag],)) for tag in kept}
    values |= {273: ("I", offsets), 279: ("I", counts)}
    spare = 8 + 2 + 12 * len(values) + 4
    long = sum(size for kind, given in values.values() if (size := struct.calcsize(kind) * len(given)) > 4)
    begin, behind = (spare, spare + len(strips)) if lists_last else (spare + long, spare)
    starts = [begin + sum(counts[:index]) for index in range(len(counts))]
    values[273] = ("I", tuple(starts))
    entries, extra = b"", b""
    for tag, (kind, given) in sorted(values.items()):
        raw = struct.pack(f"<{len(given)}{kind}", *given)
        entry = raw.ljust(4, b"\0") if len(raw) <= 4 else struct.pack("<I", behind + len(extra))
        extra += raw if len(raw) > 4 else b""
        entries += struct.pack("<HHI", tag, {"H": 3, "I": 4}[kind], len(given)) + entry
    parts = (strips, extra) if lists_last else (extra, strips)
    return b"II*\0" + struct.pack("<IH", 8, len(values)) + entries + struct.pack("<I", 0) + b"".join(parts)


def files() -> dict[str, bytes]:
    """A picture in each format that Pillow writes, and TIFFs of each packing with either layout."""
    made: dict[str, bytes] = {}
    one_bit = SCENE.convert("1")
    for kind, options in (
        ("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("BMP", {}), ("GIF", {}), ("PPM", {}), ("TGA", {}),
        ("TGA", {"compression": "tga_rle"}), ("PCX", {}), ("SGI", {}), ("WEBP", {}), ("WEBP", {"lossless": True}),
        ("JPEG2000", {}), ("ICO", {}),
    ):  # fmt: skip
        out = io.BytesIO()
        SCENE.save(out, kind, **options)
        made[f"{kind} {options}"] = out.getvalue()
    for packing in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "group4"):
        for rows in ({}, {278: 8}):
            out = io.BytesIO()
            picture = one_bit if packing == "group4" else SCENE
            picture.save(out, "TIFF", compression=packing, tiffinfo=rows)
            made[f"TIFF {packing} {rows}"] = out.getvalue()
            made[f"TIFF {packing} {rows} directory first"] = directory_first(out.getvalue())
            made[f"TIFF {packing} {rows} lists last"] = directory_first(out.getvalue(), lists_last=True)
    return made


FILES = files()


@pytest.mark.parametrize("name", FILES)
def test_a_cut_file_is_refused_or_reads_the_same(tmp_path, name, capfd):
    whole, path = FILES[name], tmp_path / "picture"
    path.write_bytes(whole)
    expected = np.asarray(read_noted(path)[0])
    for cut in (1, 7, 40, 142, 300, len(whole) // 3, len(whole) // 2):
        path.write_bytes(whole[:-cut])
        try:
            found = np.asarray(read_noted(path)[0])
        except PictureError:
            continue
        assert np.array_equal(found, expected), f"cut by {cut}"


@pytest.mark.parametrize("name", [name for name in FILES if "directory first" in name])
def test_a_tiff_with_a_hole_is_refused(tmp_path, name):
    whole, path = FILES[name], tmp_path / "picture.tiff"
    middle = len(whole) * 2 // 3
    path.write_bytes(whole[:middle] + whole[middle + 142 :])
    with pytest.raises(PictureError, match="it is truncated: parts of it lie beyond its end"):
        read_noted(path)
    with pytest.raises(PictureError, match="truncated"):
        read_noted(Image.open(io.BytesIO(path.read_bytes())))
