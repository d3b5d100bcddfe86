"""Where in a picture a score comes from: attributions to patches, with one interface for all methods."""

from clipsight.attribution.image.registry import (
    ImageAnswer,
    ImageAttribution,
    ImageQuestion,
    attribute_patches,
    get_image_attribution,
    image_attribution_ids,
    why_not_image,
)
from clipsight.attribution.registry import find

find(__name__, __path__)

__all__ = [
    "ImageAnswer",
    "ImageAttribution",
    "ImageQuestion",
    "attribute_patches",
    "get_image_attribution",
    "image_attribution_ids",
    "why_not_image",
]
