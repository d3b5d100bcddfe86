"""Reading any picture into eight-bit RGB, or refusing it in one sentence that names it."""

import os
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from .errors import PictureError

PictureSource = str | os.PathLike[str] | Image.Image | np.ndarray

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

MOST_PIXELS = 200_000_000  # 600 MB as RGB; Pillow's own limit, about 179 million unless changed, also holds

# what Pillow's decoders raise on broken files, found by feeding them damaged ones
_BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, ArithmeticError, RuntimeError, struct.error,
    zlib.error,
)  # fmt: skip

# warning filters belong to the whole process: two threads that change and restore them at once may leave them changed
_FILTERS = threading.Lock()


def read_picture(source: PictureSource) -> Image.Image:
    """The picture as a new Pillow image in mode RGB, upright, eight bits.

    `source`: a path, a Pillow image (left as it is) or a uint8 array of shape (H, W, 3), (H, W, 4) or
    (H, W) in RGB order (arrays from OpenCV are BGR: reverse the last axis). EXIF rotation is applied, the
    first frame of an animation taken, transparency laid on white, 16-bit samples scaled to eight,
    floating-point files read as 0…1 or 0…255.

    Errors: PictureError, one sentence naming the source, for what is missing, a folder, truncated, empty, above
    200 megapixels or no picture at all, and for arrays of another type or shape; TypeError for other objects.

    >>> read_picture("photo.jpg").size
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        name = _described(source)
        _check_size(source, name)
        with _quiet(), _refusing_broken(name):
            return _to_rgb(source, name)
    if not isinstance(source, str | os.PathLike):
        raise TypeError(_type_hint(source))
    return _from_file(os.fspath(source))


def picture_name(source: PictureSource) -> str:
    """The file name without its folder, or "" when the source has none."""
    if isinstance(source, Image.Image):
        source = getattr(source, "filename", "") or ""
    if isinstance(source, str | os.PathLike):
        return Path(os.fsdecode(source)).name
    return ""


def _from_file(path: str) -> Image.Image:
    if not os.path.exists(path):
        web = path.startswith(("http://", "https://"))
        advice = "download it first and give the file" if web else "check the name and the folder you are in"
        raise PictureError(f"cannot read the picture {path!r}: there is no such file; {advice}.")
    if not os.path.isfile(path):
        kind = "a folder" if os.path.isdir(path) else "not an ordinary file"
        raise PictureError(
            f"cannot read the picture {path!r}: it is {kind}; give one picture file, or several."
        )
    if os.path.getsize(path) == 0:
        raise PictureError(f"cannot read the picture {path!r}: the file is empty; copy or download it again.")
    with _quiet(), _refusing_broken(path), Image.open(path) as image:
        _check_size(image, path)
        return _to_rgb(image, path)


@contextmanager
def _refusing_broken(name: str) -> Iterator[None]:
    try:
        yield
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(_too_large(name, None)) from error
    except UnidentifiedImageError as error:
        raise PictureError(
            f"cannot read the picture {name!r}: it begins like no picture format that Pillow knows, "
            "or its beginning is damaged; save it again as PNG or JPEG."
        ) from error
    except PermissionError as error:
        raise PictureError(
            f"cannot read the picture {name!r}: reading is not permitted; change its rights."
        ) from error
    except _BROKEN as error:
        raise PictureError(
            f"cannot read the picture {name!r}: it is truncated or damaged ({error}); copy or download it again."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of large pictures, odd EXIF and TIFF tags, palettes: all are handled here
        yield


def _check_size(image: Image.Image, name: str) -> None:
    if image.width * image.height > MOST_PIXELS:
        raise PictureError(_too_large(name, image.size))
    if 0 in image.size:
        raise PictureError(
            f"cannot read the picture {name!r}: it has no pixels ({image.width} × {image.height})."
        )


def _too_large(name: str, size: tuple[int, int] | None) -> str:
    got, limit = (
        "it has too many pixels",
        "Pillow's limit is about 179",
    )  # twice Image.MAX_IMAGE_PIXELS, unless changed
    if size:
        got, limit = f"it has {size[0]} × {size[1]} pixels", f"the limit is {MOST_PIXELS // 1_000_000}"
    return (
        f"cannot read the picture {name!r}: {got} and {limit} megapixels "
        "(against files made to fill the memory); scale it down first."
    )


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    image.load()
    upright = _upright(image)
    mode = upright.mode
    if mode.startswith("I;16") or mode in ("I", "F"):
        return _from_deep(upright, name)
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in upright.info:
        layer = upright.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return upright.copy() if mode == "RGB" else upright.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except _BROKEN:  # a damaged note about the camera does not spoil the pixels
        return image
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _from_deep(image: Image.Image, name: str) -> Image.Image:
    """Grey samples of more than eight bits: 16-bit by their full range, floats as 0…1 or 0…255."""
    samples = np.asarray(image).astype(np.float64)
    low, high = float(samples.min()), float(samples.max())
    if not np.isfinite([low, high]).all() or low < 0 or high > 65535 or (image.mode == "F" and high > 255):
        raise PictureError(
            f"cannot read the picture {name!r}: its samples run from {low:g} to {high:g} and nothing says which is "
            "white; scale them to 0…255 and save it as an eight-bit PNG."
        )
    if image.mode == "F":
        factor = 255.0 if high <= 1 else 1.0
    else:
        factor = 1 / 257 if image.mode.startswith("I;16") or high > 255 else 1.0
    return Image.fromarray(np.round(samples * factor).astype(np.uint8)).convert("RGB")


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8:
        cures = {
            "f": "write `(255 * x).round().astype(np.uint8)` when it runs from 0 to 1",
            "b": "write `255 * x.astype(np.uint8)`",
            "u": "write `(x // 257).astype(np.uint8)` when it has 16 bits",
        }
        cure = cures.get(array.dtype.kind, "write `x.astype(np.uint8)` when it runs from 0 to 255")
        raise PictureError(f"a picture array must be uint8 with values 0…255, got {array.dtype}; {cure}.")
    shape = array.shape
    if array.ndim == 4:
        raise PictureError(
            f"one picture was asked and an array of shape {shape} given; pass its pictures one by one."
        )
    if not (array.ndim == 2 or (array.ndim == 3 and shape[2] in (1, 3, 4))):
        planes = array.ndim == 3 and shape[0] in (1, 3, 4)
        cure = (
            "the channels come last: write `np.moveaxis(x, 0, -1)`" if planes else "give rows × columns × RGB"
        )
        raise PictureError(
            f"a picture array must have shape (H, W, 3), (H, W, 4) or (H, W), got {shape}; {cure}."
        )
    if array.size == 0:
        raise PictureError(f"a picture array of shape {shape} has no pixels.")
    if shape[0] * shape[1] > MOST_PIXELS:
        raise PictureError(_too_large("array", (shape[1], shape[0])))
    flat = array[..., 0] if array.ndim == 3 and shape[2] == 1 else array
    return _to_rgb(Image.fromarray(np.ascontiguousarray(flat)), "array")


def _described(image: Image.Image) -> str:
    return getattr(image, "filename", "") or f"{image.width} × {image.height} Pillow image"


def _type_hint(source: object) -> str:
    kind = f"{type(source).__module__}.{type(source).__qualname__}"
    if kind.startswith("torch."):
        cure = "write `Image.fromarray(x.mul(255).byte().permute(1, 2, 0).cpu().numpy())` for a (3, H, W) tensor in 0…1"
    elif isinstance(source, bytes | bytearray | memoryview) or hasattr(source, "read"):
        cure = "write `PIL.Image.open(...)` around it (and `io.BytesIO` around bytes)"
    elif isinstance(source, list | tuple):
        cure = "pass pictures one by one"
    else:
        cure = "give one of these"
    return f"a picture is a path, a Pillow image or a uint8 array (H, W, 3), got {kind}; {cure}."
