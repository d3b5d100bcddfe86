"""What transformers' image towers have in common, and the view of CLIP's; SigLIP's are in `clipsight.towers.hf_siglip`.

Positions at another grid: a recipe names its authors' rule, and where none is named the library's own holds, so that
`encode` equals `get_image_features(…, interpolate_pos_encoding=True)`. For CLIP and SigLIP that is bicubic without
antialias.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from clipsight.towers.block import Block
from clipsight.towers.grids import pair, patch_grid
from clipsight.towers.hf_blocks import block_views
from clipsight.towers.paths import Path
from clipsight.towers.pooling import Pooling, RowPooling
from clipsight.towers.positions import PositionCache
from clipsight.towers.view import Pools, PositionRule


class HfVision(ABC):
    """What the three towers share; see `VisionView` for what each part is."""

    any_size = True
    prefix: int
    class_token: bool
    pools: Pools
    embed_dim: int

    def __init__(self, tower: Any, side: int) -> None:
        self._tower = tower
        self._embeddings: Any = tower.embeddings
        self.patch = pair(self._embeddings.patch_size)
        self.native_grid = (side, side)
        self.native_size = (side * self.patch[0], side * self.patch[1])
        self.width: int = self._embeddings.embed_dim
        self.blocks: tuple[Block, ...] = block_views(tower.encoder)
        self._positions = PositionCache(self.native_grid)

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the patch embedding, in which the tower computes."""
        return self._embeddings.patch_embedding.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the tower lives."""
        return self._embeddings.patch_embedding.weight.device

    def blocks_at(self, grid: tuple[int, int]) -> tuple[Block, ...]:
        """The blocks, the same for every grid."""
        return self.blocks

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) in patches; ValueError where a patch would be cut."""
        return patch_grid(height, width, self.patch)

    def embed(
        self, images: Float[Tensor, "B 3 H W"], positions: PositionRule | None = None
    ) -> Float[Tensor, "B S D"]:
        """Tokens that enter the first block: any prefix, then patches row by row, with positions.

        Args:
            images: normalised pixels, both sides multiples of the patch.
            positions: rule for other grids than the native one; None is the library's own.
        """
        grid = self.grid(*images.shape[-2:])
        return self._entering(images.to(self.dtype), grid, positions)

    @abstractmethod
    def _entering(
        self, images: Float[Tensor, "B 3 H W"], grid: tuple[int, int], rule: PositionRule | None
    ) -> Float[Tensor, "B S D"]:
        """As `embed`, of pixels in the tower's number type."""

    @abstractmethod
    def readout(self, tokens: Float[Tensor, "B S D"]) -> Float[Tensor, "B S E"]:
        """Each token in the joint space."""

    @abstractmethod
    def pool(self, tokens: Float[Tensor, "B S D"]) -> Float[Tensor, "B E"]:
        """The pooled feature."""

    @abstractmethod
    def pooling(self) -> Pooling:
        """How the pooled feature comes from the tokens."""

    def encode(
        self, images: Float[Tensor, "B 3 H W"], positions: PositionRule | None = None
    ) -> Float[Tensor, "B E"]:
        """Pooled feature, equal to `get_image_features` at every size unless a rule is named."""
        x = self.embed(images, positions)
        for block in self.blocks:
            x = block(x)
        return self.pool(x)

    def _convolved(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B N D"]:
        return rearrange(self._embeddings.patch_embedding(images), "B D h w -> B (h w) D")

    def _table(self, grid: tuple[int, int], rule: PositionRule | None) -> Float[Tensor, "S D"]:
        weight = self._embeddings.position_embedding.weight
        return self._positions.get(weight, grid, rule or "bicubic", self.dtype)


class HfClipVision(HfVision):
    """`VisionView` of the image tower of a `CLIPModel`.

    Args:
        module: the whole model; it is looked at, never changed.
    """

    prefix = 1
    class_token = True
    pools: Pools = "class"

    def __init__(self, module: nn.Module) -> None:
        model: Any = module
        embeddings = model.vision_model.embeddings
        super().__init__(model.vision_model, embeddings.image_size // embeddings.patch_size)
        self._projection = model.visual_projection
        self.embed_dim = model.visual_projection.out_features

    def _entering(
        self, images: Float[Tensor, "B 3 H W"], grid: tuple[int, int], rule: PositionRule | None
    ) -> Float[Tensor, "B S D"]:
        patches = self._convolved(images)
        cls = self._embeddings.class_embedding.expand(len(patches), 1, -1)
        return self._tower.pre_layrnorm(torch.cat([cls, patches], dim=1) + self._table(grid, rule))

    def readout(self, tokens: Float[Tensor, "B S D"]) -> Float[Tensor, "B S E"]:
        """Final norm and projection."""
        return self._projection(self._tower.post_layernorm(tokens))

    def pool(self, tokens: Float[Tensor, "B S D"]) -> Float[Tensor, "B E"]:
        """The class token's read-out."""
        return self.readout(tokens[:, :1])[:, 0]

    def pooling(self) -> Pooling:
        """By the class token."""
        return RowPooling(after=Path(self._tower.post_layernorm, self._projection))
