"""Pixel-adaptive mask refinement: average maps over neighbours that look similar in the picture.

The weights come from the picture alone, so they are made once and used for every map and every round. Source: PAMR
(arXiv 2005.08104) as it stands in wangf3014/SCLIP at b56bd30, shared by the programs of that family.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

_SHARPNESS = 0.1
"""Differences are counted in tenths of the local standard deviation."""


def pamr(
    maps: Float[Tensor, "B T h w"],
    image: Float[Tensor, "B 3 H W"],
    *,
    iterations: int = 10,
    dilations: Sequence[int] = (8, 16),
    chunk: int = 16,
) -> Float[Tensor, "B T H W"]:
    """Maps at the size of the picture, aligned with its edges.

    At pixel x, with neighbour n at one of the eight compass directions times a dilation,

        weight_n(x) = softmax_n of the mean over colours c of  -|I_c(x) - I_c(x + n)| / (0.1 sd_c(x) + 1e-8),
        map(x)     <- sum_n weight_n(x) map(x + n),  repeated `iterations` times,

    where sd is over the nine cells of every dilation, each dilation with its own centre. The pixel itself has no
    weight. Beyond the border the nearest pixel counts, so every new value lies between the least and the greatest of
    its map, and a constant map stays as it is.

    Args:
        maps: scores of any scale, of any size; they are first resized to the picture, bilinear with aligned corners.
        image: normalised pixels of the same pictures, at the size that is wanted.
        iterations: rounds, 0 or more; 0 only resizes.
        dilations: distances of the neighbours in pixels.
        chunk: texts that are refined at a time; it bounds the memory and does not change the result.

    Returns:
        Refined maps in float32, on the scale of `maps`.

    Raises:
        ValueError: another number of pictures than of maps, no dilation, or a number below its least.
    """
    _check(maps, image, iterations, dilations, chunk)
    size = image.shape[-2:]
    resized = F.interpolate(maps.float(), size=size, mode="bilinear", align_corners=True)
    if not iterations:
        return resized
    weights = _weights(image.float(), dilations)
    # Picture by picture and few maps at a time: what is being refined stays in the cache.
    refined = [
        torch.cat([_rounds(part, mine, dilations, iterations) for part in one.split(chunk, 1)], 1)
        for one, mine in zip(resized.split(1), weights.split(1), strict=True)
    ]
    return torch.cat(refined)


def _check(maps: Tensor, image: Tensor, iterations: int, dilations: Sequence[int], chunk: int) -> None:
    if len(maps) != len(image):
        raise ValueError(
            f"pamr refines the maps of each picture by that picture; got maps of {len(maps)} pictures and {len(image)} "
            "pictures. Usually one picture was passed for a batch: give image.expand(len(maps), -1, -1, -1)."
        )
    if iterations < 0 or chunk < 1 or not dilations or min(dilations) < 1:
        raise ValueError(
            f"pamr needs iterations >= 0, chunk >= 1 and at least one dilation >= 1; got iterations={iterations}, "
            f"chunk={chunk}, dilations={tuple(dilations)}. The published setting is iterations=10, dilations=(8, 16)."
        )


def _rounds(
    maps: Float[Tensor, "B T H W"],
    weights: Float[Tensor, "B n H W"],
    dilations: Sequence[int],
    iterations: int,
) -> Float[Tensor, "B T H W"]:
    for _ in range(iterations):
        refined = torch.zeros_like(maps)
        for index, neighbour in enumerate(_neighbours(maps, dilations)):
            refined.addcmul_(neighbour, weights[:, index : index + 1])
        maps = refined
    return maps


def _weights(image: Float[Tensor, "B C H W"], dilations: Sequence[int]) -> Float[Tensor, "B n H W"]:
    """How much every neighbour counts at every pixel; sums to 1 over the neighbours."""
    around = list(_neighbours(image, dilations))
    cells = [*around, *(image for _ in dilations)]
    mean = torch.stack(cells).mean(0)
    variance = sum((cell - mean).square() for cell in cells) / (len(cells) - 1)
    spread = 1e-8 + _SHARPNESS * torch.as_tensor(variance).sqrt()
    likeness = torch.stack([-((image - cell).abs() / spread).mean(1) for cell in around], 1)
    return likeness.softmax(1)


def _neighbours(x: Float[Tensor, "B C H W"], dilations: Sequence[int]) -> Iterator[Float[Tensor, "B C H W"]]:
    """`x` seen from each neighbour, the nearest pixel standing in beyond the border; views of one padded tensor."""
    h, w = x.shape[-2:]
    most = max(dilations)
    padded = F.pad(x, (most, most, most, most), mode="replicate")
    for step in dilations:
        for down in (-step, 0, step):
            for right in (-step, 0, step):
                if down or right:
                    top, left = most + down, most + right
                    yield padded[..., top : top + h, left : left + w]
