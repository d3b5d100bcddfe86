"""Blocks of open_clip's own transformers, image and text: the usual kind, and one with more norms and scales.

Hooks on the attention or the network of a block are called when the block runs whole, not when it is taken in parts.
"""

from typing import Any

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from open_clip.transformer import CustomResidualAttentionBlock, QuickGELU, ResidualAttentionBlock
from torch import Tensor, nn
from torch.nn import functional as F

from clipsight.towers.block import Block, check_parts, softmax_seen
from clipsight.towers.paths import Path

_QUICK = 1.702


def unsupported_blocks(transformer: nn.Module) -> str | None:
    """Why the blocks of an open_clip `Transformer` cannot be seen in parts; None when they can."""
    if not getattr(transformer, "batch_first", True):
        return "its blocks run sequence-first; build the model with batch_first=True."
    blocks: Any = transformer.resblocks
    for index, block in enumerate(blocks):
        if isinstance(block, CustomResidualAttentionBlock):
            if not getattr(block.attn, "batch_first", True):
                return f"block {index} attends sequence-first; build the model with batch_first=True."
            continue
        if not isinstance(block, ResidualAttentionBlock) or not isinstance(block.attn, nn.MultiheadAttention):
            return f"block {index} is a {type(block).__name__}, which is none of open_clip's own."
        if block.attn.in_proj_weight is None:
            return f"block {index} keeps separate query, key and value weights."
    return None


def block_views(transformer: nn.Module) -> tuple[Block, ...]:
    """One view per block of a transformer that `unsupported_blocks` has nothing against."""
    blocks: Any = transformer.resblocks
    return tuple(
        CustomBlock(block) if isinstance(block, CustomResidualAttentionBlock) else OpenClipBlock(block)
        for block in blocks
    )


class _JointProjection(Block):
    """A block whose queries, keys and values come from one matrix, `attn.in_proj_weight`."""

    _block: Any

    def __call__(self, x: Float[Tensor, "B S D"], mask: Tensor | None = None) -> Float[Tensor, "B S D"]:
        """The library's own block."""
        return self._block(x, attn_mask=mask)

    def norm1(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """The layer norm before attention."""
        return self._block.ln_1(x)

    def _projected(self, y: Float[Tensor, "B S D"], parts: str) -> list[Float[Tensor, "B K S d"]]:
        check_parts(parts)
        attn, start, width = self._block.attn, "qkv".index(parts), self.heads * self.head_width
        rows = slice(start * width, (start + len(parts)) * width)
        bias = None if attn.in_proj_bias is None else attn.in_proj_bias[rows]
        joint = F.linear(y, attn.in_proj_weight[rows], bias)
        return list(rearrange(joint, "B S (p K d) -> p B K S d", p=len(parts), K=self.heads).unbind())


class OpenClipBlock(_JointProjection):
    """`BlockView` of a `ResidualAttentionBlock`; serves the image and the text tower."""

    def __init__(self, block: nn.Module) -> None:
        assert isinstance(block, ResidualAttentionBlock)  # unsupported_blocks looked before
        self._block = block
        self.heads = block.attn.num_heads
        self.head_width = block.attn.head_dim
        self.scale = self.head_width**-0.5

    def qkv(self, y: Float[Tensor, "B S D"], parts: str = "qkv") -> tuple[Float[Tensor, "B K S d"], ...]:
        """Queries, keys, values named by `parts`, a contiguous piece of "qkv", from one product with its weight rows.

        Raises:
            ValueError: `parts` is not a contiguous piece of "qkv".
        """
        return tuple(self._projected(y, parts))

    def attend_rows(
        self, rows: Float[Tensor, "B R D"], y: Float[Tensor, "B S D"]
    ) -> Float[Tensor, "B K R d"]:
        """Attention of few queries without a key or a value being made: q · (W y) = (q W) · y, and A (W y) = W (A y).

        The bias of the keys adds the same to every score of a row, which a softmax does not see; rows of the attention
        sum to 1, so the bias of the values is added once.
        """
        attn, width = self._block.attn, self._block.attn.embed_dim
        weights = rearrange(self.row_weights(rows, y), "B K R S -> B (K R) S").to(y.dtype)
        values = rearrange(attn.in_proj_weight[2 * width :], "(K d) D -> K d D", K=self.heads)
        out = rearrange(weights @ y, "B (K R) D -> B K R D", K=self.heads) @ values.mT
        if attn.in_proj_bias is None:
            return out
        return out + rearrange(attn.in_proj_bias[2 * width :], "(K d) -> K 1 d", K=self.heads)

    def row_weights(
        self,
        rows: Float[Tensor, "B R D"],
        y: Float[Tensor, "B S D"],
        seen: Bool[Tensor, "B R S"] | None = None,
    ) -> Float[Tensor, "B K R S"]:
        """The attention of few rows without a key being made; see `attend_rows`."""
        width = self.heads * self.head_width
        (q,) = self.qkv(rows, "q")
        keys = rearrange(self._block.attn.in_proj_weight[width : 2 * width], "(K d) D -> K d D", K=self.heads)
        pulled = rearrange(self.scale * (q @ keys), "B K R D -> B (K R) D")
        return softmax_seen(rearrange(pulled @ y.mT, "B (K R) S -> B K R S", K=self.heads), seen)

    def merge_path(self) -> Path:
        """Output projection and layer scale."""
        return Path(self._block.attn.out_proj, self._block.ls_1)

    def merge(self, heads: Float[Tensor, "B K S d"]) -> Float[Tensor, "B S D"]:
        """Output projection with its bias and layer scale."""
        out = self._block.attn.out_proj
        return self._block.ls_1(F.linear(rearrange(heads, "B K S d -> B S (K d)"), out.weight, out.bias))

    def ffn(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """Second norm, feed-forward network, layer scale."""
        mlp, y = self._block.mlp, self._block.ln_2(x)
        fc, proj = mlp.c_fc, mlp.c_proj
        if isinstance(mlp.gelu, QuickGELU) and type(fc) is nn.Linear and type(proj) is nn.Linear:
            return self._block.ls_2(_quick_mlp(fc, proj, y))
        return self._block.ls_2(mlp(y))


class CustomBlock(_JointProjection):
    """`BlockView` of a `CustomResidualAttentionBlock`: norms of queries and keys, cosine scores, scales of heads.

    Scaled cosine attention multiplies the cosine of q and k by a factor of each head. Here its root goes into the unit
    queries and the unit keys alike, so that keys with keys are compared at the temperature of queries with keys.
    """

    def __init__(self, block: nn.Module) -> None:
        assert isinstance(block, CustomResidualAttentionBlock)
        self._block = block
        self.heads = block.attn.num_heads
        self.head_width = block.attn.head_dim
        self.scale = self.head_width**-0.5

    def qkv(self, y: Float[Tensor, "B S D"], parts: str = "qkv") -> tuple[Float[Tensor, "B K S d"], ...]:
        """Queries and keys as the scores take them, values as projected.

        Raises:
            ValueError: `parts` is not a contiguous piece of "qkv".
        """
        attn, made = self._block.attn, self._projected(y, parts)
        for index, letter in enumerate(parts):
            if letter == "v":
                continue
            if attn.logit_scale is None:
                made[index] = self._norm(f"ln_{letter}")(made[index])
            else:
                factor = attn.logit_scale.clamp(max=attn.logit_scale_max).exp() / self.scale
                made[index] = F.normalize(made[index], dim=-1) * factor.sqrt()
        return tuple(made)

    def merge(self, heads: Float[Tensor, "B K S d"]) -> Float[Tensor, "B S D"]:
        """Scales of heads, inner norm, output projection, norm of the output, layer scale."""
        block, attn = self._block, self._block.attn
        scaled = heads if attn.head_scale is None else heads * attn.head_scale
        inner = self._norm("ln_inner")(rearrange(scaled, "B K S d -> B S (K d)"))
        return block.ls_1(block.ln_attn(attn.out_proj(inner)))

    def merge_path(self) -> Path:
        """As `merge`, of heads side by side."""
        block, attn = self._block, self._block.attn
        scales = (
            None if attn.head_scale is None else repeat(attn.head_scale, "K 1 1 -> (K d)", d=self.head_width)
        )
        return Path(scales, self._norm("ln_inner"), attn.out_proj, block.ln_attn, block.ls_1)

    def ffn(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """Second norm, feed-forward network, layer scale."""
        return self._block.ls_2(self._block.mlp(self._block.ln_2(x)))

    def _norm(self, name: str) -> nn.Module:
        """A norm inside the attention, which older versions of open_clip do not have."""
        return getattr(self._block.attn, name, nn.Identity())


def _quick_mlp(fc: nn.Linear, proj: nn.Linear, y: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
    """The network with QuickGELU in one pass over its widest tensor where the library takes three.

    With c = 1.702, x σ(c x) = silu(c x) / c, and the two matrix products take in the factors for nothing.
    """
    rows = rearrange(y, "B S D -> (B S) D")
    hidden = torch.addmm(fc.bias, rows, fc.weight.mT, beta=_QUICK, alpha=_QUICK)
    hidden = F.silu(hidden, inplace=not torch.is_grad_enabled())
    out = torch.addmm(proj.bias, hidden, proj.weight.mT, alpha=1 / _QUICK)
    return rearrange(out, "(B S) D -> B S D", B=len(y))
