"""View of open_clip's native `VisionTransformer`: names only, no second forward.

Class-token, mean and attentional pooling (CoCa). Differences from calling the module: patch dropout is never applied (a
map needs every patch), gradient checkpointing is not used, and pictures of any size are taken.
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from clipsight.errors import Unsupported
from clipsight.towers.block import Block
from clipsight.towers.grids import pair, patch_grid
from clipsight.towers.open_clip_blocks import block_views, unsupported_blocks
from clipsight.towers.paths import Path
from clipsight.towers.pooling import (
    MeanPooling,
    Pooling,
    ProbePooling,
    ProbeRead,
    RowPooling,
    read_by_query,
)
from clipsight.towers.positions import PositionCache
from clipsight.towers.view import Pools, PositionRule


def unsupported_reason(visual: nn.Module) -> str | None:
    """Why `OpenClipVision` cannot look at this image tower, in one sentence; None when it can."""
    if not isinstance(visual, VisionTransformer):
        return f"its image tower is a {type(visual).__name__}, not open_clip's native VisionTransformer."
    if visual.attn_pool is not None and visual.attn_pool_type:
        return f"its image tower has {visual.attn_pool_type!r} attention pools, which no released model has."
    if visual.pool_type not in ("tok", "avg"):
        return f"its image tower pools by {visual.pool_type!r}: there is no pooled feature."
    return unsupported_blocks(visual.transformer)


class OpenClipVision:
    """`VisionView` of open_clip's native ViT.

    Args:
        visual: the `visual` module of an open_clip model; it is looked at, never changed.

    Raises:
        Unsupported: another kind of tower; the message says which.
    """

    prefix = 1
    class_token = True
    any_size = True

    def __init__(self, visual: nn.Module) -> None:
        if (reason := unsupported_reason(visual)) is not None:
            raise Unsupported(f"this model's patches cannot be read: {reason}")
        assert isinstance(visual, VisionTransformer)
        self._visual = visual
        self.patch = pair(visual.patch_size)
        self._built_for = pair(visual.image_size)
        self.native_grid = pair(visual.grid_size)
        self.native_size = (self.native_grid[0] * self.patch[0], self.native_grid[1] * self.patch[1])
        self.width: int = visual.transformer.width
        proj: Any = visual.proj
        norm: Any = visual.ln_post
        self.embed_dim: int = norm.normalized_shape[0] if proj is None else proj.shape[1]
        pooler: Any = visual.attn_pool
        plain: Pools = "class" if visual.pool_type == "tok" else "mean"
        self.pools: Pools = plain if pooler is None else "attention"
        self.blocks: tuple[Block, ...] = block_views(visual.transformer)
        self._pooler, self._plain = pooler, plain
        self._positions = PositionCache(self.native_grid)

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the patch embedding, in which the tower computes."""
        return self._visual.conv1.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the tower lives."""
        return self._visual.conv1.weight.device

    def blocks_at(self, grid: tuple[int, int]) -> tuple[Block, ...]:
        """The blocks, the same for every grid."""
        return self.blocks

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) in patches; ValueError where a patch would be cut."""
        return patch_grid(height, width, self.patch, self._built_for)

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
        """Final norm and projection of any tokens; through an attentional pool its value path comes first."""
        if self._pooler is not None:
            tokens = _value_path(self._pooler, tokens)
        return self._projected(self._visual.ln_post(tokens))

    def pool(self, tokens: Float[Tensor, "B S D"]) -> Float[Tensor, "B E"]:
        """Class token, mean of the patches, or what the attentional pool's queries gather."""
        norm = self._visual.ln_post
        if self._pooler is not None:
            # open_clip takes the first query as it takes a class token, or the mean of the others.
            tokens = self._pooler(tokens)
        if self._plain == "class":
            return self._projected(norm(tokens[:, :1]))[:, 0]
        if self._visual.final_ln_after_pool and self._pooler is None:
            return self._projected(norm(tokens[:, 1:].mean(1)))
        return self._projected(norm(tokens)[:, 1:].mean(1))

    def pooling(self) -> Pooling:
        """By the class token, the mean of the patches, or the first query of an attentional pool.

        Raises:
            Unsupported: the mean over several queries of an attentional pool.
        """
        visual: Any = self._visual
        if self._pooler is not None:
            if self._plain != "class":
                raise Unsupported(
                    "this image tower pools by the mean of several attention queries, each with a norm of its own; the "
                    "exact map reads one."
                )
            merge, after = Path(self._pooler.attn.out_proj), Path(visual.ln_post, visual.proj)
            return ProbePooling(read=self._read, merge=merge, network=None, after=after)
        if self._plain == "class":
            return RowPooling(after=Path(visual.ln_post, visual.proj))
        norms = (None, visual.ln_post) if visual.final_ln_after_pool else (visual.ln_post, None)
        return MeanPooling(before=Path(norms[0]), after=Path(norms[1], visual.proj))

    def _read(self, tokens: Float[Tensor, "B S D"], grid: tuple[int, int]) -> ProbeRead:
        pooler: Any = self._pooler
        return read_by_query(pooler.attn, pooler.ln_q(pooler.query[:1])[None], pooler.ln_k(tokens))

    def encode(
        self, images: Float[Tensor, "B 3 H W"], positions: PositionRule = "bicubic_antialias"
    ) -> Float[Tensor, "B E"]:
        """Pooled feature, equal to `encode_image` at the native size and, elsewhere, to a model built at that size."""
        x = self.embed(images, positions)
        for block in self.blocks:
            x = block(x)
        return self.pool(x)

    def _projected(self, normed: Float[Tensor, "*rows D"]) -> Float[Tensor, "*rows E"]:
        return normed if self._visual.proj is None else normed @ self._visual.proj


def _value_path(pooler: nn.Module, tokens: Float[Tensor, "B S D"]) -> Float[Tensor, "B S E"]:
    """What an `AttentionalPooler` gives for a query whose attention is all on one token: norm, values, projection."""
    module: Any = pooler
    attn, normed = module.attn, module.ln_k(tokens)
    rows = slice(2 * attn.embed_dim, None)
    weight = attn.v_proj_weight if attn.in_proj_weight is None else attn.in_proj_weight[rows]
    values = F.linear(normed, weight, None if attn.in_proj_bias is None else attn.in_proj_bias[rows])
    return attn.out_proj(values)
