"""Edits of the trunk while it runs: patches dominated by a few channels are blended with their neighbours."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F


@runtime_checkable
class TrunkEdit(Protocol):
    """A change of the trunk, block after block."""

    @property
    def changes_attention(self) -> bool:
        """True when `attention` is not the identity."""
        ...

    def attention(self, weights: Float[Tensor, "B K S S"], prefix: int) -> Float[Tensor, "B K S S"]:
        """The own attention of a block before the last, changed."""
        ...

    def patches(self, patches: Float[Tensor, "B N D"], grid: tuple[int, int]) -> Float[Tensor, "B N D"]:
        """The changed output of the block; the same object if nothing changed."""
        ...


@dataclass(frozen=True, kw_only=True)
class Refocus:
    """Move the attention of patches from sinks to other patches.

    Head by head a sink is a patch whose weights from all patches, divided by the number of all tokens, exceed
    `threshold`; it keeps `keep` of each of its weights; what is freed in a row goes to the row's other patches in
    proportion to their weights. Rows and columns of the prefix stay.
    """

    threshold: float = 0.1
    keep: float = 0.6

    def apply(self, weights: Float[Tensor, "B K S S"], prefix: int) -> Float[Tensor, "B K S S"]:
        """The changed weights; rows still sum to 1 unless every patch is a sink."""
        patches = weights[:, :, prefix:, prefix:]
        sink = patches.sum(-2, keepdim=True) / weights.shape[-1] > self.threshold
        kept, others = torch.where(sink, self.keep * patches, patches), torch.where(sink, 0, patches)
        freed = (patches - kept).sum(-1, keepdim=True)
        changed = kept + freed * others / (others.sum(-1, keepdim=True) + 1e-8)
        rows = torch.cat([weights[:, :, prefix:, :prefix], changed], dim=-1)
        return torch.cat([weights[:, :, :prefix], rows], dim=-2)


@dataclass(frozen=True, kw_only=True)
class Denoise:
    """After every block, patches in which one of a few channels holds too large a share are blended with those around.

    Share of channel c in patch x: u_c / sum of u, u = x - min x. A patch is flagged if a sink channel's share exceeds
    `sigma` / D, and becomes (1 - blend) x + blend · mean of the nine cells around it, cells outside counting as 0.

    Attributes:
        sinks: for each known width D its sink channels.
        sigma: threshold in shares of an even distribution.
        blend: part of the neighbourhood's mean.
        estimated: at other widths, how many channels are taken as sinks: those with the largest share in any patch of
            the picture, picture by picture and block by block.
        refocus: also change the blocks' attention; None leaves it.
    """

    sinks: tuple[tuple[int, tuple[int, ...]], ...]
    sigma: float = 5.0
    blend: float = 0.4
    estimated: int = 8
    refocus: Refocus | None = None

    @property
    def changes_attention(self) -> bool:
        """True with `refocus`."""
        return self.refocus is not None

    def attention(self, weights: Float[Tensor, "B K S S"], prefix: int) -> Float[Tensor, "B K S S"]:
        """Refocused attention."""
        return weights if self.refocus is None else self.refocus.apply(weights, prefix)

    def flags(self, patches: Float[Tensor, "B N D"]) -> Bool[Tensor, "B N"]:
        """Patches that a sink channel dominates."""
        above = patches.float() - patches.float().amin(-1, keepdim=True)
        shares = above / above.sum(-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        width = patches.shape[-1]
        known = dict(self.sinks).get(width)
        if known is not None:
            return shares[..., list(known)].amax(-1) > self.sigma / width
        peaks = shares.amax(1)
        sinks = peaks.topk(min(self.estimated, width), dim=-1).indices
        return shares.gather(2, sinks[:, None].expand(-1, shares.shape[1], -1)).amax(-1) > self.sigma / width

    def patches(self, patches: Float[Tensor, "B N D"], grid: tuple[int, int]) -> Float[Tensor, "B N D"]:
        """Flagged patches blended, the others unchanged."""
        flagged = self.flags(patches)
        if not flagged.any():
            return patches
        image = rearrange(patches, "B (h w) D -> B D h w", h=grid[0])
        around = rearrange(F.avg_pool2d(image, 3, stride=1, padding=1), "B D h w -> B (h w) D")
        return torch.where(flagged[..., None], (1 - self.blend) * patches + self.blend * around, patches)
