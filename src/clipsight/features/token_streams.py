"""Token streams: the output of a block, sums of outputs, and copies with outlier patches repaired."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from clipsight.features.blocks import Span
from clipsight.features.context import BlockStep, Context, Record, TokenStream
from clipsight.features.heads import HeadChoice, mix_heads
from clipsight.features.repair import Repair


@dataclass(frozen=True)
class Total(Record):
    """Sum of what left the blocks of the span, all tokens."""

    reads_after: ClassVar[bool] = True

    def read(self, step: BlockStep) -> Float[Tensor, "B S D"]:
        """What left the block."""
        return step.after

    def tokens(self, run: Context) -> Float[Tensor, "B S D"]:
        """The sum."""
        return run.recorded(self)


def after(block: int) -> Total:
    """What left this block: 1 is the first, -1 the last, -2 the one before it."""
    return Total(Span(block, block))


@dataclass(frozen=True)
class Entered:
    """What entered the last block, all tokens."""

    def tokens(self, run: Context) -> Float[Tensor, "B S D"]:
        """The tokens."""
        return run.entered


@dataclass(frozen=True)
class MeanStream(Total):
    """Mean of what left the blocks of the span, all tokens."""

    def tokens(self, run: Context) -> Float[Tensor, "B S D"]:
        """The mean."""
        return run.recorded(self) / len(self.span.indices(run.depth))


@dataclass(frozen=True)
class SideOutput(Record):
    """A block's attention of keys with keys in chosen heads, over values of full width; summed over the span.

    With P_h = softmax(scale Q_h K_hᵀ) the heads are chosen by the entropy of P_h; what they give is
    out_proj(sum over the chosen of softmax(scale K_h K_hᵀ) V), V all D channels of the values.
    """

    heads: HeadChoice

    def read(self, step: BlockStep) -> Float[Tensor, "B S D"]:
        """The block's side output."""
        chosen = self.heads.choose(step.weights("q", "k"))
        return step.block.merge(mix_heads(step.weights("k", "k"), step.parts["v"], chosen, divide=False))


@dataclass(frozen=True)
class Plus:
    """Tokens of a source with those of a record added."""

    source: TokenStream
    record: SideOutput

    def tokens(self, run: Context) -> Float[Tensor, "B S D"]:
        """The sum."""
        return run.tokens(self.source) + run.recorded(self.record)


@dataclass(frozen=True)
class Repaired:
    """Tokens of a source in which flagged patches are replaced by their clean neighbours; the prefix stays."""

    source: TokenStream
    repair: Repair

    def tokens(self, run: Context) -> Float[Tensor, "B S D"]:
        """The repaired copy."""
        tokens = run.tokens(self.source)
        flagged: Bool[Tensor, "B N"] = run.flags(self.repair.detector)
        patches = self.repair.apply(tokens[:, run.prefix :], flagged, run.grid)
        return torch.cat([tokens[:, : run.prefix], patches], dim=1)
