"""Picture preprocessing: the size that a picture is resized to, and its normalised pixels.

Sizes are whole patches, so that no strip of the picture is cut off unseen.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from clipsight.towers.loading import Preprocess

MAX_PATCHES = 4096
"""Above so many patches the long side is limited."""

_MOST_SCALE = 100.0
_EXACT = 1e-9
"""A side that is whole but for rounding is whole."""

MOST_SIDE = 1_000_000
"""Pixels of a side that may be asked for; what is asked for is limited anyway."""

Resolution = str | int | tuple[int, int]
"""`"native"`, `"square"`, a short side in pixels, or (height, width)."""

_RESAMPLING = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The size to which a picture is resized, and a note for the user."""

    size: tuple[int, int]
    """(H, W) pixels, multiples of the patch."""
    notes: tuple[str, ...] = ()


def fit_size(
    picture: tuple[int, int],
    resolution: Resolution,
    native: tuple[int, int],
    patch: tuple[int, int],
    max_patches: int | None = None,
) -> Fit:
    """The (H, W) in pixels to which a picture is resized.

    Args:
        picture: (H, W) of the picture.
        resolution: `"native"` short side at the model's training size, aspect kept; an int that short side; (H, W)
            exactly; `"square"` the model's own size, stretched. Integers of NumPy are integers; floats, booleans and
            digits in quotes are not.
        native: (H, W) the model was trained at.
        patch: (height, width) of a patch.
        max_patches: `"native"` keeps the aspect and takes at most so many patches, as the model's own processor does;
            None for models of one size.

    Raises:
        ValueError: an unknown word, a side below one patch or above a million pixels, or an exact size that would cut
            patches.
    """
    word = resolution if isinstance(resolution, str) else ""
    if word == "square":
        return Fit(size=native)
    if word == "native" and max_patches is not None:
        return Fit(size=largest_size(picture, patch, max_patches))
    sides = _sides(min(native) if word == "native" else resolution)
    if max(map(abs, sides)) > MOST_SIDE:
        raise ValueError(f"resolution asks for a side of more than {MOST_SIDE:,} pixels; give less.")
    if len(sides) == 2:
        exact = (sides[0], sides[1])
        if any(side < p or side % p for side, p in zip(exact, patch, strict=True)):
            raise ValueError(
                f"resolution={exact} is not (height, width) in whole patches of {patch[0]}×{patch[1]} pixels; "
                f"the nearest that is: {tuple(_whole(s, p) for s, p in zip(exact, patch, strict=True))}."
            )
        return _limited(exact, patch, min(native))
    (short,) = sides
    if short < max(patch):
        raise ValueError(
            f"resolution={short} is smaller than a patch of {patch[0]}×{patch[1]} pixels; give at least {max(patch)}."
        )
    scale = short / min(picture)
    size = (_whole(picture[0] * scale, patch[0]), _whole(picture[1] * scale, patch[1]))
    return _limited(size, patch, min(native))


def largest_size(picture: tuple[int, int], patch: tuple[int, int], most: int) -> tuple[int, int]:
    """The largest (H, W) of a picture's shape, sides rounded up to whole patches, of at most so many patches.

    Args:
        picture: (H, W) of the picture. patch: (height, width). most: patches, at least 1.

    The scales at which a side gains a patch are looked through; as SigLIP 2's processor (arXiv 2502.14786, §2.4.2),
    which scales by 100 at most.
    """
    sides = [(picture[k] / patch[k]) for k in (0, 1)]
    steps = sorted({count / side for side in sides for count in range(1, most + 1)} | {_MOST_SCALE})
    found = (1, 1)
    for scale in steps:
        if scale > _MOST_SCALE:
            break
        grid = tuple(max(1, ceil(scale * side - _EXACT)) for side in sides)
        if grid[0] * grid[1] > most:
            break
        found = (grid[0], grid[1])
    return found[0] * patch[0], found[1] * patch[1]


def _sides(asked: object) -> tuple[int, ...]:
    """The short side, or (height, width)."""
    pair = isinstance(asked, tuple | list)
    given: tuple[object, ...] = tuple(asked) if pair else (asked,)
    sides = [int(side) for side in given if isinstance(side, int | np.integer) and not isinstance(side, bool)]
    if not len(sides) == len(given) == 1 + pair:
        raise ValueError(
            f'resolution={" ".join(repr(asked).split())[:80]} is unknown; give "native", "square", a short side in '
            "whole pixels such as 448 (a number, not quoted), or (height, width) such as (336, 448)."
        )
    return tuple(sides)


def _whole(side: float, patch: int) -> int:
    return max(1, round(side / patch)) * patch


def _limited(size: tuple[int, int], patch: tuple[int, int], keep: int) -> Fit:
    """At most `MAX_PATCHES`: both sides shrink until the short one is at `keep` pixels, then the long one alone."""
    grid = (size[0] // patch[0], size[1] // patch[1])
    if grid[0] * grid[1] <= MAX_PATCHES:
        return Fit(size=size)
    long = int(size[1] >= size[0])
    shrunk = int(grid[1 - long] * (MAX_PATCHES / (grid[0] * grid[1])) ** 0.5)
    least = min(keep // patch[1 - long], grid[1 - long], int(MAX_PATCHES**0.5))
    sides = [0, 0]
    sides[1 - long] = max(shrunk, least)
    wanted = grid[long] * sides[1 - long] / grid[1 - long]
    sides[long] = min(MAX_PATCHES // sides[1 - long], round(wanted))
    distorted = (
        "; shapes are distorted, so cut it into parts for finer maps" if sides[long] < wanted - 1 else ""
    )
    note = (
        f"The size asked for has {grid[0]} × {grid[1]} patches, more than {MAX_PATCHES}; the picture was seen with "
        f"{sides[0]} × {sides[1]} (rows × columns){distorted}."
    )
    return Fit(size=(sides[0] * patch[0], sides[1] * patch[1]), notes=(note,))


def to_pixels(
    picture: Image.Image, size: tuple[int, int], preprocess: Preprocess
) -> Float[Tensor, "1 3 H W"]:
    """Normalised pixels in float32 on the CPU.

    Args:
        picture: mode RGB.
        size: (H, W) to resize to.
        preprocess: the model's mean, deviation and resampling.
    """
    resampling = _RESAMPLING.get(preprocess.interpolation, Image.Resampling.BICUBIC)
    resized = picture if picture.size == size[::-1] else picture.resize((size[1], size[0]), resampling)
    pixels = torch.from_numpy(np.array(resized, dtype=np.float32) / 255)
    normalised = (pixels - torch.tensor(preprocess.mean)) / torch.tensor(preprocess.std)
    return rearrange(normalised, "H W C -> 1 C H W").contiguous()
