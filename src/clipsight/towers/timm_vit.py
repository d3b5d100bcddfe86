"""View of timm's `VisionTransformer` and `Eva` inside open_clip: SigLIP, EVA-02, PE-Core, ViTamin, MobileCLIP-B.

Any prefix (class token, registers, none), learned and rotary positions, convolutional stems, and the pools by class
token, mean or attention with a latent query (SigLIP's "MAP" head). Pictures of any size are taken: learned positions
are stretched from the original table, rotary ones made for the grid.
"""

import copy
import threading
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from timm.layers.attention_pool import AttentionPoolLatent
from timm.layers.hybrid_embed import HybridEmbed
from timm.layers.patch_embed import PatchEmbed
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from clipsight.errors import Unsupported
from clipsight.towers.block import Block
from clipsight.towers.grids import pair, patch_grid
from clipsight.towers.paths import Path
from clipsight.towers.pooling import MeanPooling, Pooling, ProbePooling, ProbeRead, RowPooling, weights_of
from clipsight.towers.positions import PositionCache
from clipsight.towers.timm_blocks import TimmBlock, unsupported_block
from clipsight.towers.view import Pools, PositionRule

_POOLS: dict[str, Pools] = {"token": "class", "avg": "mean", "map": "attention"}
_GRIDS_KEPT = 16


def unsupported_trunk(trunk: Any) -> str | None:
    """Why a trunk cannot be seen block by block, as the end of a sentence; None when it can."""
    if type(trunk) not in (VisionTransformer, Eva):
        return f"a {type(trunk).__name__} is no plain vision transformer"
    if type(trunk.patch_embed) not in (PatchEmbed, HybridEmbed):
        return f"its patches come from a {type(trunk.patch_embed).__name__}"
    if trunk.global_pool not in _POOLS:
        return f"it pools by {trunk.global_pool!r}"
    if trunk.attn_pool is not None and (
        type(trunk.attn_pool) is not AttentionPoolLatent or trunk.attn_pool.pos_embed is not None
    ):
        return f"it pools by a {type(trunk.attn_pool).__name__} with positions of its own"
    if getattr(trunk, "rope_mixed", False):
        return "its rotary positions are learnt for each block"
    return next(filter(None, map(unsupported_block, trunk.blocks)), None)


class TimmVision:
    """`VisionView` of open_clip's `TimmModel` around a vision transformer.

    Args:
        visual: the `visual` module of an open_clip model; it is looked at, never changed.

    Raises:
        Unsupported: another kind of trunk; the message says which.
    """

    any_size = True

    def __init__(self, visual: nn.Module) -> None:
        model: Any = visual
        trunk: Any = model.trunk
        if (reason := unsupported_trunk(trunk)) is not None:
            raise Unsupported(f"this timm tower cannot be seen block by block: {reason}.")
        self._trunk, self._head = trunk, model.head
        self._built_for = pair(trunk.patch_embed.img_size)
        self.native_grid = (rows, columns) = pair(trunk.patch_embed.grid_size)
        self.patch = (self._built_for[0] // rows, self._built_for[1] // columns)
        self.native_size = (rows * self.patch[0], columns * self.patch[1])
        self.prefix: int = trunk.num_prefix_tokens
        self.class_token = trunk.cls_token is not None
        self.pools: Pools = _POOLS[trunk.global_pool]
        self.width: int = trunk.embed_dim
        self._positions = PositionCache(self.native_grid)
        self._rope: Any = getattr(trunk, "rope", None)
        self._turned: dict[tuple[int, int], tuple[Tensor, tuple[Block, ...]]] = {}
        self._lock = threading.Lock()
        self.blocks: tuple[Block, ...] = tuple(TimmBlock(block) for block in trunk.blocks)
        if self._rope is not None:
            self.blocks = self.blocks_at(self.native_grid)
        with torch.no_grad():
            probe = torch.zeros(1, 1, self.width, dtype=self.dtype, device=self.device)
            self.embed_dim: int = self.readout(probe).shape[-1]

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the stem, in which the tower computes."""
        return next(self._trunk.patch_embed.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the tower lives."""
        return next(self._trunk.patch_embed.parameters()).device

    def blocks_at(self, grid: tuple[int, int]) -> tuple[Block, ...]:
        """The blocks, with rotary positions of this grid where the tower has them."""
        if self._rope is None:
            return self.blocks
        kept = self._turned.get(grid)
        if kept is None or kept[0].device != self.device:
            rope = _rotary(self._rope, grid).to(self.device)
            kept = rope, tuple(TimmBlock(block, rope) for block in self._trunk.blocks)
            with self._lock:
                self._turned[grid] = kept
                while len(self._turned) > _GRIDS_KEPT:
                    self._turned.pop(next(iter(self._turned)))
        return kept[1]

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) in patches; ValueError where a patch would be cut."""
        return patch_grid(height, width, self.patch, self._built_for)

    def embed(
        self, images: Float[Tensor, "B 3 H W"], positions: PositionRule = "bicubic_antialias"
    ) -> Float[Tensor, "B S D"]:
        """Prefix and patches, row by row, with learned positions, after the norm that precedes the blocks."""
        trunk, stem = self._trunk, self._trunk.patch_embed
        grid = self.grid(*images.shape[-2:])
        x = images.to(self.dtype)
        if isinstance(stem, HybridEmbed):
            x = stem.proj(stem.backbone(x))
            patches = rearrange(x, "B D h w -> B (h w) D")
        else:
            patches = stem.norm(rearrange(stem.proj(x), "B D h w -> B (h w) D"))
        before = [trunk.cls_token, getattr(trunk, "reg_token", None)]
        prefix = [token.expand(len(patches), -1, -1) for token in before if token is not None]
        if trunk.pos_embed is None:
            return trunk.norm_pre(torch.cat([*prefix, patches], dim=1))
        table = self._positions.get(trunk.pos_embed[0], grid, positions, patches.dtype)
        if len(table) == patches.shape[1]:  # the prefix has no position
            return trunk.norm_pre(torch.cat([*prefix, patches + table], dim=1))
        return trunk.norm_pre(torch.cat([*prefix, patches], dim=1) + table)

    def readout(self, tokens: Float[Tensor, "B S D"]) -> Float[Tensor, "B S E"]:
        """Final norm, then what the pool would make of this token alone, then the head."""
        trunk, normed = self._trunk, self._trunk.norm(tokens)
        if trunk.attn_pool is not None:
            normed = _value_path(trunk.attn_pool, normed)
        return self._head(trunk.head(trunk.fc_norm(normed)))

    def pool(self, tokens: Float[Tensor, "B S D"]) -> Float[Tensor, "B E"]:
        """The trunk's own pool and both heads."""
        return self._head(self._trunk.forward_head(self._trunk.norm(tokens)))

    def pooling(self) -> Pooling:
        """By the class token, the mean of the patches, or a latent query."""
        trunk, pool = self._trunk, self._trunk.attn_pool
        ends = trunk.fc_norm, trunk.head, self._head
        if self.pools == "class":
            return RowPooling(after=Path(trunk.norm, *ends))
        if self.pools == "mean":
            return MeanPooling(before=Path(trunk.norm), after=Path(*ends))
        if pool.latent_len != 1:
            raise Unsupported("this image tower pools by several latent queries; the exact map reads one.")
        network = None if pool.mlp is None else lambda p: pool.mlp(pool.norm(p))
        return ProbePooling(read=self._read, merge=Path(pool.proj), network=network, after=Path(*ends))

    def _read(self, tokens: Float[Tensor, "B S D"], grid: tuple[int, int]) -> ProbeRead:
        """The latent query's attention; tokens that the pool leaves out have no weight."""
        pool, y = self._trunk.attn_pool, self._trunk.norm(tokens)
        left_out = 0 if getattr(self._trunk, "pool_include_prefix", True) else self.prefix
        made = (pool.q(pool.latent), *pool.kv(y[:, left_out:]).chunk(2, -1))
        q, k, v = (rearrange(one, "B S (K d) -> B K S d", K=pool.num_heads) for one in made)
        weights = weights_of(pool.q_norm(q), pool.k_norm(k), pool.scale)
        return ProbeRead(weights=F.pad(weights, (left_out, 0)), values=F.pad(v, (0, 0, left_out, 0)))

    def encode(
        self, images: Float[Tensor, "B 3 H W"], positions: PositionRule = "bicubic_antialias"
    ) -> Float[Tensor, "B E"]:
        """Pooled feature, equal to `encode_image` at the native size and, elsewhere, to a model built at that size."""
        x = self.embed(images, positions)
        for block in self.blocks_at(self.grid(*images.shape[-2:])):
            x = block(x)
        return self.pool(x)


def _value_path(pool: Any, tokens: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
    """What a latent query gives when all its attention is on one token: values, projection, norm and network."""
    width = pool.kv.out_features // 2
    bias = None if pool.kv.bias is None else pool.kv.bias[width:]
    out = pool.proj(F.linear(tokens, pool.kv.weight[width:], bias))
    return out if pool.mlp is None else out + pool.mlp(pool.norm(out))


def _rotary(rope: Any, grid: tuple[int, int]) -> Float[Tensor, "N _"]:
    """Rotary positions of a grid from a copy of timm's module, whose own may be fixed to its native grid."""
    with torch.inference_mode(False), torch.no_grad():
        made = copy.deepcopy(rope).eval()
        if getattr(made, "feat_shape", None) is not None and tuple(made.feat_shape) != grid:
            made.update_feat_shape(list(grid))
        return made.get_embed(shape=list(grid))
