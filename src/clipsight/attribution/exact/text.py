"""The text side: a text feature as the sum of each token's contribution, and named remainders."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from clipsight.attribution.exact.stream import By, Parts, along, read_row
from clipsight.attribution.match import exact as at_least_float
from clipsight.attribution.passes import visible
from clipsight.attribution.question import Answer, Question
from clipsight.attribution.registry import attribution
from clipsight.attribution.sources import DIRECT_EFFECTS, EXACT
from clipsight.errors import Unsupported
from clipsight.towers.view import OnePieceText, TextParts

_SCORES = (
    "Scores of exact are shares: with those of the start token, the end token, the networks and the constants, which "
    "are no word's, they add up to s."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class TextShares:
    """Parts of T text features; they add up to `feature` in the joint space.

    Held as products with directions where they were given (C of them for each text), else as vectors (C = E), in the
    units of the feature before it is normalised.

    Attributes:
        tokens: of the stream's positions, special ones included; Z is S, one more where the tower appends a class
            token. With `by` blocks or heads stand in front: (L, T, Z, C), (L, K, T, Z, C).
        networks: of the networks that the pooled row went through.
        constant: biases, and what entered the first block at the pooled row.
        feature: the text feature itself (T, E), not normalised.
    """

    tokens: Float[Tensor, "*split T Z C"]
    networks: Float[Tensor, "T C"]
    constant: Float[Tensor, "T C"]
    feature: Float[Tensor, "T E"]


def text_shares(
    parts: TextParts | OnePieceText,
    ids: Int[Tensor, "T S"],
    directions: Float[Tensor, "*T C E"] | None = None,
    *,
    by: By | None = None,
    hidden: Bool[Tensor, "T S"] | None = None,
    differentiable: bool = False,
) -> TextShares:
    """From which tokens does the text feature get its components along these directions?

    Args:
        parts: the text tower, opened (`TextView.parts`); nothing of it is changed.
        ids: token ids; may be cut behind the last end token where the tower is `cuttable`.
        directions: image features of any length, for all texts or each text's own; None keeps whole vectors.
        by: split the tokens' shares by block, or by block and head.
        hidden: positions that nobody attends to.
        differentiable: keep the graph.

    Raises:
        Unsupported: the tower is a model in one piece that pools otherwise than by a mean, or `by` with such a tower.
    """
    with torch.inference_mode(False), torch.set_grad_enabled(differentiable):
        if directions is not None:
            directions = directions.clone() if directions.is_inference() else directions
            directions = at_least_float(directions.to(ids.device))
        if isinstance(parts, OnePieceText):
            if by is not None:
                raise Unsupported(
                    f"shares by {by} were asked for, and this text tower is a model in one piece; ask without `by`."
                )
            return _shares(_read_mean(parts, ids, directions, hidden))
        made = read_row(
            parts.blocks,
            parts.entered(parts.tokens(ids)),
            parts.pooled(ids),
            parts.end_path(),
            directions,
            seen=visible(parts, ids, hidden),
            by=by,
        )
        return _shares(made)


def _read_mean(
    parts: OnePieceText,
    ids: Int[Tensor, "T S"],
    directions: Float[Tensor, "*T C E"] | None,
    hidden: Bool[Tensor, "T S"] | None,
) -> Parts:
    """A mean over the final states of a tower in one piece."""
    states, weights, end = parts.pooled_tokens(ids, hidden)
    given = at_least_float(states) * at_least_float(weights)[..., None]
    held = end.at(given.sum(1))
    constant = along(held.constant, directions)
    return Parts(
        sources=along(held.linear(given), directions),
        networks=torch.zeros_like(constant),
        constant=constant,
        feature=held.value,
    )


def _shares(parts: Parts) -> TextShares:
    return TextShares(
        tokens=parts.sources, networks=parts.networks, constant=parts.constant, feature=parts.feature
    )


@attribution(
    "exact",
    summary="Ours: what the pooled position read from each token, as its share of the similarity; an identity.",
    side="text", unit=lambda made: f"share of the {made.measure}",
    image=True, gradients=False, inside="pooled", signed=True, linear=True, spans=False,
    sources=(EXACT, DIRECT_EFFECTS),
)  # fmt: skip
def exact(question: Question) -> Answer:
    """Share of s that the feature read from each token, start and end tokens included.

    The text's feature is taken apart with its last norm's deviation and its length held at what they are. A log-softmax
    among foils stretches all shares by its slope.

    Args:
        question: see `Question`.

    Returns:
        Scores; extras "networks" (T,) and "constant" (T,): with them the scores add up to s without foils.
    """
    match = question.match
    assert match.image is not None  # `attribute` asked for it
    shares = text_shares(question.opened, question.ids, match.image[:, None], differentiable=question.live)
    factor = torch.full_like(shares.feature[:, :1], match.scale)
    if match.similarity == "cosine":
        factor = factor / shares.feature.norm(dim=-1, keepdim=True)
    if match.foils is not None and match.contrast == "log_softmax":
        s = replace(match, foils=None)(shares.feature)[:, None]
        factor = factor * (1 - torch.cat([s, match.foils], -1).softmax(-1)[:, :1])
    scores = shares.tokens[..., 0] * factor
    size = question.ids.shape[1]
    return Answer(
        scores=scores[:, :size],
        features=shares.feature,
        extras={
            "networks": (shares.networks * factor)[:, 0],
            "constant": (shares.constant * factor)[:, 0] + scores[:, size:].sum(-1),
        },
        notes=(_SCORES,),
    )
