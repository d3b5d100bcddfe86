"""Scores from features: pure functions on tensors with float32 results, independent of any model."""

from clipsight.scoring.contrast import ContrastKind, contrast_maps, feature_surgery, subtract_empty
from clipsight.scoring.similarity import normalize, pooled_similarity, similarity_maps

__all__ = [
    "ContrastKind",
    "contrast_maps",
    "feature_surgery",
    "normalize",
    "pooled_similarity",
    "similarity_maps",
    "subtract_empty",
]
