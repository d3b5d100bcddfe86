"""Upsample maps with the picture as a guide: the guided filter and joint bilateral upsampling.

Both draw a coarse map towards the edges of the picture and leave constant maps as they are. The guided filter
(He, Sun and Tang, IEEE TPAMI 35(6), 2013) fits map = a·picture + b in every window, so it may leave the range of the
map; joint bilateral upsampling (Kopf et al., ACM TOG 26(3), 2007) takes weighted means, so it does not.
"""

from typing import NamedTuple

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


class _Guide(NamedTuple):
    """What the guided filter needs of the picture, made once for all maps."""

    image: Float[Tensor, "B C H W"]
    mean: Float[Tensor, "B C H W"]
    inverse: Float[Tensor, "B H W C D"]
    radius: int


def guided_upsample(
    maps: Float[Tensor, "B T h w"],
    image: Float[Tensor, "B 3 H W"],
    *,
    radius: int | None = None,
    eps: float | int = 0.01,
    chunk: int = 16,
) -> Float[Tensor, "B T H W"]:
    """Maps at the size of the picture, as locally linear functions of its colours.

    In the window around pixel k, with Σ, μ the covariance and mean of the colours,

        a_k = (Σ_k + eps I)⁻¹ cov_k(colours, map),   b_k = mean_k(map) - a_k · μ_k,
        result(x) = mean over the windows that hold x of  a_k · colours(x) + b_k.

    Means are taken over the part of a window that lies in the picture. Work does not grow with the radius.

    Args:
        maps: scores of any scale and size; they are first resized to the picture, bilinear without aligned corners.
        image: the pictures, at the size that is wanted; scale and offset of their values do not matter.
        radius: of the windows, in pixels (side 2 radius + 1); None takes two patches, the larger of 2 H/h and 2 W/w.
        eps: variance, as a share of the picture's own, below which colours say nothing; larger is smoother.
        chunk: maps that are refined at a time; it bounds the memory and does not change the result.

    Returns:
        Refined maps in float32, on the scale of `maps`. A picture of one colour gives the resized maps, box-smoothed.

    Raises:
        ValueError: another number of pictures than of maps, values that are not finite, a radius or chunk below 1, or
            an eps that is not above 0.
    """
    _check(maps, image)
    device, (maps, image) = maps.device, _on_one_device(maps, image)
    coarse, size = maps.shape[-2:], image.shape[-2:]
    reach = max(1, round(2 * max(size[0] / coarse[0], size[1] / coarse[1]))) if radius is None else radius
    if reach < 1 or not eps > 0 or chunk < 1:
        raise ValueError(
            f"radius={radius}, eps={eps}, chunk={chunk} cannot be used: radius and chunk are at least 1, eps is above "
            "0. The defaults are radius=None (two patches), eps=0.01, chunk=16."
        )
    resized = F.interpolate(maps.float(), size=size, mode="bilinear", align_corners=False)
    guide = _guide(image, reach, float(eps))
    return torch.cat([_filter(part, guide) for part in resized.split(chunk, 1)], 1).to(device)


def bilateral_upsample(
    maps: Float[Tensor, "B T h w"],
    image: Float[Tensor, "B 3 H W"],
    *,
    reach: int = 2,
    spread: float | int = 1.0,
    tolerance: float | int = 0.6,
    chunk: int = 16,
) -> Float[Tensor, "B T H W"]:
    """Maps at the size of the picture; each pixel takes the values of nearby cells of similar colour.

    weight of cell c at pixel x  ∝  exp(-|x - c|² / 2 spread²) · exp(-|colour(x) - mean colour(c)|² / 2 tolerance²)

    over the (2 reach + 1)² cells around the one that holds the pixel. Beyond the border the nearest cell counts.
    Weights sum to 1, so every new value lies between the least and the greatest of its map.

    Args:
        maps: scores of any scale; their grid covers the whole picture.
        image: the pictures, at the size that is wanted; scale and offset of their values do not matter.
        reach: cells looked at to each side.
        spread: standard deviation of distance, in cells.
        tolerance: standard deviation of colour, as a share of the picture's own.
        chunk: maps that are refined at a time; it bounds the memory and does not change the result.

    Returns:
        Refined maps in float32, on the scale of `maps`.

    Raises:
        ValueError: another number of pictures than of maps, values that are not finite, a grid finer than the picture,
            a negative reach, or another number that is not above 0.
    """
    _check(maps, image)
    device, (maps, image) = maps.device, _on_one_device(maps, image)
    (h, w), (H, W) = maps.shape[-2:], image.shape[-2:]
    if h > H or w > W:
        raise ValueError(
            f"a map of {h} × {w} cells (rows × columns) is finer than its picture of {H} × {W} pixels; give the "
            "picture at its own size."
        )
    if reach < 0 or not spread > 0 or not tolerance > 0 or chunk < 1:
        raise ValueError(
            f"reach={reach}, spread={spread}, tolerance={tolerance}, chunk={chunk} cannot be used: reach is 0 or more, "
            "the others above 0. The defaults are reach=2, spread=1, tolerance=0.6, chunk=16."
        )
    colours = _standard(image).float()
    cells = F.interpolate(colours, (h, w), mode="area")
    rows, columns = ((torch.arange(n, device=image.device) + 0.5) * m / n - 0.5 for n, m in ((H, h), (W, w)))
    steps = [(down, right) for down in range(-reach, reach + 1) for right in range(-reach, reach + 1)]
    taps, weights = [], []
    for down, right in steps:
        row, column = rows.round() + down, columns.round() + right
        place = row.clamp(0, h - 1).long()[:, None], column.clamp(0, w - 1).long()[None]
        far = (rows - row).square()[:, None] + (columns - column).square()[None]
        unlike = (colours - cells[..., place[0], place[1]]).square().sum(1)
        taps.append(place)
        weights.append(-far / (2 * spread**2) - unlike / (2 * tolerance**2))
    shares = torch.stack(weights, 1).softmax(1)
    done = []
    for part in maps.float().split(chunk, 1):
        refined = torch.zeros(*part.shape[:2], H, W, device=part.device)
        for index, (row, column) in enumerate(taps):
            refined.addcmul_(part[..., row, column], shares[:, index : index + 1])
        done.append(refined)
    return torch.cat(done, 1).to(device)


def _on_one_device(maps: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """Both where float64 exists: Apple's MPS has none."""
    work = "cpu" if maps.device.type == "mps" else maps.device
    return maps.to(work), image.to(work)


def _check(maps: Tensor, image: Tensor) -> None:
    if len(maps) != len(image):
        raise ValueError(
            f"{len(maps)} pictures' maps and {len(image)} pictures: every picture guides its own maps; for one picture "
            "write image.expand(len(maps), -1, -1, -1)."
        )
    for name, values in (("maps", maps), ("image", image)):
        if not bool(values.isfinite().all()):
            raise ValueError(
                f"the {name} hold values that are not finite (NaN or infinite), which would spread over whole rows; a "
                "division by zero in the method is the usual cause. Look at .isfinite()."
            )


def _standard(image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Colours about 0 with deviation 1 over the whole picture, float64; a picture of one colour becomes 0."""
    centred = image.double() - image.double().mean((2, 3), keepdim=True)
    spread = reduce(centred.square(), "B C H W -> B 1 1 1", "mean").sqrt()
    scale = image.double().abs().amax((1, 2, 3), keepdim=True)
    flat = spread <= 1e-6 * scale  # no more than rounding
    return torch.where(flat, 0.0, centred / torch.where(flat, 1.0, spread))


def _guide(image: Float[Tensor, "B 3 H W"], radius: int, eps: float) -> _Guide:
    standard = _standard(image)
    mean = _box(standard, radius)
    products = rearrange(standard, "B C H W -> B C 1 H W") * rearrange(standard, "B D H W -> B 1 D H W")
    second = rearrange(
        _box(rearrange(products, "B C D H W -> B (C D) H W"), radius), "B (C D) H W -> B H W C D", C=3
    )
    across = rearrange(mean, "B C H W -> B H W C 1")
    covariance = second - across * across.mT
    inverse = torch.linalg.inv(covariance + eps * torch.eye(3, dtype=covariance.dtype, device=image.device))
    return _Guide(standard, mean, inverse, radius)


def _filter(maps: Float[Tensor, "B T H W"], guide: _Guide) -> Float[Tensor, "B T H W"]:
    centre = maps.double().mean((2, 3), keepdim=True)  # keeps digits where a map lies far from 0
    p = maps.double() - centre
    mean = _box(p, guide.radius)
    together = torch.stack(
        [
            _box(p * guide.image[:, c : c + 1], guide.radius) - mean * guide.mean[:, c : c + 1]
            for c in range(3)
        ],
        dim=-1,
    )
    a = torch.einsum("b h w c d, b t h w d -> b t h w c", guide.inverse, together)
    b = mean - torch.einsum("b t h w c, b c h w -> b t h w", a, guide.mean)
    result = _box(b, guide.radius)
    for c in range(3):
        result += _box(a[..., c], guide.radius) * guide.image[:, c : c + 1]
    return (result + centre).float()


def _box(x: Float[Tensor, "B C H W"], radius: int) -> Float[Tensor, "B C H W"]:
    """Mean over the part of each window that lies in the picture, by running sums: two passes, any radius."""
    for axis in (2, 3):
        length = x.shape[axis]
        sums = F.pad(x.cumsum(axis), (1, 0) if axis == 3 else (0, 0, 1, 0))
        at = torch.arange(length, device=x.device)
        low, high = (at - radius).clamp(min=0), (at + radius + 1).clamp(max=length)
        count = (high - low).to(x.dtype)
        total = sums.index_select(axis, high) - sums.index_select(axis, low)
        x = total / (count if axis == 3 else count[:, None])
    return x
