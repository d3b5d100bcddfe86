"""Which words carry the match: attributions to tokens, as functions that can keep their graph."""

from clipsight.attribution import (  # noqa: F401  each registers itself
    attention,
    chefer,
    exact,
    grad_eclip,
    gradcam,
    gradient,
    integrated_gradients,
    legrad,
    perturbation,
    shapley,
)
from clipsight.attribution.attribute import attribute
from clipsight.attribution.reading import reading
from clipsight.attribution.registry import Attribution, attribution_ids, get_attribution, why_not
from clipsight.attribution.scores import TokenScores, group_scores, normalised

__all__ = [
    "Attribution",
    "TokenScores",
    "attribute",
    "attribution_ids",
    "get_attribution",
    "group_scores",
    "normalised",
    "reading",
    "why_not",
]
