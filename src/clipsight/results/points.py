"""Points for a promptable segmenter (SAM), chosen from a map."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

from clipsight.draw import Number

from .sheets import points_sheet


@dataclass(frozen=True, kw_only=True, eq=False)
class Points:
    """Prompt points of one text: where the map is high (label 1) and where it is low (label 0).

    `xy` (P, 2): (x, y) in pixels of the original picture, x to the right, y down, inside the picture.
    `labels` (P,): positives first. There may be none (P = 0): the map had no clear peak, and a
    segmenter should then not be asked. SAM takes both arrays as they are:
    `predictor.predict(points.xy, points.labels, multimask_output=True)`.
    """

    text: str
    xy: Int[np.ndarray, "P 2"]
    labels: Int[np.ndarray, "P"]
    image: UInt8[np.ndarray, "H W 3"] | None = None  # the picture, RGB; None if it was not kept
    source: str = ""  # name of the picture, "" if unknown

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together."""
        if self.xy.ndim != 2 or self.xy.shape[1] != 2 or self.labels.shape != self.xy.shape[:1]:
            raise ValueError(
                f"points need xy of shape (P, 2) and labels of shape (P,), got {self.xy.shape} and "
                f"{self.labels.shape}."
            )

    def __repr__(self) -> str:
        """One line: text and how many points of each kind."""
        on, off = len(self.positives), len(self.negatives)
        return f"Points({self.text!r}: {on} on it, {off} off it" + (")" if len(self) else "; no clear peak)")

    def grid(self) -> Image.Image:
        """The picture beside its points on one sheet, RGB; ValueError without a picture."""
        return points_sheet(self)

    @property
    def positives(self) -> Int[np.ndarray, "Q 2"]:
        """The (x, y) rows with label 1."""
        return self.xy[self.labels == 1]

    @property
    def negatives(self) -> Int[np.ndarray, "Q 2"]:
        """The (x, y) rows with label 0."""
        return self.xy[self.labels == 0]

    def __len__(self) -> int:
        """How many points there are, of both labels."""
        return len(self.labels)


def similarity_image(maps: Float[Tensor, "T h w"], size: tuple[int, int]) -> Float[Tensor, "T H W"]:
    """Each map min-maxed over its patches to [0, 1], then enlarged to `size` = (H, W) pixels.

    In this order, bilinear with align_corners False, as CLIP Surgery draws its maps. It hides sign
    and strength: use it for drawings and for programs that expect [0, 1]. A constant map becomes 0;
    a map that holds NaN comes back all NaN.

    Source: arXiv 2304.05653, `get_similarity_map` of xmed-lab/CLIP_Surgery at d4696d4.
    """
    low = maps.amin(dim=(1, 2), keepdim=True)
    span = maps.amax(dim=(1, 2), keepdim=True) - low
    unit = (maps - low) / torch.where(span == 0, torch.ones_like(span), span)
    return F.interpolate(unit[None], size, mode="bilinear", align_corners=False)[0]


def similarity_to_points(
    scores: Float[Tensor, "h w"], size: tuple[int, int], *, threshold: Number = 0.8, downsample: int = 2
) -> tuple[Int[np.ndarray, "P 2"], Int[np.ndarray, "P"]]:
    """Points of one map: as many negatives as positives, each group by ascending score.

    The map is made `downsample` times coarser (bilinear) and min-maxed; cells at or above `threshold`
    are positive, never more than half of all cells; the same number of lowest cells is negative.
    A cell gives its centre in a picture of `size` = (H, W) pixels; in one smaller than the grid, pixels that
    would be both are left out. Constant maps and maps that are not finite give no points.

    Errors: ValueError when `threshold` is outside (0, 1] or `downsample` below 1.
    Source: arXiv 2304.05653, `similarity_map_to_points` of xmed-lab/CLIP_Surgery at d4696d4.
    """
    if not 0 < threshold <= 1:
        raise ValueError(
            f"threshold {threshold} is outside (0, 1]; it is a share of the map's range, such as 0.8."
        )
    if downsample < 1:
        raise ValueError(f"downsample {downsample} is below 1; 1 keeps the map's own grid, 2 halves it.")
    none = np.zeros((0, 2), np.int64), np.zeros(0, np.int64)
    if not bool(torch.isfinite(scores).all()):
        return none
    h, w = (max(side // downsample, 1) for side in scores.shape)
    coarse = F.interpolate(scores[None, None].float(), (h, w), mode="bilinear", align_corners=False).flatten()
    low, high = coarse.min(), coarse.max()
    if not bool(high > low):
        return none
    ascending, order = ((coarse - low) / (high - low)).sort(stable=True)
    count = min(int((ascending >= threshold).sum()), coarse.numel() // 2)
    if count == 0:
        return none
    cells = torch.cat([order[-count:], order[:count]]).cpu().numpy()
    height, width = size
    # integer arithmetic for int(min((cell + 0.5) * width / w, width - 1))
    x = np.minimum((2 * (cells % w) + 1) * width // (2 * w), width - 1)
    y = np.minimum((2 * (cells // w) + 1) * height // (2 * h), height - 1)
    return _agreeing(np.stack([x, y], axis=1).astype(np.int64), np.repeat(np.array([1, 0], np.int64), count))


def _agreeing(
    points: Int[np.ndarray, "P 2"], labels: Int[np.ndarray, "P"]
) -> tuple[Int[np.ndarray, "Q 2"], Int[np.ndarray, "Q"]]:
    """Each pixel once, and none that would be positive and negative: cells of a tiny picture share their pixels."""
    said: dict[tuple[int, int], set[int]] = {}
    for (x, y), label in zip(points.tolist(), labels.tolist(), strict=True):
        said.setdefault((x, y), set()).add(label)
    kept = [(place, next(iter(found))) for place, found in said.items() if len(found) == 1]
    if len(kept) == len(points):
        return points, labels
    places = np.array([place for place, _ in kept], np.int64).reshape(-1, 2)
    return places, np.array([label for _, label in kept], np.int64)


def joint_points(
    maps: Sequence[Float[Tensor, "h w"]],
    size: tuple[int, int],
    *,
    threshold: Number = 0.8,
    downsample: int = 2,
) -> tuple[Int[np.ndarray, "P 2"], Int[np.ndarray, "P"]]:
    """Points of several targets together: positives of each map, negatives of their common map.

    The common map is the mean of the maps, each min-maxed over its patches, so that a place that one
    target fills is not called negative for the other. A map without points adds nothing.
    """
    each = [similarity_to_points(m, size, threshold=threshold, downsample=downsample) for m in maps]
    kept = [m for m, (xy, _) in zip(maps, each, strict=True) if len(xy)]
    if not kept:
        return np.zeros((0, 2), np.int64), np.zeros(0, np.int64)
    common = torch.stack([(m - m.min()) / (m.max() - m.min()) for m in kept]).mean(0)
    xy, labels = similarity_to_points(common, size, threshold=threshold, downsample=downsample)
    positives = np.concatenate([xy[labels == 1] for xy, labels in each])
    negatives = xy[labels == 0]
    ones, zeros = np.ones(len(positives), np.int64), np.zeros(len(negatives), np.int64)
    return np.concatenate([positives, negatives]), np.concatenate([ones, zeros])


def peak(scores: Float[Tensor, "h w"], size: tuple[int, int]) -> tuple[int, int, float] | None:
    """The highest patch as (x, y, score): its centre in pixels of a picture of `size` = (H, W).

    None when no score is finite or all are equal.
    """
    finite = torch.isfinite(scores)
    if not bool(finite.any()) or bool(scores[finite].max() == scores[finite].min()):
        return None
    h, w = scores.shape
    best = int(torch.where(finite, scores, -torch.inf).argmax())
    height, width = size
    x, y = (2 * (best % w) + 1) * width // (2 * w), (2 * (best // w) + 1) * height // (2 * h)
    return min(x, width - 1), min(y, height - 1), float(scores.flatten()[best])
