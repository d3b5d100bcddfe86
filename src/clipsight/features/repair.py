"""Outlier patches: how to detect them, and what to replace them with."""

from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from clipsight.features.blocks import Span
from clipsight.features.context import BlockStep, Context, Detector, Record, TokenStream

_FAR = 1e12


@dataclass(frozen=True)
class LocalOutliers:
    """Patches in a much sparser region of feature space than their neighbours.

    With squared distances d, kd_i the distance to the k-th nearest other patch:
    score_i = mean over the k nearest j of kd_i / kd_j, and the `share` with the highest scores is flagged.

    Attributes:
        source: whose patches are compared.
        neighbours: k; fewer patches than k + 1 use all others.
        share: flagged are scores strictly above the quantile 1 - share.
        reach: "own" is the released code of SC-CLIP. "neighbour" is the textbook's local outlier factor, whose
            reachability distance is max(d_ij, kd_j), here of squared distances.
    """

    source: TokenStream
    neighbours: int = 30
    share: float = 0.05
    reach: Literal["own", "neighbour"] = "own"

    @torch.no_grad()
    def scores(self, run: Context) -> Float[Tensor, "B N"]:
        """Outlier score of each patch, about 1 inside an even neighbourhood."""
        patches = run.tokens(self.source)[:, run.prefix :].float()
        count = patches.shape[1]
        k = min(self.neighbours, count - 1)
        if k < 1:
            return patches.new_ones(patches.shape[:2])
        distances = torch.cdist(
            patches, patches
        ).square()  # squared in float32: halves overflow beyond norm 256
        distances = distances.masked_fill(torch.eye(count, dtype=torch.bool, device=patches.device), -1.0)
        near, index = distances.topk(k + 1, largest=False)
        near, index = near[..., 1:], index[..., 1:]
        own = near[..., -1]
        theirs = _of_neighbours(own, index)
        tiny = torch.finfo(own.dtype).tiny
        if self.reach == "own":
            # Patches that are all alike have distance 0; the bound keeps what is infinitely far a number.
            return (own[..., None] / theirs.clamp_min(tiny)).clamp_max(_FAR).mean(-1)
        density = 1 / torch.maximum(near, theirs).mean(-1).clamp_min(tiny)
        return (_of_neighbours(density, index).mean(-1) / density).clamp_max(_FAR)

    def flags(self, run: Context) -> Bool[Tensor, "B N"]:
        """Scores strictly above their quantile, picture by picture."""
        scores = self.scores(run)
        return scores > scores.quantile(1 - self.share, dim=-1, keepdim=True)


def _of_neighbours(values: Float[Tensor, "B N"], index: Tensor) -> Float[Tensor, "B N k"]:
    return values[:, None].expand(-1, values.shape[1], -1).gather(2, index)


@dataclass(frozen=True)
class ClassFocus(Record):
    """Patches that the class token attends to more than they attend to themselves.

    Attributes:
        span: the block whose attention is read, heads averaged.
        gain: factor on the class token's weights before the comparison.
        top: of the candidates, those with the largest weight are flagged, so many at most.
    """

    gain: float = 1.5
    top: int = 10

    def read(self, step: BlockStep) -> Float[Tensor, "B 2 N"]:
        """Weights from the class token, and of each patch on itself."""
        weights = step.weights("q", "k")[..., step.prefix :]
        own = weights[:, :, step.prefix :].diagonal(dim1=-2, dim2=-1)
        return torch.stack([self.gain * weights[:, :, 0], own], dim=1).mean(2)

    def flags(self, run: Context) -> Bool[Tensor, "B N"]:
        """The candidates with the largest weights."""
        seen, own = run.recorded(self).unbind(1)
        ranked = seen.masked_fill(seen <= own, -torch.inf)
        top = ranked.topk(min(self.top, seen.shape[1])).indices
        return torch.zeros_like(seen, dtype=torch.bool).scatter(1, top, value=True) & (seen > own)


@dataclass(frozen=True)
class LargestNorm:
    """The patches with the largest L2 norm.

    Attributes:
        source: whose patches are measured.
        top: how many are flagged.
    """

    source: TokenStream
    top: int = 10

    def flags(self, run: Context) -> Bool[Tensor, "B N"]:
        """The patches of the largest norm."""
        norms = run.tokens(self.source)[:, run.prefix :].float().norm(dim=-1)
        index = norms.topk(min(self.top, norms.shape[1])).indices
        return torch.zeros_like(norms, dtype=torch.bool).scatter(1, index, value=True)


@dataclass(frozen=True)
class Repair:
    """A flagged patch becomes the mean of those of its eight neighbours that are not flagged; without one it stays."""

    detector: Detector

    def apply(
        self, patches: Float[Tensor, "B N D"], flagged: Bool[Tensor, "B N"], grid: tuple[int, int]
    ) -> Float[Tensor, "B N D"]:
        """The repaired patches, in the order given."""
        image = rearrange(patches, "B (h w) D -> B D h w", h=grid[0])
        clean = rearrange(~flagged, "B (h w) -> B 1 h w", h=grid[0]).to(patches.dtype)
        around, count = _sum_of_nine(image * clean), _sum_of_nine(clean)
        means = around / count.clamp_min(1)
        mended = torch.where((clean < 1) & (count > 0.5), means, image)
        return rearrange(mended, "B D h w -> B (h w) D")


def _sum_of_nine(image: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
    """Sum over the 3 × 3 cells around each, cells outside counting as 0."""
    return F.avg_pool2d(image, 3, stride=1, padding=1, divisor_override=1)


CLASS_FOCUS = ClassFocus(Span(-2, -2))
"""SFP's default detector."""
