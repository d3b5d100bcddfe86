"""Whether a text is in the picture at all: a map alone cannot say, since a map of an absent thing has a peak too.

Defined by comparison, within the one picture: most names of a contrast vocabulary are absent from any picture, so
their scores show what absence looks like. A text is present as far as its score stands above them.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

MIN_NAMES = 20
"""With fewer names to compare with, presence is not measured."""

_MIDDLE = 2.5
_SLOPE = 2.0
_MAD = 1.4826
"""Makes the median absolute deviation of a normal distribution its standard deviation."""


def presence(
    scores: Float[Tensor, "B T"], others: Float[Tensor, "B M"], same: Bool[Tensor, "T M"] | None = None
) -> Float[Tensor, "B T"]:
    """How far each text stands out among names that are mostly absent, in [0, 1]; 0.5 is undecided.

    z = (score - median of the names) / (1.4826 · their median absolute deviation); presence = sigmoid(2 (z - 2.5)).
    The median and its deviation hold as long as fewer than half of the names are in the picture.

    Args:
        scores: cosines of the pooled feature with the texts.
        others: cosines of the same pooled feature with the names.
        same: which names are the text itself; they are left out of its comparison.

    Returns:
        NaN where fewer than `MIN_NAMES` names are left to compare with, or all names score alike.
    """
    count, names = scores.shape[1], others.shape[1]
    taken = (
        torch.zeros(count, names, dtype=torch.bool, device=others.device)
        if same is None
        else same.to(others.device)
    )
    table = others.float()[:, None].masked_fill(taken[None], torch.nan).expand(len(others), count, names)
    if names == 0:
        return torch.full_like(scores, torch.nan, dtype=torch.float32)
    middle = table.nanmedian(dim=-1).values
    spread = _MAD * (table - middle[..., None]).abs().nanmedian(dim=-1).values
    enough = (~taken).sum(-1) >= MIN_NAMES
    z = (scores.float() - middle) / spread
    return torch.where(enough & (spread > 0), torch.sigmoid(_SLOPE * (z - _MIDDLE)), torch.nan)
