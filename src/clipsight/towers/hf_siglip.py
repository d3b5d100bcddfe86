"""Views of SigLIP's image towers in transformers: pooled by an attention head, without a class token.

SigLIP's so400m towers of 384 pixels have 27 patches of 14 to a side: their native size is here what these cover, 378
pixels. The library cuts the rest off.
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from clipsight.errors import Unsupported
from clipsight.towers.hf_vision import HfVision
from clipsight.towers.paths import Path
from clipsight.towers.pooling import ProbePooling, ProbeRead, read_by_query
from clipsight.towers.view import Pools, PositionRule


class HfSiglipVision(HfVision):
    """`VisionView` of the image tower of a `SiglipModel`.

    Args:
        module: the whole model; it is looked at, never changed.

    Raises:
        Unsupported: a tower without its pooling head.
    """

    prefix = 0
    class_token = False
    pools: Pools = "attention"

    def __init__(self, module: nn.Module) -> None:
        model: Any = module
        tower = model.vision_model
        if getattr(tower, "head", None) is None:
            raise Unsupported(
                f"this {type(module).__name__} has no pooling head (vision_use_head=False), so neither its pictures "
                "nor their patches have a way into the joint space; load it with the head of its checkpoint."
            )
        super().__init__(tower, round(tower.embeddings.num_patches**0.5))
        self.embed_dim = self.width

    def _entering(
        self, images: Float[Tensor, "B 3 H W"], grid: tuple[int, int], rule: PositionRule | None
    ) -> Float[Tensor, "B S D"]:
        return self._convolved(images) + self._table(grid, rule)

    def readout(self, tokens: Float[Tensor, "B S D"]) -> Float[Tensor, "B S E"]:
        """Final norm, values and projection of the head's attention, then its norm and network."""
        head, attention = self._tower.head, self._tower.head.attention
        rows = slice(2 * attention.embed_dim, None)
        normed = self._tower.post_layernorm(tokens)
        values = F.linear(normed, attention.in_proj_weight[rows], attention.in_proj_bias[rows])
        seen = attention.out_proj(values)
        return seen + head.mlp(head.layernorm(seen))

    def pool(self, tokens: Float[Tensor, "B S D"]) -> Float[Tensor, "B E"]:
        """What the probe of the head gathers."""
        return self._tower.head(self._tower.post_layernorm(tokens))

    def pooling(self) -> ProbePooling:
        """By the probe of the head, whose network stands beside what the probe reads."""
        head = self._tower.head
        merge = Path(head.attention.out_proj)
        return ProbePooling(
            read=self._read, merge=merge, network=lambda p: head.mlp(head.layernorm(p)), after=Path()
        )

    def _read(self, tokens: Float[Tensor, "B S D"], grid: tuple[int, int]) -> ProbeRead:
        return read_by_query(
            self._tower.head.attention, self._tower.head.probe, self._tower.post_layernorm(tokens)
        )


class HfSiglip2Vision(HfSiglipVision):
    """`VisionView` of the image tower of a `Siglip2Model`, which takes flattened patches of pictures of any shape.

    Ordinary pixels are taken here and cut into patches in the order of the library's picture processor: rows, columns,
    colours. All pictures of a batch have one size, so that nothing is padded and no patch masked. Where no rule is
    named, positions at another grid are the library's own, bilinear with antialias, in which the tower was trained.
    """

    def _entering(
        self, images: Float[Tensor, "B 3 H W"], grid: tuple[int, int], rule: PositionRule | None
    ) -> Float[Tensor, "B S D"]:
        flat = rearrange(images, "B C (h p) (w q) -> B (h w) (p q C)", p=self.patch[0], q=self.patch[1])
        return self._embeddings.patch_embedding(flat) + self._table(grid, rule)

    def _table(self, grid: tuple[int, int], rule: PositionRule | None) -> Float[Tensor, "S D"]:
        if rule is not None or grid == self.native_grid:
            return super()._table(grid, rule)
        embeddings = self._embeddings
        table = rearrange(embeddings.position_embedding.weight, "(h w) D -> h w D", h=self.native_grid[0])
        shapes = torch.tensor([grid], device=self.device)
        return embeddings.resize_positional_embeddings(table, shapes, max_length=grid[0] * grid[1])[0]
