"""What the parts of a recipe can request from the pass that runs them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from clipsight.features.blocks import Span
from clipsight.towers.view import BlockView


class BlockStep:
    """One block of the trunk in parts, for what is recorded there."""

    def __init__(self, block: BlockView, entering: Float[Tensor, "B S D"], prefix: int) -> None:
        self.block, self.entering, self.prefix = block, entering, prefix
        self.after = entering
        self._weights: dict[tuple[str, str], Tensor] = {}

    @cached_property
    def parts(self) -> dict[str, Float[Tensor, "B K S d"]]:
        """Queries, keys and values of the block's own input."""
        return dict(zip("qkv", self.block.qkv(self.block.norm1(self.entering)), strict=True))

    def weights(self, left: str, right: str) -> Float[Tensor, "B K S S"]:
        """softmax(scale · left rightᵀ) of all tokens in float32, made once."""
        if (left, right) not in self._weights:
            scores = self.block.scale * (self.parts[left] @ self.parts[right].mT)
            self._weights[left, right] = scores.softmax(-1, dtype=torch.float32)
        return self._weights[left, right]

    def made_weights(self) -> Float[Tensor, "B K S S"] | None:
        """The block's own attention, if it was requested."""
        return self._weights.get(("q", "k"))


@runtime_checkable
class TokenStream(Protocol):
    """Tokens of the residual stream, (B, S, D), that a recipe refers to."""

    def tokens(self, run: "Context") -> Float[Tensor, "B S D"]:
        """Prefix and patches."""
        ...


@runtime_checkable
class TokenMap(Protocol):
    """Weights between tokens that a recipe refers to.

    Attributes:
        over: "patches" for (B, 1, N, N), "tokens" for (B, K or 1, S, S).
    """

    @property
    def over(self) -> str:
        """What the rows and columns are."""
        ...

    def build(self, run: "Context") -> Float[Tensor, "B _ R C"]:
        """The map in float32."""
        ...


@runtime_checkable
class Detector(Protocol):
    """Finds patches with unreliable tokens."""

    def flags(self, run: "Context") -> Bool[Tensor, "B N"]:
        """True where a patch is flagged."""
        ...


@dataclass(frozen=True)
class Record(ABC):
    """Something summed over blocks while the trunk runs.

    Attributes:
        span: the blocks.
    """

    reads_after: ClassVar[bool] = False
    """True if it reads only what left the block, so that the block may run whole."""
    span: Span

    @abstractmethod
    def read(self, step: BlockStep) -> Tensor:
        """What one block adds."""


@runtime_checkable
class Context(Protocol):
    """A running pass of the tower: what was kept of the trunk, and what was computed from it."""

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) in patches."""
        ...

    @property
    def prefix(self) -> int:
        """Tokens before the patches."""
        ...

    @property
    def depth(self) -> int:
        """Blocks of the tower."""
        ...

    @property
    def entered(self) -> Float[Tensor, "B S D"]:
        """What entered the last block, or the first that an accumulating kernel works in."""
        ...

    @property
    def scratch(self) -> dict[Any, Any]:
        """Storage for a map that is built up from one level to the next."""
        ...

    @property
    def level(self) -> int:
        """Number of the block whose read-out is being made; the last one but for `EveryBlock`."""
        ...

    def recorded(self, record: Record) -> Tensor:
        """What a record summed."""
        ...

    def tokens(self, source: TokenStream) -> Float[Tensor, "B S D"]:
        """Tokens of a source, made once."""
        ...

    def map(self, kind: TokenMap) -> Float[Tensor, "B _ R C"]:
        """A map, made once."""
        ...

    def flags(self, detector: Detector) -> Bool[Tensor, "B N"]:
        """Flagged patches, found once."""
        ...

    def given(self, name: str) -> Tensor:
        """A map that the caller supplied."""
        ...
