"""From an opened Pillow image of any mode to upright eight-bit sRGB."""

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

_STRIP = 1 << 20
"""Samples of a deep picture scaled at a time."""


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


def decode(image: Image.Image, name: str) -> tuple[Image.Image, tuple[str, ...]]:
    """A new image in mode RGB that carries nothing else, and what its reader should know.

    Its rotation and profile are done with: read again, it stays as it is.
    """
    image.load()
    upright = _upright(image)
    profile = upright.info.get("icc_profile")
    straight, alpha = _without_alpha(_eight_bits(upright, name))
    picture, notes = in_srgb(straight, profile)
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


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """Grey samples of more than eight bits: 16-bit by their full range, floats as 0…1 or 0…255; others as they are."""
    sixteen, floats = image.mode.startswith("I;16"), image.mode == "F"
    if not (sixteen or floats or image.mode == "I"):
        return image
    samples = np.asarray(image)
    low, high = float(samples.min()), float(samples.max())
    if not np.isfinite([low, high]).all() or low < 0 or high > (255 if floats else 65535):
        raise PictureError(
            f"cannot read the picture {name}: its samples run from {low:g} to {high:g} and nothing says which is "
            "white; scale them to 0…255 and save it as an eight-bit PNG."
        )
    factor = (255.0 if high <= 1 else 1.0) if floats else (1 / 257 if sixteen or high > 255 else 1.0)
    scaled = np.empty(samples.shape, np.uint8)
    rows = max(1, _STRIP // samples.shape[1])
    for top in range(0, len(samples), rows):
        part = slice(top, top + rows)
        scaled[part] = np.round(samples[part].astype(np.float64) * factor)
    return Image.fromarray(scaled)


def _without_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """The colours in mode L, RGB or CMYK, and the opacity where there is any."""
    alpha = None
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("LA" if image.mode in ("1", "L", "LA", "La") else "RGBA")
        alpha = image.getchannel("A")
    mode = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}.get(image.mode, "RGB")
    return (image if image.mode == mode else image.convert(mode)), alpha
