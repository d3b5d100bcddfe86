"""Which combinations never appear in the training split.

One colour×object pair in eight and one object×relation×object triple in eight are held out, by a hash of the words
alone: the choice does not depend on a seed, a machine or the order of drawing.
"""

from hashlib import blake2b
from typing import Literal

Split = Literal["train", "heldout"]
SPLITS: tuple[Split, ...] = ("train", "heldout")
_SHARE = 8

INVERSE = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
    "in front of": "behind",
    "behind": "in front of",
}


def _held(*words: str) -> bool:
    return blake2b("|".join(words).encode(), digest_size=4).digest()[0] % _SHARE == 0


def color_held_out(color: str, noun: str) -> bool:
    """Whether this colour of this noun never occurs in training."""
    return _held("colour", color, noun)


def relation_held_out(subject: str, relation: str, other: str) -> bool:
    """Whether this triple, in either of its two wordings, never occurs in training."""
    if relation in ("right of", "below", "behind"):
        subject, relation, other = other, INVERSE[relation], subject
    return _held("relation", subject, relation, other)
