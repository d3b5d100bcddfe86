"""How a tower's pooled feature is computed, in steps that are affine for fixed norms and attention."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from clipsight.towers.paths import Path


@dataclass(frozen=True, kw_only=True, eq=False)
class RowPooling:
    """The feature is one token's state after the last block, through `after`; the first token of an image tower."""

    after: Path


@dataclass(frozen=True, kw_only=True, eq=False)
class MeanPooling:
    """The feature is `after` of the mean over the patches of `before` of each."""

    before: Path
    after: Path


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeRead:
    """What a pooling attention reads: Σ_s weights_s values_s + aside, for each head.

    Attributes:
        weights: of the sources, float32. values: what each gives.
        aside: what belongs to no source, None for nothing.
    """

    weights: Float[Tensor, "B K S"]
    values: Float[Tensor, "B K S d"]
    aside: Float[Tensor, "B K d"] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbePooling:
    """The feature is `after` of p + `network`(p), p being `merge` of what an attention of its own reads from tokens.

    Attributes:
        read: of the tokens after the last block and their (h, w) grid.
        merge: from heads side by side to p.
        network: what the pool's own network adds to p (B, D); None for nothing.
        after: from there to the joint space.
    """

    read: Callable[[Float[Tensor, "B S D"], tuple[int, int]], ProbeRead]
    merge: Path
    network: Callable[[Float[Tensor, "B D"]], Float[Tensor, "B D"]] | None
    after: Path


Pooling = RowPooling | MeanPooling | ProbePooling


def weights_of(
    q: Float[Tensor, "_ K 1 d"], k: Float[Tensor, "B K S d"], scale: float
) -> Float[Tensor, "B K S"]:
    """Attention of one query, softmax in float32."""
    scores = ((q * scale) @ k.mT)[:, :, 0]
    return (scores.float() if scores.dtype.itemsize < 4 else scores).softmax(-1)


def read_by_query(
    attn: nn.MultiheadAttention, query: Float[Tensor, "1 1 _"], y: Float[Tensor, "B S _"]
) -> ProbeRead:
    """What a `MultiheadAttention` with one query reads from tokens."""
    module: Any = attn
    if attn.in_proj_weight is None:
        matrices = module.q_proj_weight, module.k_proj_weight, module.v_proj_weight
    else:
        matrices = attn.in_proj_weight.chunk(3)
    biases = (None,) * 3 if attn.in_proj_bias is None else attn.in_proj_bias.chunk(3)
    made = (F.linear(x, w, b) for x, w, b in zip((query, y, y), matrices, biases, strict=True))
    q, k, v = (rearrange(one, "B S (K d) -> B K S d", K=attn.num_heads) for one in made)
    return ProbeRead(weights=weights_of(q, k, module.head_dim**-0.5), values=v)
