"""Which words carry the match: attributions to tokens, as functions that can keep their graph."""

from clipsight.attribution.attribute import attribute
from clipsight.attribution.image import get_image_attribution, image_attribution_ids
from clipsight.attribution.question import Question, opened
from clipsight.attribution.reading import reading
from clipsight.attribution.registry import (
    Attribution,
    Measured,
    attribution_ids,
    find,
    get_attribution,
    why_not,
)
from clipsight.attribution.scores import TokenScores, group_scores, normalised

find(__name__, __path__)

__all__ = [
    "Attribution",
    "Measured",
    "Question",
    "TokenScores",
    "attribute",
    "attribution_ids",
    "get_attribution",
    "get_image_attribution",
    "group_scores",
    "image_attribution_ids",
    "normalised",
    "opened",
    "reading",
    "why_not",
]
