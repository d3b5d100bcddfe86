"""View of open_clip's native `VisionTransformer` (class token, `nn.MultiheadAttention`): names only, no second forward.

Differences from calling the module: patch dropout is never applied (a map needs every patch), gradient checkpointing
is not used, and pictures of any size are taken. Hooks on the attention or the network of a block are called when the
block runs whole, not when a recipe takes it in parts.
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from open_clip.transformer import QuickGELU, ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from clipsight.errors import Unsupported
from clipsight.towers.positions import PositionCache
from clipsight.towers.view import PositionRule

_QUICK = 1.702


def unsupported_reason(visual: nn.Module) -> str | None:
    """Why `OpenClipVision` cannot look at this image tower, in one sentence; None when it can."""
    if not isinstance(visual, VisionTransformer):
        return f"its image tower is a {type(visual).__name__}, not open_clip's native VisionTransformer."
    if visual.attn_pool is not None:
        return "its image tower pools by attention, so patches do not pass the way of CLIP's class token."
    if visual.pool_type != "tok":
        return f"its image tower pools by {visual.pool_type!r}, not by the class token."
    return unsupported_blocks(visual.transformer)


def unsupported_blocks(transformer: nn.Module) -> str | None:
    """Why the blocks of an open_clip `Transformer` cannot be seen in parts; None when they can."""
    if not getattr(transformer, "batch_first", True):
        return "its blocks run sequence-first; build the model with batch_first=True."
    blocks: Any = transformer.resblocks
    for index, block in enumerate(blocks):
        if not isinstance(block, ResidualAttentionBlock) or not isinstance(block.attn, nn.MultiheadAttention):
            return (
                f"block {index} is a {type(block).__name__}, not open_clip's ResidualAttentionBlock "
                "with nn.MultiheadAttention."
            )
        if block.attn.in_proj_weight is None:
            return f"block {index} keeps separate query, key and value weights."
    return None


class OpenClipBlock:
    """`BlockView` of a `ResidualAttentionBlock`; serves the image and the text tower."""

    def __init__(self, block: nn.Module) -> None:
        assert isinstance(block, ResidualAttentionBlock)  # unsupported_blocks looked before
        self._block = block
        self.heads: int = block.attn.num_heads
        self.head_width: int = block.attn.head_dim
        self.scale: float = self.head_width**-0.5

    def __call__(self, x: Float[Tensor, "B S D"], mask: Tensor | None = None) -> Float[Tensor, "B S D"]:
        """The library's own block."""
        return self._block(x, attn_mask=mask)

    def norm1(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """The layer norm before attention."""
        return self._block.ln_1(x)

    def qkv(self, y: Float[Tensor, "B S D"], parts: str = "qkv") -> tuple[Float[Tensor, "B K S d"], ...]:
        """Queries, keys, values named by `parts`, a contiguous piece of "qkv", from one product with its weight rows.

        Raises:
            ValueError: `parts` is not a contiguous piece of "qkv".
        """
        if not parts or parts not in "qkv":
            raise ValueError(
                f"parts must be a contiguous piece of 'qkv', got {parts!r}; ask for the others separately."
            )
        attn, start = self._block.attn, "qkv".index(parts)
        rows = slice(start * attn.embed_dim, (start + len(parts)) * attn.embed_dim)
        bias = None if attn.in_proj_bias is None else attn.in_proj_bias[rows]
        joint = F.linear(y, attn.in_proj_weight[rows], bias)
        return tuple(rearrange(joint, "B S (p K d) -> p B K S d", p=len(parts), K=self.heads).unbind())

    def attend_rows(
        self, rows: Float[Tensor, "B R D"], y: Float[Tensor, "B S D"]
    ) -> Float[Tensor, "B K R d"]:
        """Attention of few queries without a key or a value being made: q · (W y) = (q W) · y, and A (W y) = W (A y).

        The bias of the keys adds the same to every score of a row, which a softmax does not see; rows of the attention
        sum to 1, so the bias of the values is added once.
        """
        attn, width = self._block.attn, self._block.attn.embed_dim
        (q,) = self.qkv(rows, "q")
        keys, values = (
            rearrange(attn.in_proj_weight[i * width : (i + 1) * width], "(K d) D -> K d D", K=self.heads)
            for i in (1, 2)
        )
        pulled = rearrange(self.scale * (q @ keys), "B K R D -> B (K R) D")
        weights = (pulled @ y.mT).softmax(-1, dtype=torch.float32).to(y.dtype)
        out = rearrange(weights @ y, "B (K R) D -> B K R D", K=self.heads) @ values.mT
        if attn.in_proj_bias is None:
            return out
        return out + rearrange(attn.in_proj_bias[2 * width :], "(K d) -> K 1 d", K=self.heads)

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


def _quick_mlp(fc: nn.Linear, proj: nn.Linear, y: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
    """The network with QuickGELU in one pass over its widest tensor where the library takes three.

    With c = 1.702, x σ(c x) = silu(c x) / c, and the two matrix products take in the factors for nothing.
    """
    rows = rearrange(y, "B S D -> (B S) D")
    hidden = torch.addmm(fc.bias, rows, fc.weight.mT, beta=_QUICK, alpha=_QUICK)
    hidden = F.silu(hidden, inplace=not torch.is_grad_enabled())
    out = torch.addmm(proj.bias, hidden, proj.weight.mT, alpha=1 / _QUICK)
    return rearrange(out, "(B S) D -> B S D", B=len(y))


class OpenClipVision:
    """`VisionView` of open_clip's native ViT.

    Args:
        visual: the `visual` module of an open_clip `CLIP`; it is looked at, never changed.

    Raises:
        Unsupported: another kind of tower; the message says which.
    """

    prefix = 1

    def __init__(self, visual: nn.Module) -> None:
        if (reason := unsupported_reason(visual)) is not None:
            raise Unsupported(
                f"this model's patches cannot be read: {reason} Towers seen today are open_clip's native "
                "ViTs with a class token, such as ViT-B-32, ViT-B-16 and ViT-L-14."
            )
        assert isinstance(visual, VisionTransformer)
        self._visual = visual
        self.patch = _pair(visual.patch_size)
        self.native_size = _pair(visual.image_size)
        self.native_grid = _pair(visual.grid_size)
        self.width: int = visual.transformer.width
        self.embed_dim: int = self.width if visual.proj is None else visual.proj.shape[1]
        self.blocks: tuple[OpenClipBlock, ...] = tuple(OpenClipBlock(b) for b in visual.transformer.resblocks)
        self._positions = PositionCache(self.native_grid)

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the patch embedding, in which the tower computes."""
        return self._visual.conv1.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the tower lives."""
        return self._visual.conv1.weight.device

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) in patches of a picture of `height` × `width` pixels.

        Raises:
            ValueError: a side is not a positive multiple of the patch.
        """
        (rows, row_rest), (columns, column_rest) = divmod(height, self.patch[0]), divmod(width, self.patch[1])
        if row_rest or column_rest or min(rows, columns) < 1:
            near = tuple(max(round(n / p), 1) * p for n, p in zip((height, width), self.patch, strict=True))
            raise ValueError(
                f"a picture of {height} × {width} pixels (height × width) does not divide into patches of "
                f"{self.patch[0]} × {self.patch[1]}; the rest would be cut off unseen. "
                f"Resize it to {near[0]} × {near[1]}; lens.preprocess does so."
            )
        return rows, columns

    def embed(
        self, images: Float[Tensor, "B 3 H W"], positions: PositionRule = "bicubic_antialias"
    ) -> Float[Tensor, "B S D"]:
        """Class token and patches, row by row, with positions, after the norm that precedes the blocks."""
        grid = self.grid(*images.shape[-2:])
        visual = self._visual
        patches = rearrange(visual.conv1(images.to(self.dtype)), "B D h w -> B (h w) D")
        cls = visual.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        tokens = torch.cat([cls, patches], dim=1)
        return visual.ln_pre(
            tokens + self._positions.get(visual.positional_embedding, grid, positions, tokens.dtype)
        )

    def readout(self, tokens: Float[Tensor, "B S D"]) -> Float[Tensor, "B S E"]:
        """The final norm and projection, which CLIP trains on the class token, applied to any tokens."""
        normed = self._visual.ln_post(tokens)
        return normed if self._visual.proj is None else normed @ self._visual.proj

    def encode(
        self, images: Float[Tensor, "B 3 H W"], positions: PositionRule = "bicubic_antialias"
    ) -> Float[Tensor, "B E"]:
        """Pooled feature, equal to `encode_image` at the native size and, elsewhere, to a model built at that size."""
        x = self.embed(images, positions)
        for block in self.blocks:
            x = block(x)
        return self.readout(x[:, : self.prefix])[:, 0]


def _pair(sides: Any) -> tuple[int, int]:
    height, width = sides
    return int(height), int(width)
