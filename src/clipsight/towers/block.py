"""What the blocks of all families share: which parts may be asked for, and attention of a few rows."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def check_parts(parts: str) -> None:
    """Refuse letters that are no contiguous piece of "qkv".

    Raises:
        ValueError: as said.
    """
    if not parts or parts not in "qkv":
        raise ValueError(
            f"parts must be a contiguous piece of 'qkv', got {parts!r}; ask for the others separately."
        )


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

    def attend_rows(
        self, rows: Float[Tensor, "B R D"], y: Float[Tensor, "B S D"]
    ) -> Float[Tensor, "B K R d"]:
        """The block's own attention of prefix tokens over all tokens, heads not yet merged."""
        (q,), (k, v) = self.qkv(rows, "q"), self.qkv(y, "kv")
        return F.scaled_dot_product_attention(q, k, v, scale=self.scale)
