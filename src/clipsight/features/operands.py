"""What a branch compares: queries, keys, values, and tensors derived from them."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from clipsight.features.branches import Heads, Letter


@dataclass(frozen=True)
class Centred:
    """Heads minus their mean over tokens, weighted by the length of the queries; the prefix has no weight.

    The weights are ‖q_i‖ / (sum of ‖q_j‖ over patches + 1e-6), head by head.
    """

    of: Letter

    def make(self, heads: Heads) -> Float[Tensor, "B K S d"]:
        """The centred heads, prefix included, in float32."""
        return _centre(heads.part(self.of).float(), heads)


@dataclass(frozen=True)
class Unit:
    """Heads of length 1: x / max(‖x‖, 1e-6), so that scores are cosines times the branch's scale and gain."""

    of: Letter

    def make(self, heads: Heads) -> Float[Tensor, "B K S d"]:
        """The unit heads."""
        return F.normalize(heads.part(self.of), dim=-1, eps=1e-6)


@dataclass(frozen=True)
class Rotated:
    """Heads turned onto others: x R with M = centred(x)ᵀ centred(onto), R near M (MᵀM)^(-1/2).

    Attributes:
        of, onto: which heads. The heads that are turned are not centred, only what R is found from.
        iterations: Newton-Schulz steps from the Frobenius norm, far from converged at 5; None takes the polar factor
            from a singular value decomposition, which is another method numerically and lets no gradient through R.
    """

    of: Letter
    onto: Letter
    iterations: int | None = 5

    def make(self, heads: Heads) -> Float[Tensor, "B K S d"]:
        """The turned heads in float32."""
        x, onto = heads.part(self.of).float(), heads.part(self.onto).float()
        return x @ _rotation(_centre(x, heads).mT @ _centre(onto, heads), self.iterations)


def _centre(x: Float[Tensor, "B K S d"], heads: Heads) -> Float[Tensor, "B K S d"]:
    lengths = heads.part("q").float().norm(dim=-1, keepdim=True)
    lengths = torch.cat(
        [torch.zeros_like(lengths[:, :, : heads.prefix]), lengths[:, :, heads.prefix :]], dim=2
    )
    weights = lengths / (lengths.sum(2, keepdim=True) + 1e-6)
    return x - (weights * x).sum(2, keepdim=True)


def _rotation(m: Float[Tensor, "B K d d"], iterations: int | None) -> Float[Tensor, "B K d d"]:
    if iterations is None:
        # Its gradient is infinite wherever singular values meet, which they do with fewer tokens than channels.
        left, _, right = torch.linalg.svd(m.detach())
        return left @ right
    square = m.mT @ m
    size = torch.linalg.matrix_norm(square, keepdim=True).clamp_min(1e-6)
    eye = torch.eye(m.shape[-1], dtype=m.dtype, device=m.device)
    y, z = square / size + 1e-6 * eye, eye.expand_as(square)
    for _ in range(iterations):
        step = (3 * eye - z @ y) / 2
        y, z = y @ step, step @ z
    return m @ z / size.sqrt()


@dataclass(frozen=True)
class SelfAttended:
    """L2-normalised heads, gathered `iterations` times around themselves: z ← softmax(τ z zᵀ) z, z ← z / ‖z‖.

    Attributes:
        of: which heads.
        iterations: 0 only normalises.
        scale: τ; "norms" is the block's scale times the mean length of the normed tokens, one number a picture.
    """

    of: Letter
    iterations: int = 1
    scale: float | Literal["norms"] = "norms"

    def make(self, heads: Heads) -> Float[Tensor, "B K S d"]:
        """Unit vectors."""
        z = F.normalize(heads.part(self.of), dim=-1)
        for _ in range(self.iterations):
            left = z * heads.inverse_temperature(self.scale)
            z = F.normalize(F.scaled_dot_product_attention(left, z, z, scale=1.0), dim=-1)
        return z
