"""Select heads by how sharp their maps are, and let a selected map mix all channels."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from clipsight.features.rules import broken


@dataclass(frozen=True)
class HeadChoice:
    """The heads whose maps have the lowest entropy: max(1, round(K · share)) of K heads.

    Attributes:
        share: of all heads, in (0, 1].
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            cause = "a share of the heads lies in (0, 1]"
            raise broken("head-share", f"share={self.share!r}", cause, "HeadChoice(4 / 12)")

    def count(self, heads: int) -> int:
        """How many of `heads` are kept."""
        return min(max(1, round(heads * self.share)), heads)

    def choose(self, weights: Float[Tensor, "B K R S"]) -> Int[Tensor, "B chosen"]:
        """Numbers of the chosen heads; entropy is -sum of p log2(p + 1e-6) over the whole map."""
        p = weights.float()
        entropy = -(p * (p + 1e-6).log2()).sum((-2, -1))
        return entropy.topk(self.count(p.shape[1]), largest=False).indices


def mix_heads(
    weights: Float[Tensor, "B K R S"],
    values: Float[Tensor, "B K S d"],
    chosen: Int[Tensor, "B chosen"],
    *,
    divide: bool,
) -> Float[Tensor, "B K R d"]:
    """The chosen heads' maps summed, over values of full width; `divide` by the number of all heads."""
    batch = torch.arange(len(weights), device=weights.device)[:, None]
    summed = weights[batch, chosen].sum(1)
    if divide:
        summed = summed / weights.shape[1]
    full = rearrange(values, "B K S d -> B S (K d)")
    return rearrange(summed.to(full.dtype) @ full, "B R (K d) -> B K R d", K=values.shape[1])
