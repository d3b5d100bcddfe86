"""How far words of composition fall behind objects, as losses of token scores: the family of CLIP-CAE, reconstructed.

The paper's loss was not at hand and its code is not public: none of these is known to be the authors'. Pure functions;
r are token scores that are not negative, C the tokens of relations and attributes, O those of objects, S their means.
"""

import math
from collections.abc import Callable, Mapping
from typing import get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from clipsight.attribution import group_scores, normalised
from clipsight.tune.objectives.cae_options import Loss, Normalise, ObjectSide, Reduce

EPS = 1e-8


def composition_losses(
    scores: Float[Tensor, "T S"],
    composition: Bool[Tensor, "T S"],
    objects: Bool[Tensor, "T S"],
    content: Bool[Tensor, "T S"],
    loss: Loss = "parity",
    *,
    rho: float = 1.0,
    margin: float = 0.0,
    object_side: ObjectSide = "live",
    normalise: Normalise = "content",
    reduce: Reduce = "mean",
) -> Float[Tensor, " T"]:
    """The loss of each text; exactly 0, without a gradient, where it has no word of C or none of O.

    | loss | of a text |
    |---|---|
    | parity | max(0, log S_O − log S_C + log ρ): zero once S_C reaches ρ S_O |
    | ratio | −log(S_C / (S_C + S_O)): ln 2 at parity |
    | share | −log Σ_C p, p the normalised scores: objects do not count, and may starve |
    | linear | 1 − Σ_C p |
    | margin | max(0, m + S_O − S_C) |
    | kl | KL(q ‖ p) on C and O, q even |

    Args:
        scores: r, at least 0. composition: C. objects: O. content: the tokens of all words.
        loss: see above. rho: ρ of parity. margin: m of margin; about 0.05 goes with normalised scores.
        object_side: "detach" makes the scores of O constants, so that C can only be raised, objects not be put out.
        normalise: divide by the sum over words ("content") or over all positions ("all"), or not at all.
        reduce: "sum" takes the sum over a group's tokens as S.

    Raises:
        ValueError: another name, or ρ not above 0.
    """
    if loss not in LOSSES:
        raise ValueError(f"loss is {loss!r}; it is one of {', '.join(get_args(Loss))}.")
    if object_side not in get_args(ObjectSide):
        raise ValueError(f'object_side is {object_side!r}; it is "live" or "detach".')
    if rho <= 0:
        raise ValueError(f"rho is {rho}; it lies above 0.")
    counts = composition.any(-1) & objects.any(-1)
    r = torch.where(objects, scores.detach(), scores) if object_side == "detach" else scores
    r = torch.where(counts[:, None], r, 1.0)  # whatever stands in a text that does not count, it makes no NaN
    p = normalised(r, content | composition | objects, normalise, EPS)
    each = LOSSES[loss](_Asked(p, composition, objects, rho, margin, reduce))
    return torch.where(counts, each, 0.0)


class _Asked:
    """Normalised scores and their groups."""

    def __init__(
        self, p: Tensor, composition: Tensor, objects: Tensor, rho: float, margin: float, reduce: Reduce
    ) -> None:
        self.p, self.composition, self.objects = p, composition, objects
        self.rho, self.margin = rho, margin
        self.c = group_scores(p, composition, reduce)
        self.o = group_scores(p, objects, reduce)


def _parity(asked: _Asked) -> Tensor:
    behind = (asked.o + EPS).log() - (asked.c + EPS).log() + math.log(asked.rho)
    return behind.relu()


def _ratio(asked: _Asked) -> Tensor:
    return -((asked.c + EPS) / (asked.c + asked.o + EPS)).log()


def _share(asked: _Asked) -> Tensor:
    return -(group_scores(asked.p, asked.composition, "sum") + EPS).log()


def _linear(asked: _Asked) -> Tensor:
    return 1 - group_scores(asked.p, asked.composition, "sum")


def _margin(asked: _Asked) -> Tensor:
    return (asked.margin + asked.o - asked.c).relu()


def _kl(asked: _Asked) -> Tensor:
    both = asked.composition | asked.objects
    q = both / both.sum(-1, keepdim=True).clamp(min=1)
    p = asked.p * both
    p = p / (p.sum(-1, keepdim=True) + EPS)
    return (q * (torch.where(both, q, 1.0).log() - torch.where(both, p + EPS, 1.0).log())).sum(-1)


LOSSES: Mapping[Loss, Callable[[_Asked], Tensor]] = {
    "parity": _parity,
    "ratio": _ratio,
    "share": _share,
    "linear": _linear,
    "margin": _margin,
    "kl": _kl,
}
