"""What "the attention to a word" means in a tower, in words: not all towers are like CLIP's."""

from clipsight.attribution.question import opened
from clipsight.towers.view import TextParts, TextView

_POOLED = {
    "end": "The feature is taken at the end token, so attention is read in that token's row.",
    "class": (
        "The feature is taken at a class token appended behind the text, so attention is read in that token's row, "
        "the end token being one of the columns."
    ),
    "last": (
        "The feature is taken at the last position of the context, which is padding for all but the longest captions, "
        "so attention is read in the row of a padding position."
    ),
    "first": "The feature is taken at the first position, so attention is read in that position's row.",
}
_BOTH_WAYS = (
    "Every position sees every other, later ones and padding included: a word's state holds the whole caption, and "
    "attention paid to padding is attention to whatever the tower has gathered there."
)
_CAUSAL = "A position sees only what is before it, so the states of early words know nothing of later ones."


def reading(view: TextView) -> str:
    """Two or three sentences on where the tower takes its feature and what its positions see."""
    parts = opened(view)
    if not isinstance(parts, TextParts):
        return "The tower runs in one piece: its attention cannot be read, its words can be changed or taken out."
    said = f"{_POOLED[parts.pools]} {_CAUSAL if parts.causal else _BOTH_WAYS}"
    if parts.causal and parts.pools == "first":
        return f"{said} The feature therefore depends on the first token alone."
    return said
