"""The output of an attribution: signed scores of token positions, and pure functions on them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenScores:
    """Attribution of T texts to their S token positions.

    Attributes:
        scores: signed, float32, in the method's own unit, special positions included; with `differentiable` on its
            graph. What the match gains from a token is positive.
        start: start tokens. end: end tokens. padding: what is behind.
        similarity: cosine of picture and text, NaN without a picture.
        method: id. settings: everything that was asked for, as plain data.
        notes: what a reader must know to understand the scores.
        extras: what else the method found, by name; see its docstring. A contrast adds "contrast" (T,), its value, and,
            with foils as token ids, "foil_scores" (T, F, W) of words that only a foil has.
    """

    scores: Float[Tensor, "T S"]
    start: Bool[Tensor, "T S"]
    end: Bool[Tensor, "T S"]
    padding: Bool[Tensor, "T S"]
    similarity: Float[Tensor, " T"]
    method: str
    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def content(self) -> Bool[Tensor, "T S"]:
        """The words' tokens."""
        return ~(self.start | self.end | self.padding)


def normalised(
    scores: Float[Tensor, "T S"],
    content: Bool[Tensor, "T S"],
    how: Literal["content", "all", "none"] = "content",
    eps: float = 1e-8,
) -> Float[Tensor, "T S"]:
    """Scores as shares of their sum: of the words' (the start token, an attention sink, left out), or of all positions.

    "content" leaves special positions at 0. Meant for scores that are not negative: shares of signed ones mean little.

    Raises:
        ValueError: another `how`.
    """
    if how == "none":
        return scores
    if how not in ("content", "all"):
        raise ValueError(f'how is {how!r}; it is "content", "all" or "none".')
    counted = scores * content if how == "content" else scores
    return counted / (counted.sum(-1, keepdim=True) + eps)


def group_scores(
    scores: Float[Tensor, "T S"], group: Bool[Tensor, "T S"], how: Literal["mean", "sum"] = "mean"
) -> Float[Tensor, " T"]:
    """Mean (or sum) of the scores of a group of tokens, 0 for texts that have none of it."""
    total = (scores * group).sum(-1)
    if how == "sum":
        return total
    if how != "mean":
        raise ValueError(f'how is {how!r}; it is "mean" or "sum".')
    return total / group.sum(-1).clamp(min=1)
