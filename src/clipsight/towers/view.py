"""What the rest of clipsight may ask of a tower: one narrow view, one adapter per family.

An adapter maps names; it never copies a library's forward pass and never changes the module it looks at: no
hooks, no flags, no parameters or position tables written. Axis letters: B images, T texts, N patches, h w grid,
H W pixels, D width, E joint width, K heads, d width of one head, S tokens.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

PositionRule = Literal["bicubic_antialias", "bicubic", "bilinear", "dino_bicubic"]
"""How a learned position table is stretched to another grid; see `clipsight.towers.positions`."""


@runtime_checkable
class BlockView(Protocol):
    """One pre-norm transformer block, whole or in parts.

    Whole: `block(x)`. In parts: `y = norm1(x)`, `q, k, v = qkv(y)`, any attention over the heads,
    `x = x + merge(heads)`, `x = x + ffn(x)`; with the attention `softmax(scale q kᵀ) v` the parts equal the whole.
    """

    @property
    def heads(self) -> int:
        """Number of attention heads."""
        ...

    @property
    def head_width(self) -> int:
        """Channels of one head."""
        ...

    @property
    def scale(self) -> float:
        """Factor on the scores of one head, `head_width ** -0.5` for every CLIP."""
        ...

    def __call__(self, x: Float[Tensor, "B S D"], mask: Tensor | None = None) -> Float[Tensor, "B S D"]:
        """The library's own block, unchanged; `mask` is the (S, S) mask its attention takes (text towers)."""
        ...

    def norm1(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """The layer norm before attention."""
        ...

    def qkv(self, y: Float[Tensor, "B S D"], parts: str = "qkv") -> tuple[Float[Tensor, "B K S d"], ...]:
        """Queries, keys and values of normed tokens, in the order of the letters of `parts`.

        `parts` is any contiguous piece of `"qkv"`: `"qkv"`, `"qk"`, `"kv"`, `"q"`, `"k"`, `"v"`. One matrix product.
        """
        ...

    def attend_rows(
        self, rows: Float[Tensor, "B R D"], y: Float[Tensor, "B S D"]
    ) -> Float[Tensor, "B K R d"]:
        """The block's own attention of a few rows over the tokens of `y`, both normed; heads not yet merged.

        Meant for few rows, where making the keys and values of all S tokens would cost more than the attention.
        """
        ...

    def merge(self, heads: Float[Tensor, "B K S d"]) -> Float[Tensor, "B S D"]:
        """Heads put side by side, output projection with its bias, layer scale; the residual is not added."""
        ...

    def ffn(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """Second norm, feed-forward network, layer scale; the residual is not added."""
        ...


@runtime_checkable
class VisionView(Protocol):
    """An image tower: pixels to tokens, blocks, tokens to the joint space."""

    @property
    def width(self) -> int:
        """Channels of a token."""
        ...

    @property
    def embed_dim(self) -> int:
        """Channels of the joint space."""
        ...

    @property
    def patch(self) -> tuple[int, int]:
        """(height, width) of a patch in pixels."""
        ...

    @property
    def native_size(self) -> tuple[int, int]:
        """(H, W) in pixels of the pictures the tower was built for."""
        ...

    @property
    def native_grid(self) -> tuple[int, int]:
        """(h, w) in patches at the native size."""
        ...

    @property
    def prefix(self) -> int:
        """Number of tokens before the patches; the first is the class token, which pools."""
        ...

    @property
    def blocks(self) -> Sequence[BlockView]:
        """One view per block, first to last."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Number type the tower computes in."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the tower lives."""
        ...

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) in patches of a picture of `height` × `width` pixels.

        Raises:
            ValueError: a side is not a positive multiple of the patch.
        """
        ...

    def embed(
        self, images: Float[Tensor, "B 3 H W"], positions: PositionRule = "bicubic_antialias"
    ) -> Float[Tensor, "B S D"]:
        """Tokens that enter the first block: prefix, then patches row by row, positions added.

        Args:
            images: normalised pixels (the tower's own mean and deviation), both sides multiples of the patch.
            positions: rule for other grids than the native one; at the native grid every rule gives the table itself.
        """
        ...

    def readout(self, tokens: Float[Tensor, "B S D"]) -> Float[Tensor, "B S E"]:
        """Final norm and projection of any tokens after the last block; not L2-normalised."""
        ...

    def encode(
        self, images: Float[Tensor, "B 3 H W"], positions: PositionRule = "bicubic_antialias"
    ) -> Float[Tensor, "B E"]:
        """Pooled feature, not L2-normalised; equals the library's own `encode_image`."""
        ...


@runtime_checkable
class TextView(Protocol):
    """A text tower: token ids to features in the joint space."""

    @property
    def width(self) -> int:
        """Channels of a token."""
        ...

    @property
    def embed_dim(self) -> int:
        """Channels of the joint space."""
        ...

    @property
    def context(self) -> int:
        """Most token positions the tower has."""
        ...

    @property
    def causal(self) -> bool:
        """True when a position sees only itself and earlier ones."""
        ...

    @property
    def cuttable(self) -> bool:
        """True when ids behind the end token can be cut off without changing the feature."""
        ...

    @property
    def blocks(self) -> Sequence[BlockView]:
        """One view per block, first to last."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Number type the tower computes in."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the tower lives."""
        ...

    def embed(self, ids: Int[Tensor, "T S"]) -> Float[Tensor, "T S D"]:
        """Token and position embeddings that enter the first block; S may be shorter than `context` if `cuttable`."""
        ...

    def encode(self, ids: Int[Tensor, "T S"]) -> Float[Tensor, "T E"]:
        """Pooled feature, not L2-normalised; equals the library's own `encode_text`."""
        ...

    def token_features(self, ids: Int[Tensor, "T S"]) -> Float[Tensor, "T S E"]:
        """Every position after the final norm and the projection, not L2-normalised."""
        ...
