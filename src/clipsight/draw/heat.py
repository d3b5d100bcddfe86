"""A map laid over its picture: colour where the score is high, the grey picture where it is not."""

from functools import lru_cache
from typing import Literal

import numpy as np
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps

from .scaling import Number, Scale

CMAP = "inferno"
ALPHA = 0.8
_DIVERGING = ("PiYG PRGn BrBG PuOr RdGy RdBu RdYlBu RdYlGn", "Spectral coolwarm bwr seismic berlin vanimo")
DIVERGING = frozenset(" ".join(_DIVERGING).split())
Interpolation = Literal["bilinear", "nearest"]

# dark beginnings of colour maps would blacken the picture where the score is only just above the bottom
_USED = {"inferno": (0.25, 0.95), "magma": (0.35, 0.97), "plasma": (0.1, 1.0), "hot": (0.25, 0.9)}
_RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
}


def is_diverging(cmap: str) -> bool:
    """Whether the colour map has a neutral middle, so that it must be centred on zero."""
    return cmap.removesuffix("_r") in DIVERGING


@lru_cache(maxsize=32)
def palette(cmap: str, alpha: Number) -> UInt8[np.ndarray, "256 4"]:
    """RGBA for 256 steps from the bottom of the scale to its top; opacity grows to `alpha`.

    Diverging colour maps are clear in the middle and opaque at both ends.
    Errors: ValueError for an unknown colour map or an `alpha` outside [0, 1].
    """
    import matplotlib

    if not 0 <= alpha <= 1:
        raise ValueError(
            f"alpha {alpha} is outside [0, 1]; it is the opacity of the highest score, such as {ALPHA}."
        )
    if cmap not in matplotlib.colormaps:
        raise ValueError(
            f"colour map {cmap!r} is unknown; give a name of matplotlib, such as inferno, magma, viridis, turbo, "
            "or RdBu_r for maps with a meaningful zero."
        )
    steps = np.linspace(0, 1, 256)
    opacity = np.abs(2 * steps - 1) if is_diverging(cmap) else steps
    low, high = _USED.get(cmap, (0.0, 1.0))
    colours = matplotlib.colormaps[cmap](low + (high - low) * steps)
    colours[:, 3] = alpha * opacity
    table = np.round(colours * 255).astype(np.uint8)
    table.flags.writeable = False
    return table


def layer(
    scores: Float[np.ndarray, "h w"],
    scale: Scale,
    size: tuple[int, int],
    *,
    cmap: str = CMAP,
    alpha: Number = ALPHA,
    interpolation: Interpolation = "bilinear",
) -> Image.Image:
    """The RGBA colour layer alone, `size` = (H, W) pixels: transparent where nothing is to be shown.

    Scores are enlarged first and scaled after, so that the drawing shows scores at pixels; patches whose
    score is not finite count as the bottom of the scale.
    """
    if interpolation not in _RESAMPLING:
        raise ValueError(f"interpolation {interpolation!r} is unknown; give one of {', '.join(_RESAMPLING)}.")
    table = palette(cmap, alpha)
    height, width = size
    if scale.flat:
        return Image.new("RGBA", (width, height), (0, 0, 0, 0))
    finite = np.isfinite(scores)
    blank = (scale.low + scale.high) / 2 if is_diverging(cmap) else scale.low
    filled = np.where(finite, scores, blank).astype(np.float32)
    large = np.asarray(Image.fromarray(filled).resize((width, height), _RESAMPLING[interpolation]))
    steps = np.round(scale.fraction(large) * 255).astype(np.uint8)
    if not finite.all():
        holes = Image.fromarray(~finite).resize((width, height), Image.Resampling.NEAREST)
        steps[np.asarray(holes)] = 128 if is_diverging(cmap) else 0
    return Image.fromarray(table[steps])


def backdrop(picture: Image.Image) -> Image.Image:
    """The picture nearly without colour and a little darker, so that only the scores are colourful."""
    grey = ImageOps.grayscale(picture).convert("RGB")
    return Image.blend(grey, picture, 0.25).point(lambda v: v * 0.88)


def lay_over(picture: Image.Image, colour: Image.Image) -> Image.Image:
    """`colour` (RGBA) over the backdrop of `picture`, both of one size; RGB."""
    out = backdrop(picture)
    out.paste(colour.convert("RGB"), mask=colour.getchannel("A"))
    return out


def limited(picture: Image.Image, most: int = 1600) -> tuple[int, int]:
    """(H, W) of the picture, made smaller where its long side has more than `most` pixels."""
    shrink = min(1.0, most / max(picture.size))
    return max(round(picture.height * shrink), 1), max(round(picture.width * shrink), 1)


def fit(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture at `size` = (H, W): Lanczos, but hard pixels when it is enlarged four times or more."""
    height, width = size
    if (width, height) == picture.size:
        return picture
    enlarged = min(width / picture.width, height / picture.height) >= 4
    return picture.resize((width, height), Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS)


def bar(width: int, height: int, *, cmap: str = CMAP, alpha: Number = ALPHA) -> UInt8[np.ndarray, "H W 3"]:
    """The colour bar as it looks over a mid-grey picture, from the bottom of the scale to its top."""
    table = palette(cmap, alpha).astype(np.float32)
    across = np.linspace(0, 255, width).round().astype(int)
    opacity = rearrange(table[across, 3] / 255, "w -> w 1")
    row = table[across, :3] * opacity + 150 * (1 - opacity)
    return np.repeat(rearrange(row, "w c -> 1 w c"), height, axis=0).round().astype(np.uint8)
