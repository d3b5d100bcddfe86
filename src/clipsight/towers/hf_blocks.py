"""Blocks of transformers' CLIP, SigLIP and SigLIP 2, image and text: one layout under three names.

Hooks on the attention or the network of a block are called when the block runs whole, not when it is taken in parts.
"""

import inspect
from typing import Any

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from clipsight.errors import Unsupported
from clipsight.towers.block import Block, check_parts
from clipsight.towers.paths import Path

_PARTS = ("layer_norm1", "self_attn", "layer_norm2", "mlp")
_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")


def block_views(encoder: nn.Module) -> tuple[Block, ...]:
    """One view per layer of a `CLIPEncoder`, `SiglipEncoder` or `Siglip2Encoder`.

    Raises:
        Unsupported: a layer was replaced by one of another layout.
    """
    layers: Any = encoder.layers
    for index, layer in enumerate(layers):
        attention = getattr(layer, "self_attn", None)
        if not all(hasattr(layer, part) for part in _PARTS) or not all(
            hasattr(attention, part) for part in _PROJECTIONS
        ):
            raise Unsupported(
                f"this model's patches cannot be read: layer {index} is a {type(layer).__name__}, which is none of "
                "transformers' own CLIP and SigLIP layers."
            )
    return tuple(HfBlock(layer) for layer in layers)


class HfBlock(Block):
    """`BlockView` of a `CLIPEncoderLayer`, `SiglipEncoderLayer` or `Siglip2EncoderLayer`."""

    def __init__(self, layer: nn.Module) -> None:
        self._layer: Any = layer
        self._attn: Any = layer.self_attn
        self.heads: int = self._attn.num_heads
        self.head_width: int = self._attn.head_dim
        self.scale = float(self._attn.scale)
        # CLIP's layers of transformers 4 insist on a second mask.
        second = "causal_attention_mask" in inspect.signature(self._layer.forward).parameters
        self._also = {"causal_attention_mask": None} if second else {}

    def __call__(self, x: Float[Tensor, "B S D"], mask: Tensor | None = None) -> Float[Tensor, "B S D"]:
        """The library's own layer, which gives a tuple in transformers 4 (CLIP) and a tensor in 5."""
        given = None if mask is None else mask[None, None]
        result = self._layer(x, attention_mask=given, **self._also)
        return result[0] if isinstance(result, tuple) else result

    def norm1(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """The layer norm before attention."""
        return self._layer.layer_norm1(x)

    def qkv(self, y: Float[Tensor, "B S D"], parts: str = "qkv") -> tuple[Float[Tensor, "B K S d"], ...]:
        """Queries, keys, values named by `parts`, each from its own projection.

        Raises:
            ValueError: `parts` is not a contiguous piece of "qkv".
        """
        check_parts(parts)
        made = (getattr(self._attn, f"{letter}_proj")(y) for letter in parts)
        return tuple(rearrange(one, "B S (K d) -> B K S d", K=self.heads) for one in made)

    def merge(self, heads: Float[Tensor, "B K S d"]) -> Float[Tensor, "B S D"]:
        """Output projection with its bias."""
        return self._attn.out_proj(rearrange(heads, "B K S d -> B S (K d)"))

    def merge_path(self) -> Path:
        """Output projection."""
        return Path(self._attn.out_proj)

    def ffn(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """Second norm and feed-forward network."""
        return self._layer.mlp(self._layer.layer_norm2(x))
