"""Whether a text is in the picture at all. A map alone cannot tell: a map of an absent thing has a peak too.

Defined by comparison, within the one picture: most names of a contrast vocabulary are absent from any picture, so
their scores show what absence looks like. A text is present as far as it takes a share of the picture from them.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

MIN_NAMES = 20
"""With fewer names to compare with, presence is not measured."""

UNDECIDED = 0.05
"""The share at which presence is about one half: several things can be in one picture, each with a part of it."""


def presence(
    scores: Float[Tensor, "B T"],
    others: Float[Tensor, "B M"],
    scale: float,
    same: Bool[Tensor, "T M"] | None = None,
) -> Float[Tensor, "B T"]:
    """How far each text stands out among names that are mostly absent, in [0, 1].

    share = exp(scale · score) / (exp(scale · score) + sum over the names of exp(scale · name's score)), what CLIP's own
    softmax would give the text among the names; presence = 1.05 · share / (share + 0.05), which is 1 where the text
    takes the whole picture and about one half where it takes a twentieth.

    Args:
        scores: cosines of the pooled feature with the texts.
        others: cosines of the same pooled feature with the names.
        scale: the model's logit scale (about 100 for OpenAI's).
        same: which names are the text itself; they are left out of its comparison.

    Returns:
        NaN where fewer than `MIN_NAMES` names are left to compare with, or a score is not finite.
    """
    count, names = scores.shape[1], others.shape[1]
    taken = (
        torch.zeros(count, names, dtype=torch.bool, device=others.device)
        if same is None
        else same.to(others.device)
    )
    rivals = (scale * others.float())[:, None].masked_fill(taken[None], -torch.inf).logsumexp(dim=-1)
    share = torch.sigmoid(scale * scores.float() - rivals)
    enough = (~taken).sum(-1) >= MIN_NAMES
    return torch.where(enough, (1 + UNDECIDED) * share / (share + UNDECIDED), torch.nan)
