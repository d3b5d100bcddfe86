"""Which of these things are in the picture? Multi-label recognition with feature surgery.

With c the cosines of the pooled feature and w = p / mean(p), p = softmax of 2 c over the labels,

    S = w c - mean over labels of (w c).

The mean is a bias of the picture, not of the label: the order of labels within one picture hardly changes, but scores
of one label across pictures become comparable, and its average precision rises, as the paper (arXiv 2304.05653) found
with CLIP on photographs. It is no law: with the bundled model on the emoji world plain cosines do better and
`tag_presence` better still (docs/tasks_measured.md).
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from clipsight.scoring import feature_surgery, pooled_similarity
from clipsight.scoring.presence import MIN_NAMES, presence


def tag_scores(
    pooled: Float[Tensor, "B E"], texts: Float[Tensor, "T E"], others: Float[Tensor, "M E"] | None = None
) -> Float[Tensor, "B T"]:
    """Feature surgery on pooled features, float32; above 0 stands out of the mean of all names.

    Args:
        pooled, texts: features of any length.
        others: names that are mostly absent; the common part is estimated from them and the labels together. None takes
            the labels alone, so that their scores sum to 0 in every picture and depend on the list.

    Raises:
        ValueError: fewer than two names in all.
    """
    names = texts if others is None else torch.cat([texts, others.to(texts)])
    if len(names) < 2:
        raise ValueError(
            "one label has nothing to be compared with, so that its score would be 0 whatever is seen; give more "
            "labels, or a list of other names that are mostly absent."
        )
    grid = rearrange(pooled, "B E -> B 1 1 E")
    return feature_surgery(grid, pooled, names)[:, : len(texts), 0, 0]


def tag_presence(
    pooled: Float[Tensor, "B E"],
    texts: Float[Tensor, "T E"],
    scale: float | int,
    others: Float[Tensor, "M E"] | None = None,
    same: Bool[Tensor, "T M"] | None = None,
) -> tuple[Float[Tensor, "B T"], str]:
    """Presence of each label in [0, 1], measured against labels that are absent, and the reason where it is NaN.

    A score alone does not say whether a label is there; a comparison with absent names does
    (`clipsight.scoring.presence`). Absent names are the contrast vocabulary where there is one; else the other labels,
    most of which are absent from any picture when the list is long; with fewer than 20 of either it is not measured.

    Args:
        pooled, texts: features of any length.
        scale: the model's logit scale.
        others: features of the contrast vocabulary; None or no rows if there is none.
        same: which of `others` are the label itself.
    """
    if others is not None and len(others):
        rivals, taken = others, same
        source = "names of the contrast vocabulary"
    else:
        rivals, source = texts, "other labels"
        taken = torch.eye(len(texts), dtype=torch.bool, device=texts.device)
    found = presence(pooled_similarity(pooled, texts), pooled_similarity(pooled, rivals), float(scale), taken)
    lacking = found.isnan().any()
    reason = f"fewer than {MIN_NAMES} {source} to compare with, or a score that is not finite"
    return found, reason if lacking else ""
