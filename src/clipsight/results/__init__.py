"""Frozen results with raw values, how they were made, and their drawings and files."""

from clipsight.draw import Scale

from .anomaly import Anomaly
from .classification import Classification
from .explanation import Explanation, summary_line
from .interaction import Interaction
from .io import FORMAT, atomic_write, check_writable, json_bytes, suffix_of
from .points import Points, similarity_image, similarity_to_points
from .provenance import Provenance
from .segmentation import Segmentation
from .sentence import SentenceView, SentenceWord
from .tags import Tags
from .words import WordAttribution, WordScore

__all__ = [
    "FORMAT",
    "Anomaly",
    "Classification",
    "Explanation",
    "Interaction",
    "Points",
    "Provenance",
    "Scale",
    "Segmentation",
    "SentenceView",
    "SentenceWord",
    "Tags",
    "WordAttribution",
    "WordScore",
    "atomic_write",
    "check_writable",
    "json_bytes",
    "similarity_image",
    "similarity_to_points",
    "suffix_of",
    "summary_line",
]
