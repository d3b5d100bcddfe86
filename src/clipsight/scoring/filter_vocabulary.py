"""Filter the vocabulary: drop texts whose map does not persist under attention; decide similar ones by crops.

Source: FreeCP (arXiv 2508.00557), chenqi1126/FreeCP at 6946aa7. Different here: regions are compared with 0.4 of the
greatest value as they are (there as 8-bit numbers, strictly above), and boxes reach to the border of the grid (there
they lose the last row and column).
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float
from scipy.ndimage import find_objects, label
from scipy.sparse.csgraph import connected_components
from torch import Tensor

Box: TypeAlias = tuple[int, int, int, int]
"""Top, left, bottom, right in patches; bottom and right are the first ones outside."""

Winner: TypeAlias = Callable[[int, Box, Sequence[int]], int]
"""Picture index, box and indices of the texts in question -> the index of the text that the crop shows."""

_REGION = 0.4
_ROUNDS = 3
_EPS = 1e-8


def affinity(attention: Float[Tensor, "B N N"]) -> Float[Tensor, "B N N"]:
    """Two-step attention from patch to patch, made nearly doubly stochastic, float32.

    Three rounds of dividing columns, then rows, by their sums; the mean with its transpose; its square.

    Args:
        attention: mean over heads and over all blocks but the last, patches only. Rows or columns of zeros stay zero.
    """
    balanced = attention.float()
    for _ in range(_ROUNDS):
        for axis in (-2, -1):
            balanced = balanced / balanced.sum(axis, keepdim=True).clamp_min(_EPS)
    balanced = (balanced + balanced.mT) / 2
    return balanced @ balanced


def region_boxes(scores: Float[Tensor, "h w"], *, share: float = _REGION) -> list[Box]:
    """Boxes around the connected regions of cells with at least `share` of the greatest value.

    Cells that touch at a corner are connected. A map without a value above 0 has no region.
    """
    values = scores.detach().float().cpu().numpy()
    most = values.max()
    if not most > 0:
        return []
    regions = np.zeros(values.shape, dtype=np.int32)
    label(values >= share * most, structure=np.ones((3, 3)), output=regions)
    return [(rows.start, columns.start, rows.stop, columns.stop) for rows, columns in find_objects(regions)]


def filter_vocabulary(
    scores: Float[Tensor, "B T h w"],
    affinity: Float[Tensor, "B N N"],
    *,
    redundancy: float,
    ambiguity: float,
    scale: float = 100.0,
    winner: Winner | None = None,
) -> Float[Tensor, "B T h w"]:
    """Refined maps in [0, 1], 0 everywhere for the texts that are dropped from a picture, float32.

    P = softmax over texts of scale · scores, n = P stretched to [0, 1] over the whole picture. Of each text c, n_c is
    led through the affinity from within its boxes only (`region_boxes` of n_c) and stretched to [0, 1]: r_c.
    A text stays if  sum(P_c r_c) / (sum P_c + sum r_c) > redundancy,  which is 1/2 at most for maps of 0 and 1.
    Then texts with soft IoU of r at or above `ambiguity` are linked; of each linked group, for each box of its mean
    map, only the `winner` stays.

    Args:
        scores: cosines of the patches.
        affinity: of `affinity`, for the same pictures.
        redundancy: published 0.05 (many classes) to 0.15; below 0 every text stays.
        ambiguity: published 0.7 to 0.8.
        scale: what cosines are multiplied by before the softmax.
        winner: looks at a crop of the picture, for instance by encoding it again and comparing with descriptions of
            the group. Without it look-alikes are not decided: all of them stay.

    Raises:
        ValueError: an affinity of another number of patches, or a winner that is not of its group.
    """
    h, w = scores.shape[-2:]
    if affinity.shape[:2] != (len(scores), h * w):
        raise ValueError(
            f"purify needs the affinity of the {len(scores)} x {h * w} patches of the scores, got "
            f"{len(affinity)} x {affinity.shape[1]}. Usually the prefix tokens were left in: cut the attention first."
        )
    likely = (scale * scores.float()).softmax(1)
    refined = _refined(likely, affinity.float())
    overlap = (likely * refined).sum((2, 3))
    kept = overlap / (likely.sum((2, 3)) + refined.sum((2, 3)) + _EPS) > redundancy
    if winner is not None:
        pictures = zip(range(len(kept)), refined, kept, strict=True)
        kept = torch.stack([_decided(*picture, ambiguity, winner) for picture in pictures])
    return refined * rearrange(kept, "B T -> B T 1 1")


def _refined(likely: Float[Tensor, "B T h w"], affinity: Float[Tensor, "B N N"]) -> Float[Tensor, "B T h w"]:
    least, most = likely.amin((1, 2, 3), keepdim=True), likely.amax((1, 2, 3), keepdim=True)
    stretched = (likely - least) / (most - least).clamp_min(_EPS)
    inside = torch.stack([torch.stack([_box_mask(one) for one in maps]) for maps in stretched])
    led = einsum(affinity, (stretched * inside).flatten(2), "B N M, B T M -> B T N")
    led = led - led.amin(-1, keepdim=True)
    led = led / (led.amax(-1, keepdim=True) + _EPS)
    return rearrange(led, "B T (h w) -> B T h w", h=likely.shape[2])


def _box_mask(scores: Float[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    mask = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    for top, left, bottom, right in region_boxes(scores):
        mask[top:bottom, left:right] = True
    return mask


def _decided(
    image: int, maps: Float[Tensor, "T h w"], kept: Bool[Tensor, " T"], ambiguity: float, winner: Winner
) -> Bool[Tensor, " T"]:
    """Which of a picture's kept texts are left when each group of look-alikes is decided."""
    indices = kept.nonzero()[:, 0].tolist()
    if not indices:
        return kept
    linked = (_soft_iou(maps[indices].flatten(1)) >= ambiguity).cpu().numpy()
    count, groups = connected_components(linked, directed=False)
    left = torch.zeros_like(kept)
    for group in range(count):
        members = [index for index, its in zip(indices, groups, strict=True) if its == group]
        boxes = region_boxes(maps[members].mean(0)) if len(members) > 1 else []
        left[[_asked(image, box, members, winner) for box in boxes] or members] = True
    return left


def _asked(image: int, box: Box, members: list[int], winner: Winner) -> int:
    won = int(winner(image, box, members))
    if won not in members:
        raise ValueError(
            f"purify asked its winner to choose among the texts {members} for box {box} of picture {image}, and got "
            f"{won}. Usually the place within the group was returned: return group[place]."
        )
    return won


def _soft_iou(maps: Float[Tensor, "K N"]) -> Float[Tensor, "K K"]:
    """Sum of minima over sum of maxima for every pair of maps, one map at a time; 0 where both are 0."""
    common = torch.stack([torch.minimum(one, maps).sum(-1) for one in maps])
    sums = maps.sum(-1)
    return common / (sums[:, None] + sums[None] - common).clamp_min(_EPS)
