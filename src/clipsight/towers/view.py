"""The interface of a tower for the rest of clipsight, with one adapter per family.

An adapter maps names; it never copies a library's forward pass and never changes the module it looks at: no
hooks, no flags, no parameters or position tables written. Axis letters: B images, T texts, N patches, h w grid,
H W pixels, D width, E joint width, K heads, d width of one head, S tokens.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from clipsight.towers.paths import Path
from clipsight.towers.pooling import Pooling

PositionRule = Literal["bicubic_antialias", "bicubic", "bilinear", "dino_bicubic"]
"""How a learned position table is stretched to another grid; see `clipsight.towers.positions`."""

Pools = Literal["class", "mean", "attention"]
"""What the pooled feature is made of: the class token alone, the mean of the patches, or a pooling head's attention."""


@runtime_checkable
class Layer(Protocol):
    """What is needed of a block to decide whether a recipe runs."""

    @property
    def residual(self) -> bool:
        """True for transformer blocks; False for a pooling layer, whose output stands alone."""
        ...


@runtime_checkable
class TowerShape(Protocol):
    """What is needed of an image tower to decide whether a recipe runs; every `VisionView` has it."""

    @property
    def width(self) -> int:
        """Channels of a token."""
        ...

    @property
    def class_token(self) -> bool:
        """True when the first token of the prefix stands for the whole picture (a ResNet's mean token does)."""
        ...

    @property
    def blocks(self) -> Sequence[Layer]:
        """One for each block, first to last; () for a tower that is seen as one piece."""
        ...


@runtime_checkable
class BlockView(Protocol):
    """One transformer block, whole or in parts.

    Whole: `block(x)`. In parts: `y = norm1(x)`, `q, k, v = qkv(y)`, any attention over the heads,
    `x = x + merge(heads)`, `x = x + ffn(x)`; with the attention `softmax(scale q kᵀ) v` the parts equal the whole.
    What a family does to queries and keys (norms of their own, rotary positions, a temperature learnt for each head) is
    inside `qkv`, and what it does to the attended heads (scales, norms) inside `merge`.

    A pooling layer of a ResNet is a block with `residual` False: nothing is added to what it gives, and it has no
    network, so the whole is `merge(heads)` alone.
    """

    @property
    def residual(self) -> bool:
        """True for transformer blocks; False for a pooling layer, whose output stands alone."""
        ...

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

        `parts` is any contiguous piece of `"qkv"`: `"qkv"`, `"qk"`, `"kv"`, `"q"`, `"k"`, `"v"`. The tokens are all of
        the picture's, or its patches alone.
        """
        ...

    def attend_rows(
        self, rows: Float[Tensor, "B R D"], y: Float[Tensor, "B S D"]
    ) -> Float[Tensor, "B K R d"]:
        """The block's own attention of prefix tokens over the tokens of `y`, both normed; heads not yet merged.

        Meant for few rows, where making the keys and values of all S tokens would cost more than the attention.
        """
        ...

    def merge(self, heads: Float[Tensor, "B K S d"]) -> Float[Tensor, "B S D"]:
        """Heads put side by side, output projection with its bias, layer scale; the residual is not added."""
        ...

    def row_weights(
        self,
        rows: Float[Tensor, "B R D"],
        y: Float[Tensor, "B S D"],
        seen: Bool[Tensor, "B R S"] | None = None,
    ) -> Float[Tensor, "B K R S"]:
        """The attention that `attend_rows` uses, at least in float32; `seen` hides positions from rows."""
        ...

    def merge_path(self) -> Path:
        """What `merge` does to the heads side by side (K d), as a path of rows."""
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
    def any_size(self) -> bool:
        """False for a tower that takes its native size only."""
        ...

    @property
    def prefix(self) -> int:
        """Number of tokens before the patches: class token first, registers after it; 0 without any."""
        ...

    @property
    def class_token(self) -> bool:
        """True when the first token of the prefix stands for the whole picture (a ResNet's mean token does)."""
        ...

    @property
    def pools(self) -> Pools:
        """What the pooled feature is made of."""
        ...

    @property
    def blocks(self) -> Sequence[BlockView]:
        """One view per block, first to last, at the native grid; () for a tower that is seen as one piece."""
        ...

    def blocks_at(self, grid: tuple[int, int]) -> Sequence[BlockView]:
        """The blocks for pictures of (h, w) patches: the same but for rotary positions."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Number type the tower computes in."""
        ...

    @property
    def device(self) -> torch.device:
        """The device of the tower."""
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
        """Each token after the last block in the joint space, not L2-normalised.

        A token is read as the pooled feature of a picture all of whose tokens are that one: final norm and projection
        for a class token or a mean; through a pooling head its value path, since attention among equals gives the
        value itself, then the head's own norm and network, as its probe would see the token.
        """
        ...

    def pool(self, tokens: Float[Tensor, "B S D"]) -> Float[Tensor, "B E"]:
        """The pooled feature of tokens after the last block, not L2-normalised.

        Args:
            tokens: prefix and patches; the prefix suffices where `pools` is "class".
        """
        ...

    def pooling(self) -> Pooling:
        """How `pool` comes from the tokens, in pieces that are affine when norms and attention are held.

        Raises:
            Unsupported: it has no such pieces; the message says why.
        """
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
        """The device of the tower."""
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

    def parts(self) -> "TextParts | OnePieceText":
        """The tower in parts or, if that is not possible, from token embeddings on.

        Raises:
            Unsupported: whole texts are all that the tower takes.
        """
        ...


@runtime_checkable
class TextParts(Protocol):
    """A text tower in parts: `readout` of the pooled row of what the blocks make of `entered(tokens(ids))`.

    The stream has Z positions: the S of the ids and, in towers that append one, a class token behind them.
    """

    @property
    def cuttable(self) -> bool:
        """True when ids behind the end token can be cut off without changing the feature."""
        ...

    @property
    def pools(self) -> str:
        """Which position the feature is taken at: "end" token, "class" token behind the text, "first", "last"."""
        ...

    @property
    def causal(self) -> bool:
        """True when a position sees only itself and earlier ones."""
        ...

    @property
    def blocks(self) -> Sequence[BlockView]:
        """One view per block, first to last."""
        ...

    def tokens(self, ids: Int[Tensor, "*any"]) -> Float[Tensor, "*any D"]:
        """Token embeddings without positions."""
        ...

    def mean_token(self) -> Float[Tensor, " D"]:
        """Mean of the table of token embeddings: a token without meaning."""
        ...

    def positions(self, index: Int[Tensor, " P"]) -> Float[Tensor, "P D"]:
        """Position embeddings of the given positions."""
        ...

    def entered(self, tokens: Float[Tensor, "T S D"]) -> Float[Tensor, "T Z D"]:
        """What enters the first block: positions added, a class token appended where the tower has one."""
        ...

    def visible(self, ids: Int[Tensor, "T S"]) -> Bool[Tensor, "t Z Z"] | None:
        """True where a row's position sees a column's; t is T or 1, None where every position sees every other."""
        ...

    def pooled(self, ids: Int[Tensor, "T S"]) -> Int[Tensor, " T"]:
        """0-based position of the stream whose state becomes the feature."""
        ...

    def readout(self, states: Float[Tensor, "*any D"]) -> Float[Tensor, "*any E"]:
        """States after the last block in the joint space: final norm and projection, not L2-normalised."""
        ...

    def end_path(self) -> Path:
        """What `readout` does, as a path of rows."""
        ...

    def ends(self, ids: Int[Tensor, "T S"]) -> Int[Tensor, " T"] | None:
        """0-based position of the end token; None where the tower does not know it."""
        ...

    def begins(self, ids: Int[Tensor, "T S"]) -> Bool[Tensor, " T"]:
        """True for texts whose first position is a start token, as far as the tower knows."""
        ...


@runtime_checkable
class OnePieceText(Protocol):
    """A text tower that runs in one piece, from token embeddings to the feature."""

    @property
    def pools_mean(self) -> bool:
        """True when its feature is a mean over the final states of what is not padding; see `pooled_tokens`."""
        ...

    @property
    def pad_id(self) -> int:
        """Token that fills up short texts; positions that hold it are not seen."""
        ...

    def tokens(self, ids: Int[Tensor, "*any"]) -> Float[Tensor, "*any D"]:
        """Token embeddings without positions."""
        ...

    def mean_token(self) -> Float[Tensor, " D"]:
        """Mean of the table of token embeddings: a token without meaning."""
        ...

    def encode_tokens(
        self,
        tokens: Float[Tensor, "T S D"],
        ids: Int[Tensor, "T S"],
        hidden: Bool[Tensor, "T S"] | None = None,
    ) -> Float[Tensor, "T E"]:
        """Pooled feature of token embeddings; `ids` say what is padding, `hidden` positions are attended by nobody."""
        ...

    def pooled_tokens(
        self, ids: Int[Tensor, "T S"], hidden: Bool[Tensor, "T S"] | None = None
    ) -> tuple[Float[Tensor, "T S D"], Float[Tensor, "T S"], Path]:
        """Final states, the weight of each in the mean that is pooled, and the path from that mean to the feature.

        Raises:
            Unsupported: the tower pools otherwise.
        """
        ...

    def ends(self, ids: Int[Tensor, "T S"]) -> Int[Tensor, " T"] | None:
        """0-based position of the end token; None where the tower does not know it."""
        ...

    def begins(self, ids: Int[Tensor, "T S"]) -> Bool[Tensor, " T"]:
        """True for texts whose first position is a start token, as far as the tower knows."""
        ...
