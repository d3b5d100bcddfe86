"""Branches of a kernel: each turns the heads of one block into an output per patch; a kernel sums them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from clipsight.features.blocks import walk
from clipsight.features.context import Context, TokenMap
from clipsight.features.heads import HeadChoice, mix_heads
from clipsight.features.maps import Attention, Nearness
from clipsight.features.rules import broken
from clipsight.towers.view import BlockView

Letter = Literal["q", "k", "v"]


class Heads:
    """Heads of one block for one stream, computed on demand.

    Args:
        block: whose projections.
        normed: its normed tokens, prefix and patches.
        run: the pass.
        patch_keys: leave the prefix out of keys and values.
        rows: "patches", or "all" for outputs of the prefix as well.
        letters: what will be asked for; neighbours among q, k, v are made in one product.
    """

    def __init__(
        self,
        block: BlockView,
        normed: Float[Tensor, "B S D"],
        run: Context,
        *,
        patch_keys: bool,
        rows: str = "patches",
        letters: Iterable[str] = (),
    ) -> None:
        self.block, self.run = block, run
        self.prefix = 0 if patch_keys else run.prefix
        self.normed = normed[:, run.prefix :] if patch_keys else normed
        self.first = 0 if rows == "all" else self.prefix
        self._parts: dict[str, Tensor] = {}
        for piece in _runs("".join(sorted(letters, key="qkv".index))):
            self._parts |= zip(piece, block.qkv(self.normed, piece), strict=True)

    def part(self, letter: str) -> Float[Tensor, "B K S d"]:
        """Queries, keys or values of all tokens that are keys."""
        if letter not in self._parts:
            (self._parts[letter],) = self.block.qkv(self.normed, letter)
        return self._parts[letter]

    def operand(self, what: "str | Operand") -> Float[Tensor, "B K S d"]:
        """The heads of a letter, or those computed by an operand."""
        return self.part(what) if isinstance(what, str) else what.make(self)

    def inverse_temperature(self, scale: float | str | None) -> float | Float[Tensor, "B 1 1 1"]:
        """Factor on scores: the block's own for None, "norms" by the mean length of the normed tokens."""
        if scale == "norms":
            lengths = self.normed.norm(dim=-1).mean(-1)
            return (self.block.scale * lengths)[:, None, None, None]
        return self.block.scale if scale is None else float(scale)

    def placed(self, weights: Float[Tensor, "B _ R C"], over: str) -> Float[Tensor, "B _ rows S"]:
        """A map brought to the rows that get an output and the tokens that are keys.

        A map of patches gets zeros for prefix keys; from a map of tokens whose prefix is no key that is cut out.
        """
        if over == "patches":
            weights = F.pad(weights, (self.prefix, 0, self.prefix, 0)) if self.prefix else weights
        elif not self.prefix:
            weights = weights[..., self.run.prefix :, self.run.prefix :]
        return weights[..., self.first :, :]


def _runs(letters: str) -> list[str]:
    """Contiguous pieces of "qkv" that hold just these letters."""
    return ["q", "v"] if letters == "qv" else [letters] if letters else []


@runtime_checkable
class Operand(Protocol):
    """A tensor derived from queries, keys and values; see `clipsight.features.operands`."""

    def make(self, heads: Heads) -> Float[Tensor, "B K S d"]:
        """Heads of all tokens."""
        ...


@dataclass(frozen=True)
class Term:
    """A further term in the scores of a branch: gain · scale · left rightᵀ."""

    left: Letter | Operand
    right: Letter | Operand
    gain: float = 1.0


@dataclass(frozen=True)
class Bias:
    """A map that is added to the scores of a branch.

    Attributes:
        by: the map; a map of patches adds nothing in the rows and columns of the prefix.
        gain: factor on it.
        per_score: multiply it also by the mean over heads and pairs of scale · ‖q_i‖ ‖k_j‖.
    """

    by: TokenMap
    gain: float = 1.0
    per_score: bool = False

    def make(self, heads: Heads) -> Float[Tensor, "B _ rows S"]:
        """The summand."""
        bias = self.gain * heads.placed(heads.run.map(self.by).to(heads.normed.device), self.by.over)
        if self.per_score:
            q, k = (heads.part(letter).float().norm(dim=-1) for letter in "qk")
            # The mean over pairs of a product is the product of the means, head by head.
            bias = bias * (heads.block.scale * (q.mean(-1) * k.mean(-1)).mean(1))[:, None, None, None]
        return bias


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One attention: softmax(gain · scale · left rightᵀ + further terms + biases) v.

    `Branch(left="q", right="k")` is the block's own attention, `Branch(left="v", right="v")` CLIP Surgery's.

    Attributes:
        left, right: queries, keys, values ("q", "k", "v") or an operand such as `Centred("k")`; both None for biases
            alone.
        weight: factor on the output.
        gain: factor on this product's scores; it does not touch `also` and `bias`.
        scale: None the block's own, a number, or "norms" (see `clipsight.features.operands.SelfAttended`).
        also: further terms of the same scores.
        bias: maps added to the scores.
    """

    left: Letter | Operand | None = None
    right: Letter | Operand | None = None
    weight: float = 1.0
    gain: float = 1.0
    scale: float | Literal["norms"] | None = None
    also: tuple[Term, ...] = ()
    bias: tuple[Bias, ...] = ()

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        sides = [("left", self.left), ("right", self.right)]
        sides += [(f"also {side}", getattr(term, side)) for term in self.also for side in ("left", "right")]
        for side, operand in sides:
            if isinstance(operand, Operand) or (operand is None and side in ("left", "right")):
                continue
            if operand not in get_args(Letter):
                cause = "a branch compares q, k, v or an operand made of them"
                raise broken("branch-operands", f"{side}={operand!r}", cause, 'Branch(left="v", right="v")')
        if (self.left is None) != (self.right is None):
            cause = "scores compare two sides; leave out both for biases alone"
            raise broken("branch-operands", f"left={self.left!r}, right={self.right!r}", cause, 'right="k"')
        if self.left is None and (self.also or not self.bias):
            cause = "without left and right the scores are the biases alone, so there must be one and no term"
            raise broken(
                "branch-scores", f"also={self.also}, bias={self.bias}", cause, "bias=(Bias(Nearness(5)),)"
            )

    def output(self, heads: Heads) -> Float[Tensor, "B K rows d"]:
        """The branch's output, without building its map if it compares anything."""
        v = heads.part("v")
        if self.left is None:
            return _apply(self.weights(heads), v)
        left, right, scale = self._sides(heads)
        bias = self._bias(heads)
        out = F.scaled_dot_product_attention(
            left[:, :, heads.first :].to(v.dtype),
            right.to(v.dtype),
            v,
            attn_mask=None if bias is None else bias.to(v.dtype),
            scale=scale,
        )
        return out if self.weight == 1 else self.weight * out

    def weights(self, heads: Heads) -> Float[Tensor, "B _ rows S"]:
        """The map itself in float32, times the weight."""
        bias = self._bias(heads)
        if self.left is None:
            assert bias is not None  # __post_init__ saw to it
            return self.weight * bias.softmax(-1)
        left, right, scale = self._sides(heads)
        scores = scale * (left[:, :, heads.first :].float() @ right.float().mT)
        return self.weight * (scores if bias is None else scores + bias).softmax(-1)

    def _sides(self, heads: Heads) -> tuple[Tensor, Tensor, float]:
        """Both sides with further terms put beside the first, and the factor on their product."""
        assert self.left is not None
        assert self.right is not None
        left, right = heads.operand(self.left), heads.operand(self.right)
        factor = heads.inverse_temperature(self.scale)
        if self.also:
            others = (term.gain * heads.operand(term.left) for term in self.also)
            left = torch.cat([self.gain * left, *others], dim=-1)
            right = torch.cat([right, *(heads.operand(term.right) for term in self.also)], dim=-1)
        elif not isinstance(factor, Tensor):
            return left, right, self.gain * factor
        else:
            left = self.gain * left
        return (left * factor, right, 1.0) if isinstance(factor, Tensor) else (left, right, factor)

    def _bias(self, heads: Heads) -> Float[Tensor, "B _ rows S"] | None:
        made = [bias.make(heads) for bias in self.bias]
        return sum(made[1:], made[0]) if made else None


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Every token attends only to itself: the output is the values."""

    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_weight(self.weight)

    def output(self, heads: Heads) -> Float[Tensor, "B K rows d"]:
        """The values."""
        own = heads.part("v")[:, :, heads.first :]
        return own if self.weight == 1 else self.weight * own

    def weights(self, heads: Heads) -> Float[Tensor, "1 1 rows S"]:
        """The unit map."""
        count = heads.normed.shape[1]
        return self.weight * torch.eye(count, device=heads.normed.device)[None, None, heads.first :]


@dataclass(frozen=True, kw_only=True)
class Applied:
    """A map made elsewhere, applied to the values unchanged: no softmax, no division."""

    by: TokenMap
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_weight(self.weight)

    def output(self, heads: Heads) -> Float[Tensor, "B K rows d"]:
        """The map times the values."""
        return _apply(self.weights(heads), heads.part("v"))

    def weights(self, heads: Heads) -> Float[Tensor, "B _ rows S"]:
        """The map."""
        placed = heads.placed(heads.run.map(self.by), self.by.over)
        return placed if self.weight == 1 else self.weight * placed


@dataclass(frozen=True, kw_only=True)
class Averaged:
    """Mean over blocks of softmax(scale · left rightᵀ): of earlier ones as recorded, of this one from the stream.

    Attributes:
        earlier: which blocks, and which two sides are compared.
    """

    earlier: Attention
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_weight(self.weight)

    def output(self, heads: Heads) -> Float[Tensor, "B K rows d"]:
        """The map times the values."""
        return _apply(self.weights(heads), heads.part("v"))

    def weights(self, heads: Heads) -> Float[Tensor, "B K rows S"]:
        """The mean, head with head."""
        own = Branch(left=self.earlier.left, right=self.earlier.right).weights(heads)
        count = len(self.earlier.span.indices(heads.run.depth))
        theirs = heads.placed(heads.run.map(self.earlier), self.earlier.over)
        return self.weight * (count * theirs + own) / (count + 1)


def _apply(weights: Float[Tensor, "B _ R S"], v: Float[Tensor, "B K S d"]) -> Float[Tensor, "B K R d"]:
    return weights.to(v.dtype) @ v


def _check_weight(weight: float) -> None:
    if not math.isfinite(weight) or weight == 0:
        raise broken(
            "branch-weights", f"weight={weight!r}", "a weight is finite and not 0", "leave the branch out"
        )


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """Weighted sum of branches. Weights are not normalised: two branches of weight 1 are a sum, not a mean.

    Attributes:
        branches: at least one.
        keys: "all" lets the prefix (class token) be attended to, "patches" leaves it out, "cut" lets it take its part
            of
            the weights and throws that away.
        heads: let a few heads' maps, summed and divided by the number of all heads, mix values of full width; None is
            every head for itself.
    """

    branches: tuple[Branch | Identity | Applied | Averaged, ...]
    keys: Literal["all", "patches", "cut"] = "all"
    heads: HeadChoice | None = None

    def __post_init__(self) -> None:
        if not self.branches:
            cause = "a kernel has at least one branch"
            raise broken("kernel-branches", "branches=()", cause, 'Branch(left="q", right="k")')
        if self.keys not in ("all", "patches", "cut"):
            cause = "keys are 'all', 'patches' or 'cut'"
            raise broken("kernel-keys", f"keys={self.keys!r}", cause, 'keys="all"')

        if self.heads is not None and self.keys == "cut":
            cause = "chosen heads mix values of all keys, so nothing is left to cut"
            raise broken("heads-cut", f"keys='cut' with heads={self.heads}", cause, 'keys="patches"')

    @property
    def letters(self) -> frozenset[str]:
        """Which of q, k, v the branches always read; v is always among them."""
        sides = [
            side
            for piece in walk(self.branches)
            if isinstance(piece, Branch | Term)
            for side in (piece.left, piece.right)
        ]
        made_of = [getattr(side, name, None) for side in sides for name in ("of", "onto")]
        averaged = [one.earlier for one in self.branches if isinstance(one, Averaged)]
        read = ["v", *sides, *made_of, *(side for one in averaged for side in (one.left, one.right))]
        return frozenset(letter for letter in get_args(Letter) if letter in read)

    def output(self, heads: Heads) -> Float[Tensor, "B K rows d"]:
        """Sum of the branches' outputs, head by head, not yet merged."""
        if self.heads is not None:
            weights = self.weights(heads).expand(len(heads.normed), heads.block.heads, -1, -1)
            return mix_heads(weights, heads.part("v"), self.heads.choose(weights), divide=True)
        if self.keys == "cut":
            return _apply(self.weights(heads)[..., heads.prefix :], heads.part("v")[:, :, heads.prefix :])
        first, *others = (branch.output(heads) for branch in self.branches)
        return sum(others, first)

    def weights(self, heads: Heads) -> Float[Tensor, "B K rows S"]:
        """Sum of the branches' maps in float32."""
        first, *others = (branch.weights(heads) for branch in self.branches)
        return sum(others, first)


NEARNESS = Bias(Nearness(5.0))
"""NACLIP's Gaussian, σ 5 patches."""
