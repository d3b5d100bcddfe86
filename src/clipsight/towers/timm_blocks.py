"""Blocks of timm's vision transformers and EVAs: query-key norms, rotary positions, scales, post-norms.

A norm that stands behind the attention (`ResPostBlock`, `EvaBlockPostNorm`) is part of `merge`, and `norm1` then does
nothing. Stochastic depth and dropout are never applied.
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models import eva, vision_transformer
from torch import Tensor, nn
from torch.nn import functional as F

from clipsight.towers.block import Block, check_parts
from clipsight.towers.paths import Path

_BEHIND = (vision_transformer.ResPostBlock, eva.EvaBlockPostNorm)
_BLOCKS = (vision_transformer.Block, eva.EvaBlock, *_BEHIND)
_ATTENTION = tuple(
    kind
    for kind in (
        getattr(vision_transformer, "Attention"),  # noqa: B009 - it came from another file over the years
        eva.EvaAttention,
        getattr(eva, "AttentionRope", None),  # not in older timm
    )
    if kind is not None
)


def unsupported_block(block: nn.Module) -> str | None:
    """Why a block cannot be seen in parts, as the end of a sentence; None when it can."""
    attn: Any = getattr(block, "attn", None)
    if type(block) not in _BLOCKS or type(attn) not in _ATTENTION:
        return f"a {type(block).__name__} with {type(attn).__name__} cannot be taken in parts"
    if getattr(attn, "gate", None) is not None:
        return "its attention is gated by its own input"
    if getattr(attn, "num_kv_heads", attn.num_heads) != attn.num_heads:
        return "its heads share keys and values"
    return None


class TimmBlock(Block):
    """`BlockView` of a block of timm's `VisionTransformer` or `Eva`.

    Args:
        block: the block, one that `unsupported_block` has nothing against.
        rope: rotary positions of the patches of one grid, sines and cosines as timm keeps them; None without.
    """

    def __init__(self, block: nn.Module, rope: Float[Tensor, "N _"] | None = None) -> None:
        self._block: Any = block
        self._attn: Any = self._block.attn
        self._rope = rope
        self.heads = self._attn.num_heads
        self.head_width = self._attn.head_dim
        self.scale = float(self._attn.scale)

    def __call__(self, x: Float[Tensor, "B S D"], mask: Tensor | None = None) -> Float[Tensor, "B S D"]:
        """The library's own block."""
        given = {} if self._rope is None else {"rope": self._rope}
        return self._block(x, **given) if mask is None else self._block(x, attn_mask=mask, **given)

    def norm1(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """The norm before attention, nothing where it stands behind."""
        return x if isinstance(self._block, _BEHIND) else self._block.norm1(x)

    def qkv(self, y: Float[Tensor, "B S D"], parts: str = "qkv") -> tuple[Float[Tensor, "B K S d"], ...]:
        """Queries and keys normed and turned as the scores take them; values as projected.

        Raises:
            ValueError: `parts` is not a contiguous piece of "qkv".
        """
        made = self._parts(y, parts)
        if self._rope is None:
            return made
        rope = self._rope
        # Positions belong to the patches, which are the last tokens whether the prefix stands before them or not.
        first = y.shape[1] - len(rope)
        return tuple(
            one if letter == "v" else self._turned(one, first, rope)
            for letter, one in zip(parts, made, strict=True)
        )

    def attend_rows(
        self, rows: Float[Tensor, "B R D"], y: Float[Tensor, "B S D"]
    ) -> Float[Tensor, "B K R d"]:
        """The block's own attention of prefix tokens, which have no rotary position."""
        (q,), (k, v) = self._row_queries(rows), self.qkv(y, "kv")
        return F.scaled_dot_product_attention(q, k, v, scale=self.scale)

    def _row_queries(self, rows: Float[Tensor, "B R D"]) -> tuple[Float[Tensor, "B K R d"], ...]:
        return self._parts(rows, "q")

    def merge_path(self) -> Path:
        """As `merge`, of heads side by side."""
        block, attn = self._block, self._attn
        inner = getattr(attn, "norm", None)
        behind = block.norm1 if isinstance(block, _BEHIND) else _layer_scale(block, 1)
        return Path(inner, attn.proj, behind)

    def merge(self, heads: Float[Tensor, "B K S d"]) -> Float[Tensor, "B S D"]:
        """Norm of the attended heads, output projection, norm behind or layer scale."""
        block, attn = self._block, self._attn
        inner = rearrange(heads, "B K S d -> B S (K d)")
        out = attn.proj(attn.norm(inner) if hasattr(attn, "norm") else inner)
        return block.norm1(out) if isinstance(block, _BEHIND) else _scaled(block, 1, out)

    def ffn(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """Second norm and network, in the block's own order."""
        block = self._block
        if isinstance(block, _BEHIND):
            return block.norm2(block.mlp(x))
        return _scaled(block, 2, block.mlp(block.norm2(x)))

    def _parts(self, y: Float[Tensor, "B S D"], parts: str) -> tuple[Float[Tensor, "B K S d"], ...]:
        check_parts(parts)
        attn, made = self._attn, []
        width = self.heads * self.head_width
        for letter in parts:
            if getattr(attn, "qkv", None) is None:
                joint = getattr(attn, f"{letter}_proj")(y)
            else:
                rows = slice("qkv".index(letter) * width, ("qkv".index(letter) + 1) * width)
                joint = F.linear(y, attn.qkv.weight[rows], self._bias(letter, rows))
            one = rearrange(joint, "B S (K d) -> B K S d", K=self.heads)
            made.append(one if letter == "v" else getattr(attn, f"{letter}_norm")(one))
        return tuple(made)

    def _bias(self, letter: str, rows: slice) -> Tensor | None:
        if getattr(self._attn, "q_bias", None) is not None:
            return getattr(self._attn, f"{letter}_bias")
        return None if self._attn.qkv.bias is None else self._attn.qkv.bias[rows]

    def _turned(
        self, heads: Float[Tensor, "B K S d"], first: int, rope: Float[Tensor, "N _"]
    ) -> Float[Tensor, "B K S d"]:
        half = {"half": True} if getattr(self._attn, "rotate_half", False) else {}
        patches = apply_rot_embed_cat(heads[:, :, first:], rope, **half)
        return torch.cat([heads[:, :, :first], patches], dim=2).to(heads.dtype)


def _scaled(block: Any, which: int, out: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
    scale = _layer_scale(block, which)
    if scale is None:
        return out
    return scale * out if isinstance(scale, Tensor) else scale(out)


def _layer_scale(block: Any, which: int) -> nn.Module | Tensor | None:
    """Layer scale: a module `ls1` in vision transformers, a parameter `gamma_1` or None in EVAs."""
    module = getattr(block, f"ls{which}", None)
    return getattr(block, f"gamma_{which}", None) if module is None else module
