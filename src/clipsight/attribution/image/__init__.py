"""Where in a picture a score comes from: attributions to patches, one interface for all methods."""

from clipsight.attribution.image import exact  # noqa: F401  each registers itself
from clipsight.attribution.image.registry import (
    ImageAnswer,
    ImageAttribution,
    ImageQuestion,
    attribute_patches,
    get_image_attribution,
    image_attribution_ids,
    why_not_image,
)

__all__ = [
    "ImageAnswer",
    "ImageAttribution",
    "ImageQuestion",
    "attribute_patches",
    "get_image_attribution",
    "image_attribution_ids",
    "why_not_image",
]
