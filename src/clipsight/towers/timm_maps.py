"""View of timm trunks that are not plain transformers (ConvNeXt, FastViT of MobileCLIP, Swin, relative positions).

Such a trunk is seen as one piece: it makes a map of features, and each cell is read through the trunk's head as if the
whole map were that cell. There are no blocks, so only the method "clip" runs.
"""

from typing import Any

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer_relpos import VisionTransformerRelPos
from torch import Tensor, nn

from clipsight.errors import Unsupported
from clipsight.towers.block import Block
from clipsight.towers.grids import only_native, pair, patch_grid
from clipsight.towers.paths import Path
from clipsight.towers.pooling import MeanPooling
from clipsight.towers.view import Pools, PositionRule


class TimmMap:
    """`VisionView` of open_clip's `TimmModel` around a trunk that ends in a map of features and a pool.

    Args:
        visual: the `visual` module; it is looked at, never changed.

    Raises:
        Unsupported: the pool is not in the trunk.
    """

    blocks: tuple[Block, ...] = ()

    def __init__(self, visual: nn.Module) -> None:
        model: Any = visual
        trunk: Any = model.trunk
        if "pool" in dict(model.head.named_children()):
            kind = type(trunk).__name__
            raise Unsupported(
                f"this {kind} pools by a layer behind the trunk, which has no place for single cells."
            )
        self._trunk, self._head = trunk, model.head
        kind = type(trunk)
        self._is_sequence = issubclass(kind, VisionTransformerRelPos)
        self.any_size = not issubclass(kind, VisionTransformerRelPos | SwinTransformer)
        self.native_size = pair(model.image_size)
        self.prefix: int = trunk.num_prefix_tokens if self._is_sequence else 0
        self.class_token = self.prefix > 0 and trunk.cls_token is not None
        self.pools: Pools = "class" if self._is_sequence and trunk.global_pool == "token" else "mean"
        reduction: int = trunk.feature_info[-1]["reduction"]
        self.patch = (reduction, reduction)
        self.native_grid = (self.native_size[0] // reduction, self.native_size[1] // reduction)
        self.width: int = trunk.num_features
        with torch.no_grad():
            probe = torch.zeros(1, 1, self.width, dtype=self.dtype, device=self.device)
            self.embed_dim: int = self.readout(probe).shape[-1]

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the trunk."""
        return next(self._trunk.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the tower lives."""
        return next(self._trunk.parameters()).device

    def blocks_at(self, grid: tuple[int, int]) -> tuple[Block, ...]:
        """None: the trunk is one piece."""
        return self.blocks

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) in cells; ValueError where a cell would be cut, or for another size than a trunk of one size has."""
        if not self.any_size:
            only_native(height, width, self.native_size, type(self._trunk).__name__)
        return patch_grid(height, width, self.patch)

    def embed(
        self, images: Float[Tensor, "B 3 H W"], positions: PositionRule = "bicubic_antialias"
    ) -> Float[Tensor, "B S D"]:
        """What the whole trunk gives, row by row; `positions` says nothing here."""
        h, w = self.grid(*images.shape[-2:])
        features = self._trunk.forward_features(images.to(self.dtype))
        if self._is_sequence:
            return features
        layout = "B h w D" if getattr(self._trunk, "output_fmt", "NCHW") == "NHWC" else "B D h w"
        return rearrange(features, f"{layout} -> B (h w) D", h=h, w=w)

    def readout(self, tokens: Float[Tensor, "B S D"]) -> Float[Tensor, "B S E"]:
        """Each token through the trunk's pool and heads as if the whole picture were that token."""
        alone = repeat(tokens, "B S D -> (B S) n D", n=1 + self.prefix)
        return rearrange(self.pool(alone), "(B S) E -> B S E", B=len(tokens))

    def pool(self, tokens: Float[Tensor, "B S D"]) -> Float[Tensor, "B E"]:
        """The trunk's own pool and both heads; a mean does not see how the cells lie."""
        if self._is_sequence:
            return self._head(self._trunk.forward_head(tokens))
        nhwc = getattr(self._trunk, "output_fmt", "NCHW") == "NHWC"
        column = rearrange(tokens, "B S D -> B S 1 D" if nhwc else "B S D -> B D S 1")
        return self._head(self._trunk.forward_head(column))

    def pooling(self) -> MeanPooling:
        """By the mean of the cells; the trunk's head and open_clip's follow.

        Raises:
            Unsupported: the trunk pools otherwise.
        """
        trunk = self._trunk
        if self.pools != "mean":
            raise Unsupported(
                f"this {type(trunk).__name__} pools by its class token, and it is seen as one piece: what that token "
                "read from which patch is not known."
            )
        if self._is_sequence:
            return MeanPooling(before=Path(), after=Path(trunk.fc_norm, trunk.head, self._head))
        layers = [layer for name, layer in trunk.head.named_children() if name != "global_pool"]
        return MeanPooling(before=Path(), after=Path(*layers, self._head))

    def encode(
        self, images: Float[Tensor, "B 3 H W"], positions: PositionRule = "bicubic_antialias"
    ) -> Float[Tensor, "B E"]:
        """Pooled feature, equal to `encode_image`."""
        self.grid(*images.shape[-2:])
        return self._head(self._trunk(images.to(self.dtype)))
