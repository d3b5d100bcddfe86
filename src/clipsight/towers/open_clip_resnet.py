"""View of open_clip's `ModifiedResNet`, RN50 to RN50x64: convolutions as embedding, the attention pool as one block.

The mean of the feature map is the token that pools, as a class token does; positions are the pool's own. The pool has
no residual stream, norm or network, so what a recipe says of these does not apply, and its output is the joint space.
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor, nn
from torch.nn import functional as F

from clipsight.errors import Unsupported
from clipsight.towers.block import Block, check_parts
from clipsight.towers.grids import pair, patch_grid
from clipsight.towers.paths import Path
from clipsight.towers.pooling import ProbePooling, ProbeRead
from clipsight.towers.positions import PositionCache
from clipsight.towers.view import Pools, PositionRule

_STRIDE = 32


class PoolBlock(Block):
    """`BlockView` of an `AttentionPool2d`: queries of all tokens over all tokens, then the projection."""

    residual = False

    def __init__(self, pool: nn.Module) -> None:
        self._pool: Any = pool
        self.heads = self._pool.num_heads
        self.head_width = self._pool.v_proj.out_features // self.heads
        self.scale = self.head_width**-0.5

    def __call__(self, x: Float[Tensor, "B S D"], mask: Tensor | None = None) -> Float[Tensor, "B S E"]:
        """The pool with every token as a query; its first row is the library's pooled feature."""
        q, k, v = self.qkv(x)
        return self.merge(F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=self.scale))

    def norm1(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """Nothing: the pool has no norm."""
        return x

    def qkv(self, y: Float[Tensor, "B S D"], parts: str = "qkv") -> tuple[Float[Tensor, "B K S d"], ...]:
        """Queries, keys, values; ValueError if `parts` is no contiguous piece of "qkv"."""
        check_parts(parts)
        made = (getattr(self._pool, f"{letter}_proj")(y) for letter in parts)
        return tuple(rearrange(one, "B S (K d) -> B K S d", K=self.heads) for one in made)

    def merge(self, heads: Float[Tensor, "B K S d"]) -> Float[Tensor, "B S E"]:
        """The projection to the joint space."""
        return self._pool.c_proj(rearrange(heads, "B K S d -> B S (K d)"))

    def merge_path(self) -> Path:
        """The projection."""
        return Path(self._pool.c_proj)

    def ffn(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """Nothing: the pool has no network."""
        return torch.zeros_like(x)


class OpenClipResNet:
    """`VisionView` of a `ModifiedResNet`; a patch is a cell of the last feature map, 32 × 32 pixels.

    Args:
        visual: the `visual` module; it is looked at, never changed.

    Raises:
        Unsupported: another kind of tower, or one whose attention pool was removed.
    """

    prefix = 1
    class_token = True
    any_size = True
    patch = (_STRIDE, _STRIDE)
    pools: Pools = "class"

    def __init__(self, visual: nn.Module) -> None:
        if not isinstance(visual, ModifiedResNet) or visual.attnpool is None:
            raise Unsupported(
                "this ResNet has no attention pool, so its cells have no way into the joint space."
            )
        self._visual: Any = visual
        self.native_size = pair(visual.image_size)
        self.native_grid = (self.native_size[0] // _STRIDE, self.native_size[1] // _STRIDE)
        pool: Any = visual.attnpool
        self.width: int = pool.v_proj.in_features
        self.embed_dim: int = pool.c_proj.out_features
        self.blocks: tuple[Block, ...] = (PoolBlock(pool),)
        self._positions = PositionCache(self.native_grid)

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the first convolution, in which the tower computes."""
        return self._visual.conv1.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the tower lives."""
        return self._visual.conv1.weight.device

    def blocks_at(self, grid: tuple[int, int]) -> tuple[Block, ...]:
        """The one block, the same for every grid."""
        return self.blocks

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) in cells; ValueError where a side is no multiple of 32 pixels."""
        return patch_grid(height, width, self.patch)

    def embed(
        self, images: Float[Tensor, "B 3 H W"], positions: PositionRule = "bicubic_antialias"
    ) -> Float[Tensor, "B S D"]:
        """Mean token and cells of the last feature map, row by row, with the pool's positions."""
        visual, grid = self._visual, self.grid(*images.shape[-2:])
        x = visual.stem(images.to(self.dtype))
        for stage in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
            x = stage(x)
        cells = rearrange(x, "B D h w -> B (h w) D")
        tokens = torch.cat([cells.mean(1, keepdim=True), cells], dim=1)
        table = visual.attnpool.positional_embedding
        return tokens + self._positions.get(table, grid, positions, tokens.dtype)

    def readout(self, tokens: Float[Tensor, "B S E"]) -> Float[Tensor, "B S E"]:
        """Nothing more: the pool's projection ends in the joint space."""
        return tokens

    def pool(self, tokens: Float[Tensor, "B S E"]) -> Float[Tensor, "B E"]:
        """The mean token's row."""
        return tokens[:, 0]

    def pooling(self) -> ProbePooling:
        """The attention pool, its mean token dealt out to the cells, positions and biases aside."""
        return ProbePooling(read=self._read, merge=self.blocks[0].merge_path(), network=None, after=Path())

    def _read(self, tokens: Float[Tensor, "B S D"], grid: tuple[int, int]) -> ProbeRead:
        """The mean token's attention; what it reads of itself is the cells' mean, so every cell has its part of it."""
        pool, block = self._visual.attnpool, self.blocks[0]
        table = self._positions.get(pool.positional_embedding, grid, "bicubic_antialias", tokens.dtype)
        weights = block.row_weights(tokens[:, :1], tokens)[:, :, 0]
        cells = F.linear(tokens - table, pool.v_proj.weight)
        places = F.linear(table, pool.v_proj.weight, pool.v_proj.bias)
        values, aside = (rearrange(one, "... (K d) -> ... K d", K=block.heads) for one in (cells, places))
        dealt = weights + weights[:, :, :1] / (tokens.shape[1] - 1)
        return ProbeRead(
            weights=torch.cat([torch.zeros_like(weights[:, :, :1]), dealt[:, :, 1:]], -1),
            values=rearrange(values, "B S K d -> B K S d"),
            aside=torch.einsum("bks,skd->bkd", weights.to(aside.dtype), aside),
        )

    def encode(
        self, images: Float[Tensor, "B 3 H W"], positions: PositionRule = "bicubic_antialias"
    ) -> Float[Tensor, "B E"]:
        """Pooled feature, equal to `encode_image` at the native size."""
        x = self.embed(images, positions)
        block = self.blocks[0]
        return self.pool(block.merge(block.attend_rows(x[:, :1], x)))
