"""From an opened Pillow image of any mode to upright eight-bit sRGB."""

import os
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from clipsight.errors import PictureError

from .colours import in_srgb
from .ranges import ValueRange, guessed_range, to_eight_bits

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

MOST_PIXELS = (
    200_000_000  # 800 MB as Pillow holds RGB; its own limit, about 179 million unless changed, also holds
)

# what Pillow's decoders raise on broken files and closed images, found by feeding them damaged ones
_BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, ArithmeticError, RuntimeError, AttributeError,
    AssertionError, struct.error, zlib.error,
)  # fmt: skip

# warning filters belong to the whole process: two threads that change and restore them at once may leave them changed
_FILTERS = threading.Lock()

_DARK_COLOUR = (
    "Its 16-bit samples reach about {:,} of 65,535 and were read by the full range, so it is dark. If white is another "
    "number, read it with another program into an array and say it: lens.see(ARRAY, value_range=(black, white))."
)


@contextmanager
def refusing_broken(name: str, *, advice: str) -> Iterator[None]:
    """Whatever Pillow raises becomes one sentence about the picture `name` (in quotes), and its warnings are silent."""
    try:
        with _FILTERS, warnings.catch_warnings():
            # of large pictures, odd EXIF and TIFF tags, palettes: all are handled here
            warnings.simplefilter("ignore")
            yield
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(_too_large(name, None)) from error
    except UnidentifiedImageError as error:
        raise PictureError(
            f"cannot read the picture {name}: it begins like no picture format that Pillow knows, "
            "or its beginning is damaged; save it again as PNG or JPEG."
        ) from error
    except PermissionError as error:
        raise PictureError(
            f"cannot read the picture {name}: reading is not permitted; change its rights."
        ) from error
    except MemoryError as error:
        raise PictureError(
            f"cannot read the picture {name}: the memory is too small for it; scale it down first."
        ) from error
    except _BROKEN as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise PictureError(
            f"cannot read the picture {name}: it is truncated, damaged or closed ({reason}); {advice}."
        ) from error


def check_size(size: tuple[int, int], name: str) -> None:
    """Refuse, before anything is decoded, a (width, height) of no pixels or too many."""
    if size[0] * size[1] > MOST_PIXELS:
        raise PictureError(_too_large(name, size))
    if 0 in size:
        raise PictureError(f"cannot read the picture {name}: it has no pixels ({size[0]} × {size[1]}).")


def _too_large(name: str, size: tuple[int, int] | None) -> str:
    # twice Image.MAX_IMAGE_PIXELS, unless changed
    got, limit = "it has too many pixels", "Pillow's limit is about 179"
    if size:
        got, limit = f"it has {size[0]} × {size[1]} pixels", f"the limit is {MOST_PIXELS // 1_000_000}"
    return (
        f"cannot read the picture {name}: {got} and {limit} megapixels "
        "(against files made to fill the memory); scale it down first."
    )


def decode(
    image: Image.Image, name: str, value_range: ValueRange | None = None
) -> tuple[Image.Image, tuple[str, ...]]:
    """A new image in mode RGB that carries nothing else, and what its reader should know.

    Its rotation and profile are done with: read again, it stays as it is.
    """
    deep = _sixteen_bit_colour(image)
    if deep and value_range is not None:
        raise PictureError(
            f"cannot read the picture {name} by value_range: Pillow keeps the upper eight of its sixteen bits a colour "
            "alone; read it with another program into an array, and give that with value_range."
        )
    _check_strips(image, name)
    image.load()
    upright = _upright(image)
    profile = upright.info.get("icc_profile")
    eight, notes = _eight_bits(upright, name, value_range)
    if deep and 0 < (high := max(top for _, top in _extremes(eight))) < 128:
        notes = (_DARK_COLOUR.format(256 * high + 255),)
    straight, alpha = _without_alpha(eight)
    picture, of_colours = in_srgb(straight, profile)
    notes = (*notes, *of_colours)
    if alpha is not None:
        white = Image.new("RGB", picture.size, "white")
        white.paste(picture, mask=alpha)
        picture = white
    if picture is image:
        picture = image.copy()
    picture.info = {}
    return picture, notes


def has_more_frames(image: Image.Image) -> bool:
    """Whether another frame follows; asked after decoding, because the answer moves within the file."""
    try:
        return bool(getattr(image, "is_animated", False))
    except _BROKEN:  # a damaged next frame does not spoil this one
        return True


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except _BROKEN:  # a damaged note about the camera does not spoil the pixels
        return image
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _eight_bits(
    image: Image.Image, name: str, value_range: ValueRange | None
) -> tuple[Image.Image, tuple[str, ...]]:
    """Samples of more than eight bits, or any if the range is stated, as eight; other pictures as they are."""
    kind = "16" if image.mode.startswith("I;16") else {"F": "float", "I": "32"}.get(image.mode, "")
    if not kind and value_range is None:
        return image, ()
    if not kind and image.mode not in ("L", "RGB"):
        raise PictureError(
            f"cannot read the picture {name}: value_range goes with grey and RGB samples, and this is of Pillow's mode "
            f"{image.mode}; leave it out, or convert the picture first."
        )
    samples, notes = np.asarray(image), ()
    if value_range is None:
        value_range, notes = guessed_range(samples, kind, name)
    scaled, clipped = to_eight_bits(samples, value_range, name)
    made = Image.fromarray(scaled)
    made.info = dict(image.info) if not kind else {}
    return made, (*notes, *clipped)


def _extremes(image: Image.Image) -> tuple[tuple[int, int], ...]:
    """(least, greatest) sample of each band but the opacity."""
    return tuple(image.getchannel(band).getextrema() for band in image.getbands() if band != "A")  # pyright: ignore[reportReturnType]


def _sixteen_bit_colour(image: Image.Image) -> bool:
    """Whether Pillow will keep the upper eight of sixteen bits alone; asked before decoding."""
    tiles = getattr(image, "tile", None) or ()
    return image.mode in ("RGB", "RGBA", "LA") and any(";16" in str(tile[3]) for tile in tiles)


def _check_strips(image: Image.Image, name: str) -> None:
    """Refuse a TIFF that lacks strips or tiles, or whose parts lie beyond its end: decoders fill up what they lack."""
    file, tags = getattr(image, "fp", None), getattr(image, "tag_v2", None)
    if image.format != "TIFF" or file is None or tags is None:
        return
    here = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(here)
    tiled = 324 in tags
    starts, lengths = (tags.get(tag, ()) for tag in ((324, 325) if tiled else (273, 279)))
    width, height = tags.get(256, 0), tags.get(257, 0)
    across, down = (tags.get(322, width), tags.get(323, height)) if tiled else (width, tags.get(278, height))
    planes = tags.get(277, 1) if tags.get(284) == 2 else 1
    wanted = planes * -(-width // max(1, across)) * -(-height // max(1, down))
    if len(starts) < wanted or len(lengths) < len(starts):
        raise PictureError(
            f"cannot read the picture {name}: it is truncated: {min(len(starts), len(lengths))} of its {wanted} parts "
            "are listed; copy or download it again."
        )
    if any(start + length > size for start, length in zip(starts, lengths, strict=False)):
        raise PictureError(
            f"cannot read the picture {name}: it is truncated: parts of it lie beyond its end at {size:,} bytes; copy "
            "or download it again."
        )
    if tags.get(259, 1) == 1 and not tiled and image.mode not in ("1", "YCbCr"):
        bits = sum(tags.get(258, (1,))) if planes == 1 else max(tags.get(258, (1,)))
        if 8 * sum(lengths) < width * height * bits * planes:
            raise PictureError(
                f"cannot read the picture {name}: it is truncated: its parts hold {sum(lengths):,} bytes, fewer than "
                f"its {width} × {height} pixels take; copy or download it again."
            )


def _without_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """The colours in mode L, RGB or CMYK, and the opacity where there is any."""
    alpha = None
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("LA" if image.mode in ("1", "L", "LA", "La") else "RGBA")
        alpha = image.getchannel("A")
    mode = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}.get(image.mode, "RGB")
    return (image if image.mode == mode else image.convert(mode)), alpha
