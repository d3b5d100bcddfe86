"""Frozen results with raw values, how they were made, and their drawings and files."""

from clipsight.draw import Scale

from .anomaly import Anomaly
from .classification import Classification
from .explanation import Explanation, summary_line
from .io import atomic_write, check_writable
from .points import Points, similarity_image, similarity_to_points
from .provenance import Provenance
from .segmentation import Segmentation
from .tags import Tags
from .words import WordAttribution, WordScore

__all__ = [
    "Anomaly",
    "Classification",
    "Explanation",
    "Points",
    "Provenance",
    "Scale",
    "Segmentation",
    "Tags",
    "WordAttribution",
    "WordScore",
    "atomic_write",
    "check_writable",
    "similarity_image",
    "similarity_to_points",
    "summary_line",
]
