"""Cluster vote: patches with similar correlations form a region, which takes its most frequent label.

The clusters come from the correlation of the patches' tokens, not from the texts. Source: CLIPtrase
(arXiv 2407.08268), leaves162/CLIPtrase at 2b7de61, whose vote takes square pictures only; here any grid.
"""

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from scipy.ndimage import median_filter
from torch import Tensor
from torch.nn import functional as F

ClusterRule = Literal["224", "336", "auto"]

_PRESETS = {"224": (0.7, 3), "336": (1.1, 7)}
"""Published radius and least number of patches, for OpenAI's ViT-B/16 at that size."""

_AUTO_SAMPLES = 3
_CHUNK = 16


def denoise_correlation(correlation: Float[Tensor, "B S S"], *, prefix: int = 1) -> Float[Tensor, "B N N"]:
    """Correlation of the patches, minus what every patch shares with the class token, in float32.

    M'_ij = max(0, M_ij - M_cj): the class token's row is subtracted from each patch's row.

    Args:
        correlation: of all tokens, the mean over heads of their cosines.
        prefix: how many tokens stand before the patches; the first of them is the class token.

    Raises:
        ValueError: no class token, so nothing to subtract.
    """
    if not 1 <= prefix < correlation.shape[-1]:
        raise ValueError(
            f"denoise_correlation subtracts the class token's row and needs 1 to {correlation.shape[-1] - 1} prefix "
            f"tokens, got prefix={prefix}. A tower that pools otherwise has no such row: use its correlation as it is."
        )
    whole = correlation.float()
    return (whole[:, prefix:, prefix:] - whole[:, :1, prefix:]).clamp_min(0)


def cluster_patches(rows: Float[Tensor, "N M"], *, eps: float, min_samples: int) -> Int[Tensor, " N"]:
    """Cluster of each patch by DBSCAN on the rows as points, Euclidean; -1 where it belongs to none.

    Args:
        rows: one point for each patch, usually the rows of `denoise_correlation`.
        eps: radius.
        min_samples: how many points, itself included, a core point has within the radius.
    """
    from sklearn.cluster import DBSCAN

    points = rows.detach().float().cpu().numpy()
    found = DBSCAN(eps=eps, min_samples=min_samples).fit_predict(points)
    return torch.from_numpy(found.astype(np.int64)).to(rows.device)


def auto_radius(rows: Float[Tensor, "N M"], *, min_samples: int = _AUTO_SAMPLES) -> float:
    """A radius for `cluster_patches` that suits these rows, for any model and size. The rule is our own.

    The distances of all points to their (min_samples - 1)-th neighbour, sorted, are a curve; the radius is its knee,
    the place farthest below the straight line between its ends, and not less than its median, so that at least half
    of the points are core points.
    """
    from sklearn.neighbors import NearestNeighbors

    points = rows.detach().float().cpu().numpy()
    neighbours = min(min_samples, len(points))
    far = np.sort(NearestNeighbors(n_neighbors=neighbours).fit(points).kneighbors(points)[0][:, -1])
    line = np.linspace(far[0], far[-1], len(far))
    radius = max(far[np.argmax(line - far)], np.median(far))
    return max(float(radius) * (1 + 1e-6), 1e-6)


def cluster_setting(rule: ClusterRule, rows: Float[Tensor, "N M"]) -> tuple[float, int]:
    """Radius and least number of patches of a rule: the published "224" or "336", or "auto", see `auto_radius`.

    Raises:
        ValueError: an unknown rule.
    """
    if rule not in get_args(ClusterRule):
        raise ValueError(
            f"cluster rule {rule!r} is not known; take one of {', '.join(get_args(ClusterRule))}, or give a pair "
            "(radius, least number of patches) such as (0.7, 3)."
        )
    return _PRESETS[rule] if rule != "auto" else (auto_radius(rows, min_samples=_AUTO_SAMPLES), _AUTO_SAMPLES)


def cluster_vote(
    scores: Float[Tensor, "B T h w"],
    rows: Float[Tensor, "B N N"],
    size: tuple[int, int],
    *,
    rule: ClusterRule | tuple[float, int] = "auto",
    gate: Float[Tensor, "B T"] | None = None,
    background: int | None = None,
) -> Int[Tensor, "B H W"]:
    """A label for each pixel, the same within each region of patches with similar correlations.

    Scores are resized bilinearly, the best text taken at each pixel, and each region of `region_map` given its most
    frequent label. Where DBSCAN finds no cluster the labels stay as they were.

    Args:
        scores: cosines of the patches; any positive factor gives the same labels.
        rows: `denoise_correlation` of the same pictures.
        size: (height, width) of the result in pixels.
        rule: "224" or "336" as published, "auto", or a pair of radius and least number of patches.
        gate: cosines of the pooled feature with the texts; scores are multiplied by them. The paper does so for VOC20.
            Both factors are taken as they are: two negative cosines give a positive score.
        background: index of the first text that is a background word, if the last texts are such; any of them that
            wins counts as the label `background`.

    Returns:
        Indices of texts; of labels that are equally frequent in a region the least.

    Raises:
        ValueError: an unknown rule, or rows of another number of patches than the grid has.
    """
    h, w = scores.shape[-2:]
    if rows.shape[-1] != h * w:
        raise ValueError(
            f"cluster_vote needs correlations of the {h} x {w} patches of the scores; got {rows.shape[-1]} of them. "
            "Usually the class token was left in: give the result of denoise_correlation."
        )
    maps = scores.float() if gate is None else scores.float() * rearrange(gate.float(), "B T -> B T 1 1")
    voted = []
    for image, points in zip(maps, rows, strict=True):
        labels = _best(image, size)
        if background is not None:
            labels = labels.clamp_max(background)
        eps, least = cluster_setting(rule, points) if isinstance(rule, str) else rule
        clusters = cluster_patches(points, eps=eps, min_samples=least)
        voted.append(vote(labels, region_map(points, clusters, (h, w), size)))
    return torch.stack(voted)


def region_map(
    rows: Float[Tensor, "N M"], clusters: Int[Tensor, " N"], grid: tuple[int, int], size: tuple[int, int]
) -> Int[Tensor, "H W"]:
    """The region of each pixel: the cluster whose mean row is greatest there.

    The mean row of a cluster is a map of the grid. It is enlarged four times bilinearly, freed of specks by the median
    of 7 x 7 cells (mirrored at the border, the edge cell repeated) and enlarged to `size`. Noise patches (-1) take
    part in no mean, and are given to the regions by the maps.

    Returns:
        Ids of clusters; -1 everywhere if there is none.
    """
    ids = clusters.unique()
    ids = ids[ids >= 0]
    if not len(ids):
        return torch.full(size, -1, dtype=torch.long, device=rows.device)
    means = torch.stack([rows[clusters == index].float().mean(0) for index in ids])
    maps = rearrange(means, "K (h w) -> 1 K h w", h=grid[0], w=grid[1])
    large = F.interpolate(maps, scale_factor=4, mode="bilinear", align_corners=False)[0]
    calm = median_filter(large.detach().cpu().numpy(), size=(1, 7, 7), mode="reflect")
    return ids[_best(torch.from_numpy(calm).to(rows.device), size)]


def vote(labels: Int[Tensor, "H W"], regions: Int[Tensor, "H W"]) -> Int[Tensor, "H W"]:
    """Labels where each region has its most frequent one; pixels of region -1 keep theirs."""
    voted = labels.clone()
    for region in regions.unique():
        if region >= 0:
            inside = regions == region
            voted[inside] = labels[inside].bincount().argmax()
    return voted


def _best(maps: Float[Tensor, "K h w"], size: tuple[int, int]) -> Int[Tensor, "H W"]:
    """Index of the greatest map at each pixel after bilinear resizing, a few maps at a time."""
    best = index = None
    for first, large in _enlarged(maps, size):
        value, here = large.max(0)
        if best is None or index is None:
            best, index = value, here
        else:
            index = torch.where(value > best, here + first, index)
            best = torch.maximum(value, best)
    assert index is not None  # there is at least one map
    return index


def _enlarged(
    maps: Float[Tensor, "K h w"], size: tuple[int, int]
) -> Iterator[tuple[int, Float[Tensor, "k H W"]]]:
    for first in range(0, len(maps), _CHUNK):
        part = maps[None, first : first + _CHUNK]
        yield first, F.interpolate(part, size=size, mode="bilinear", align_corners=False)[0]
