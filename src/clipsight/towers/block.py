"""What the blocks of all families share: which parts can be requested, and attention of a few rows."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from clipsight.towers.paths import Path


def check_parts(parts: str) -> None:
    """Refuse letters that are not a contiguous piece of "qkv".

    Raises:
        ValueError: as said.
    """
    if not parts or parts not in "qkv":
        raise ValueError(
            f"parts must be a contiguous piece of 'qkv', got {parts!r}; ask for the others separately."
        )


def softmax_seen(
    scores: Float[Tensor, "B K R S"], seen: Bool[Tensor, "B R S"] | None
) -> Float[Tensor, "B K R S"]:
    """Softmax of scores over the visible positions, at least in float32."""
    exact = scores.float() if scores.dtype.itemsize < 4 else scores
    return (exact if seen is None else exact.masked_fill(~seen[:, None], -torch.inf)).softmax(-1)


class Block(ABC):
    """Base of the adapters of blocks; see `BlockView` for what each part is."""

    residual = True
    heads: int
    head_width: int
    scale: float

    @abstractmethod
    def __call__(self, x: Float[Tensor, "B S D"], mask: Tensor | None = None) -> Float[Tensor, "B S _"]:
        """The library's own block."""

    @abstractmethod
    def norm1(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """The norm before attention."""

    @abstractmethod
    def qkv(self, y: Float[Tensor, "B S D"], parts: str = "qkv") -> tuple[Float[Tensor, "B K S d"], ...]:
        """Queries, keys, values; ValueError if `parts` is no contiguous piece of "qkv"."""

    @abstractmethod
    def merge(self, heads: Float[Tensor, "B K S d"]) -> Float[Tensor, "B S _"]:
        """From attended heads to what is added to the stream."""

    @abstractmethod
    def ffn(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """From the stream to what the network adds to it."""

    @abstractmethod
    def merge_path(self) -> Path:
        """What `merge` does to heads side by side, as a path of rows."""

    def row_weights(
        self,
        rows: Float[Tensor, "B R D"],
        y: Float[Tensor, "B S D"],
        seen: Bool[Tensor, "B R S"] | None = None,
    ) -> Float[Tensor, "B K R S"]:
        """The attention of a few rows, softmax in float32."""
        (q,), (k,) = self._row_queries(rows), self.qkv(y, "k")
        return softmax_seen((q * self.scale) @ k.mT, seen)

    def _row_queries(self, rows: Float[Tensor, "B R D"]) -> tuple[Float[Tensor, "B K R d"], ...]:
        return self.qkv(rows, "q")

    def attend_rows(
        self, rows: Float[Tensor, "B R D"], y: Float[Tensor, "B S D"]
    ) -> Float[Tensor, "B K R d"]:
        """The block's own attention of prefix tokens over all tokens, heads not yet merged."""
        (q,), (k, v) = self.qkv(rows, "q"), self.qkv(y, "kv")
        return F.scaled_dot_product_attention(q, k, v, scale=self.scale)
