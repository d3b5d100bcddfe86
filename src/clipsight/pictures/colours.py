"""Convert colours from a picture's own profile to sRGB, which screens show and models were trained on."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

_SAME = 2
"""A profile that moves no colour by more than so many of 255 levels is sRGB, and the pixels stay as they are."""

_UNUSABLE = (
    "Its colour profile is damaged, or made for another kind of picture; the colours were read without it."
)


def in_srgb(image: Image.Image, profile: object) -> tuple[Image.Image, tuple[str, ...]]:
    """The picture in mode RGB and sRGB, and a note when its profile could not be used.

    Args:
        image: mode L, RGB or CMYK.
        profile: an ICC profile's bytes; None or anything else is no profile.

    Returns:
        `image` itself where nothing had to be done.
    """
    if not isinstance(profile, bytes) or not profile:
        return _plainly(image), ()
    try:
        transform = _to_srgb(profile, image.mode)
        changed = None if transform is None else ImageCms.applyTransform(image, transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return _plainly(image), (_UNUSABLE,)
    return _plainly(image) if changed is None else changed, ()


def _plainly(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=8)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """What brings pixels of `mode` to sRGB; None for a profile that is sRGB."""
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.PERCEPTUAL,
    )
    if mode == "CMYK":
        return transform
    levels = np.arange(0, 256, 17, dtype=np.uint8)
    lattice = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(64, 64, 3)
    probe = Image.fromarray(lattice).convert(mode)
    after = ImageCms.applyTransform(probe, transform)
    assert after is not None
    moved = np.abs(np.asarray(after, np.int16) - np.asarray(probe.convert("RGB"), np.int16)).max()
    return None if moved <= _SAME else transform
