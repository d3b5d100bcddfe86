"""A corpus of bad and odd picture files, made where it is needed: every cut, every claim, every kind of pixel."""

import io
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from clipsight.errors import PictureError
from clipsight.pictures import read_noted
from inputs.profiles import linear_rgb

NAMES = {
    0xD8: "SOI", 0xD9: "EOI", 0xDA: "SOS", 0xDB: "DQT", 0xC4: "DHT", 0xC0: "SOF0", 0xC2: "SOF2", 0xDD: "DRI",
    0xFE: "COM", **{0xE0 + number: f"APP{number}" for number in range(16)},
}  # fmt: skip


def picture(width: int = 32, height: int = 24) -> Image.Image:
    """A smooth picture in which every pixel differs from its neighbours."""
    down, across = np.mgrid[:height, :width]
    planes = (across * 255 // width, down * 255 // height, (across + down) * 255 // (width + height))
    return Image.fromarray(np.stack(planes, -1).astype(np.uint8))


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def rich_jpeg(*, progressive: bool) -> bytes:
    """A JPEG with EXIF, profile, comment, restart markers and every table."""
    exif = Image.Exif()
    exif[0x010E] = "a description"
    return encoded(
        picture(48, 40),
        "JPEG",
        progressive=progressive,
        exif=exif,
        icc_profile=linear_rgb(),
        comment=b"a comment",
        restart_marker_blocks=0 if progressive else 2,
    )


def jpeg_cuts(data: bytes) -> Iterator[tuple[str, int]]:
    """Where to cut a JPEG: inside and after each marker, inside and after what it carries, and in the scans."""
    place = 0
    while place < len(data):
        assert data[place] == 0xFF
        code = data[place + 1]
        name = NAMES[code]
        yield f"{name} inside the marker", place + 1
        yield f"{name} after the marker", place + 2
        if code == 0xD9:
            return
        place += 2
        if code == 0xD8:
            continue
        length = struct.unpack(">H", data[place : place + 2])[0]
        yield f"{name} inside its length", place + 1
        yield f"{name} inside", place + length // 2
        place += length
        yield f"{name} after", place
        if code != 0xDA:
            continue
        start = place
        while data[place] != 0xFF or data[place + 1] == 0 or 0xD0 <= data[place + 1] <= 0xD7:
            place += 1
        yield "scan first byte", start + 1
        yield "scan middle", (start + place) // 2
        yield "scan before its last byte", place - 1


def rich_png() -> bytes:
    """A palette PNG with transparency, EXIF, profile, texts short and compressed, and several data chunks."""
    texts = PngImagePlugin.PngInfo()
    texts.add_text("short", "a text")
    texts.add_text("long", "a text " * 50, zip=True)
    exif = Image.Exif()
    exif[0x010E] = "a description"
    noise = np.random.default_rng(0).integers(
        0, 64, (330, 330), dtype=np.uint8
    )  # more than one chunk of 64 kB
    image = Image.fromarray(noise)
    image.putpalette(np.random.default_rng(1).integers(0, 256, 192, dtype=np.uint8).tobytes())
    options = {"pnginfo": texts, "exif": exif, "icc_profile": linear_rgb(), "dpi": (72, 72)}
    return encoded(image, "PNG", transparency=bytes(range(0, 256, 4)), **options)


def png_chunks(data: bytes) -> Iterator[tuple[str, int, int]]:
    """(type, start, length of its data) of each chunk."""
    place = 8
    while place < len(data):
        length = struct.unpack(">I", data[place : place + 4])[0]
        yield data[place + 4 : place + 8].decode(), place, length
        place += length + 12


def png_cuts(data: bytes) -> Iterator[tuple[str, int]]:
    """Where to cut a PNG: in the signature, and in each chunk's length, type, data and check sum."""
    yield "signature", 5
    for name, start, length in png_chunks(data):
        yield f"{name} length", start + 2
        yield f"{name} type", start + 6
        if length:
            yield f"{name} data", start + 8 + length // 2
        yield f"{name} check sum", start + length + 10


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int, height: int, rows: bytes, *, depth: int = 8, colour: int = 2, before: bytes = b""
) -> bytes:
    """A PNG that says it has this size, whatever its rows hold."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + data


def png16(samples: np.ndarray) -> bytes:
    """A PNG of sixteen bits of an array (H, W, channels) with 1 grey, 2 grey and opacity, 3 RGB, 4 RGB and opacity."""
    height, width, channels = samples.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return png(width, height, rows, depth=16, colour={1: 0, 2: 4, 3: 2, 4: 6}[channels])


def tiff(tags: Mapping[int, tuple[int, int, int]], data: bytes = b"") -> bytes:
    """A little-endian TIFF of tag -> (type, count, value or offset); `data` lies at offset 8."""
    entries = b"".join(struct.pack("<HHII", tag, *tags[tag]) for tag in sorted(tags))
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def tiff_claiming(width: int, height: int, data: bytes = b"\0" * 64) -> bytes:
    """An RGB TIFF that says it has this size, in one strip."""
    short, long = 3, 4
    return tiff(
        {
            256: (long, 1, width),
            257: (long, 1, height),
            258: (short, 1, 8),
            259: (short, 1, 1),
            262: (short, 1, 1),
            273: (long, 1, 8),
            277: (short, 1, 1),
            278: (long, 1, height),
            279: (long, 1, 3 * width * height % 2**32),
        },
        data,
    )


def bombs() -> dict[str, bytes]:
    """Files of a few kilobytes that ask for gigabytes."""
    side = 60_000
    small = encoded(picture(), "JPEG")
    frame = small.index(b"\xff\xc0") + 5
    huge_jpeg = small[:frame] + struct.pack(">HH", 65_000, 65_000) + small[frame + 4 :]
    gif = encoded(picture().quantize(8), "GIF")
    window = gif.index(b",\0\0\0\0") + 5  # the frame is larger than the screen
    bmp = encoded(picture(), "BMP")
    row = b"\0" + bytes(13_400 // 8)
    return {
        "claims.png": png(side, side, b""),
        "filled.png": png(13_400, 13_400, row * 13_400, depth=1, colour=0),  # just above Pillow's limit
        "claims.tif": tiff_claiming(side, side),
        "claims.jpg": huge_jpeg,
        "screen.gif": gif[:6] + struct.pack("<HH", 65_535, 65_535) + gif[10:],
        "frame.gif": gif[:window] + struct.pack("<HH", 65_535, 65_535) + gif[window + 4 :],
        "claims.bmp": bmp[:18] + struct.pack("<ii", side, side) + bmp[26:],
        "claims.ppm": b"P6 60000 60000 255\n" + bytes(100),
        "text.png": png(
            2, 2, bytes(14), before=chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(100_000_000), 9))
        ),
        "profile.png": png(
            2, 2, bytes(14), before=chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(100_000_000), 9))
        ),
    }


@contextmanager
def nobody() -> Iterator[None]:
    """Root reads and writes everywhere: be somebody else for a while, if you are root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def read_or_refused(path: Path) -> Image.Image | str:
    """The picture, or the sentence by which it was refused, checked for its form."""
    try:
        image, _ = read_noted(path)
    except PictureError as error:
        said = str(error)
        assert said.startswith(f"cannot read the picture {str(path)!r}: "), said
        assert said.endswith(".")
        assert "\n" not in said
        assert len(said) < 400 + len(str(path)), said
        return said
    assert image.mode == "RGB"
    return image
