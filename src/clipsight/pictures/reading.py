"""Open what the user gives as a picture with Pillow, or explain why it is not one."""

import os
import re
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from clipsight.errors import ClipsightWarning, PictureError

from .arrays import image_of_array
from .decoding import check_size, decode, has_more_frames, refusing_broken
from .naming import shown
from .ranges import ValueRange, check_range

PictureSource = str | os.PathLike[str] | Image.Image | np.ndarray

_ADDRESS = re.compile(r"(?i)(?P<scheme>[a-z][a-z0-9+.-]+):/|data:[^/]*[/,;]")
"""What begins like an address; one letter before the colon is a drive of Windows."""

DRAWINGS = {"EPS": "PostScript", "WMF": "Windows Metafile"}
"""Formats of Pillow that are programs or commands to draw by, which need other programs to become pixels."""

_MOVING = {
    "GIF": "animation",
    "PNG": "animation",
    "WEBP": "animation",
    "AVIF": "animation",
    "TIFF": "file of pages",
}
"""Formats whose further frames are pictures of their own; in others they are previews, depths or layers."""


def read_picture(source: PictureSource, value_range: ValueRange | None = None) -> Image.Image:
    """The picture as a new Pillow image in mode RGB, upright, eight bits, in sRGB.

    `source`: a path, a Pillow image (left as it is) or a uint8 array of shape (H, W, 3), (H, W, 4) or
    (H, W) in RGB order (arrays from OpenCV are BGR: reverse the last axis). EXIF rotation is applied, the
    first frame of an animated file taken, colours brought to sRGB by the profile in the file, transparency
    laid on white, 16-bit samples scaled to eight by their full range, floating-point files read as 0…1 or 0…255.

    `value_range`: (black, white) in the picture's own samples, for grey files of more than eight bits and arrays of any
    numbers: (0, 4095) for twelve bits in sixteen, (0, 1) for floats. What lies beyond is clipped.

    Warns with a `ClipsightWarning` of further frames, of a colour profile that cannot be used, of deep samples whose
    range may be another, and of clipped ones.

    Errors: PictureError, one sentence naming the source, for what is missing, a folder, an address (nothing is
    fetched), truncated, empty, above 200 megapixels or no picture at all, and for arrays of another type or
    shape; TypeError for other objects.

    >>> read_picture("photo.jpg").size
    """
    picture, notes = read_noted(source, value_range)
    for note in notes:
        warnings.warn(f"{picture_name(source) or 'picture'}: {note}", ClipsightWarning, stacklevel=2)
    return picture


def read_noted(
    source: PictureSource, value_range: ValueRange | None = None
) -> tuple[Image.Image, tuple[str, ...]]:
    """As `read_picture`, with a sentence for each thing that it warns of, for callers who record them."""
    value_range = None if value_range is None else check_range(value_range)
    if isinstance(source, np.ndarray):
        image, notes = image_of_array(source, value_range)
        picture, others = decode(image, "array")
        return picture, (*notes, *others)
    if isinstance(source, Image.Image):
        name = shown(getattr(source, "filename", "") or f"{source.width} × {source.height} Pillow image")
        check_size(source.size, name)
        with refusing_broken(name, advice="open it again, and give it before it is closed"):
            return decode(source, name, value_range)
    if not isinstance(source, str | os.PathLike):
        raise TypeError(_type_hint(source))
    return _from_file(os.fsdecode(source), value_range)


def picture_name(source: PictureSource) -> str:
    """The file name without its folder, or "" when the source has none."""
    if isinstance(source, Image.Image):
        source = getattr(source, "filename", "") or ""
    if isinstance(source, str | os.PathLike):
        return Path(os.fsdecode(source)).name
    return ""


def _from_file(path: str, value_range: ValueRange | None) -> tuple[Image.Image, tuple[str, ...]]:
    name = shown(path)
    if problem := _why_no_file(path):
        raise PictureError(f"cannot read the picture {name}: {problem}.")
    with refusing_broken(name, advice="copy or download it again"), Image.open(path) as image:
        if kind := DRAWINGS.get(image.format or ""):
            raise PictureError(
                f"cannot read the picture {name}: it is a drawing in {kind}, not pixels; save it as PNG."
            )
        check_size(image.size, name)
        picture, notes = decode(image, name, value_range)
        if (kind := _MOVING.get(image.format or "")) and has_more_frames(image):
            notes = (*notes, f"Only the first picture of the {kind} was read.")
        return picture, notes


def _why_no_file(path: str) -> str:
    """Why there is nothing to open under this name, and what to do; "" when there is an ordinary file."""
    try:
        status = os.stat(path)
    except PermissionError:
        return "a folder on the way to it may not be entered; change the rights of that folder"
    except (OSError, ValueError):
        return _why_missing(path)
    if os.path.isdir(path):
        return "it is a folder; give one picture file, or several"
    if not os.path.isfile(path):
        return "it is a pipe, socket or device, not an ordinary file; write it to a file and give that"
    return "" if status.st_size else "the file is empty; copy or download it again"


def _why_missing(path: str) -> str:
    if address := _ADDRESS.match(path):
        if (address["scheme"] or "").lower() == "file":
            return "it is an address; give the path alone, without 'file://' and with its %-signs decoded"
        return "it is an address and nothing is fetched; download it first and give the file"
    if os.path.islink(path):
        return "it is a link to a file that does not exist; give the file itself"
    return "there is no such file; check the name and the folder you are in"


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
