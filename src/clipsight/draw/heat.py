"""A map laid over its pale picture: orange where the score is high, blue where it is negative, clear at zero."""

from functools import lru_cache
from typing import Literal

import numpy as np
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps

from .scaling import Number, Scale

CMAP = "signed"
"""Orange to dark brown above zero, pale blue below, clear at zero: read right at first sight, in grey print too."""
ALPHA = 0.9
MUTED = 0.3
"""Share of its opacity that the map of something absent keeps."""
_DIVERGING = ("PiYG PRGn BrBG PuOr RdGy RdBu RdYlBu RdYlGn", "Spectral coolwarm bwr seismic berlin vanimo")
DIVERGING = frozenset(" ".join(_DIVERGING).split())
Interpolation = Literal["bilinear", "nearest"]

# black and white ends of colour maps cannot be told from the picture
_USED = {"inferno": (0.25, 0.95), "magma": (0.35, 0.97), "plasma": (0.1, 1.0), "hot": (0.25, 0.9)}
STEPS = 255  # an odd number has a middle
_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "nearest": Image.Resampling.NEAREST}
_BELOW, _BELOW_OPACITY = (70, 130, 200), 0.45
_BLACK, _WHITE = 165, 252  # what black and white of the picture become


def is_diverging(cmap: str) -> bool:
    """Whether the colour map has a neutral middle, so that it must be centred on zero."""
    return cmap.removesuffix("_r") in DIVERGING


@lru_cache(maxsize=32)
def palette(cmap: str, alpha: Number, *, signed: bool = False) -> UInt8[np.ndarray, "255 4"]:
    """RGBA for 255 steps from the bottom of the scale to its top; opacity grows to `alpha`.

    Diverging colour maps are clear in the middle and opaque at both ends. The colour map "signed" is clear at the
    bottom of the scale; with `signed`, where the scale goes from -m to m, in the middle.
    Errors: ValueError for an unknown colour map or an `alpha` outside [0, 1].
    """
    import matplotlib

    if not 0 <= alpha <= 1:
        raise ValueError(
            f"alpha {alpha} is outside [0, 1]; it is the opacity of the highest score, such as {ALPHA}."
        )
    if cmap != CMAP and cmap not in matplotlib.colormaps:
        raise ValueError(
            f"colour map {cmap!r} is unknown; give signed or a name of matplotlib, such as viridis, magma, turbo, or "
            "RdBu_r for maps with a meaningful zero."
        )
    steps = np.linspace(0, 1, STEPS)
    if cmap == CMAP:
        part = 2 * steps - 1 if signed else steps
        colours = matplotlib.colormaps["Oranges"](0.6 + 0.4 * np.maximum(part, 0))
        colours[part < 0, :3] = np.array(_BELOW) / 255
        opacity = np.where(part < 0, -_BELOW_OPACITY * part, part)
    else:
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

    Scores are enlarged first and scaled after, so that the drawing shows scores at pixels; a pixel's score lies
    within those of the patches around it. Patches whose score is not finite are left clear.
    """
    if interpolation not in _RESAMPLING:
        raise ValueError(f"interpolation {interpolation!r} is unknown; give one of {', '.join(_RESAMPLING)}.")
    table = palette(cmap, alpha, signed=scale.signed)
    clear = STEPS // 2 if is_diverging(cmap) or (cmap == CMAP and scale.signed) else 0
    height, width = size
    if scale.flat:
        return Image.new("RGBA", (width, height), (0, 0, 0, 0))
    finite = np.isfinite(scores)
    blank = scale.low + (scale.high - scale.low) * clear / (STEPS - 1)
    filled = np.where(finite, scores, blank).astype(np.float32)
    steps = np.round(scale.fraction(enlarged(filled, size, interpolation)) * (STEPS - 1)).astype(np.uint8)
    if not finite.all():
        holes = Image.fromarray(~finite).resize((width, height), Image.Resampling.NEAREST)
        steps[np.asarray(holes)] = clear
    return Image.fromarray(table[steps])


def enlarged(
    scores: Float[np.ndarray, "h w"], size: tuple[int, int], interpolation: Interpolation = "bilinear"
) -> Float[np.ndarray, "H W"]:
    """Finite scores at `size` = (H, W) pixels, each within those of the patches around it: nothing overshoots."""
    height, width = size
    small = Image.fromarray(scores.astype(np.float32))
    return np.asarray(small.resize((width, height), _RESAMPLING[interpolation]))


def backdrop(picture: Image.Image, black: int = _BLACK) -> Image.Image:
    """The picture pale and without colour, so that only scores are dark and colourful, whatever it shows."""
    grey = ImageOps.grayscale(picture).point(lambda v: black + v * (_WHITE - black) / 255)
    return grey.convert("RGB")


def lay_over(picture: Image.Image, colour: Image.Image, black: int = _BLACK) -> Image.Image:
    """`colour` (RGBA) over the backdrop of `picture`, both of one size; RGB."""
    out = backdrop(picture, black)
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
    hard = min(width / picture.width, height / picture.height) >= 4
    return picture.resize((width, height), Image.Resampling.NEAREST if hard else Image.Resampling.LANCZOS)


def bar(
    scale: Scale, width: int, height: int, *, cmap: str = CMAP, alpha: Number = ALPHA
) -> UInt8[np.ndarray, "H W 3"]:
    """The colour bar as it looks over a mid-grey picture, from the bottom of the scale to its top."""
    table = palette(cmap, alpha, signed=scale.signed).astype(np.float32)
    across = np.linspace(0, STEPS - 1, width).round().astype(int)
    opacity = rearrange(table[across, 3] / 255, "w -> w 1")
    row = table[across, :3] * opacity + (_BLACK + _WHITE) / 2 * (1 - opacity)
    return np.repeat(rearrange(row, "w c -> 1 w c"), height, axis=0).round().astype(np.uint8)
