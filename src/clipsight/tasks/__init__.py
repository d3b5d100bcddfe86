"""Answers from scores: segmentation, tags, damage, points. Functions on tensors, independent of any model."""

from clipsight.tasks.background import PRESENCE_LIMIT, Background
from clipsight.tasks.encode_windows import WindowScores, cosine_score, window_scores
from clipsight.tasks.head import Stitched, class_probabilities, large_enough, stitching
from clipsight.tasks.segment import Refinement, Segments, blocks, segment_windows
from clipsight.tasks.windows import LONG_SIDE, Windows, fit_windows, place_windows, spans

__all__ = [
    "LONG_SIDE",
    "PRESENCE_LIMIT",
    "Background",
    "Refinement",
    "Segments",
    "Stitched",
    "WindowScores",
    "Windows",
    "blocks",
    "class_probabilities",
    "cosine_score",
    "fit_windows",
    "large_enough",
    "place_windows",
    "segment_windows",
    "spans",
    "stitching",
    "window_scores",
]
