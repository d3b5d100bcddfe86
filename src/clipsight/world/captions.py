"""Put statements into words, with the character span and the role of every word that matters."""

import numpy as np

from clipsight.world.scene import Caption, Role
from clipsight.world.sprites import article, plural
from clipsight.world.statements import Mention, Statement

_COUNTS = {2: "two", 3: "three", 4: "four"}
_RELATIONS = {
    "left of": ("left of", "to the left of", "on the left of"),
    "right of": ("right of", "to the right of", "on the right of"),
    "above": ("above", "over"),
    "below": ("below", "under", "beneath"),
    "in front of": ("in front of",),
    "behind": ("behind",),
}
_OPENINGS = ("", "", "a photo of ", "a picture of ", "there is ", "an image of ", "this shows ", "we see ")
_Piece = tuple[str, Role | None]


def word(statement: Statement, style: int) -> Caption:
    """The statement in words; a caption and its foil use the same style.

    Args:
        statement: what is claimed.
        style: any non-negative number; it chooses opening, articles, order and the word for the relation.
    """
    rng = np.random.default_rng(style)
    opening = _OPENINGS[rng.integers(len(_OPENINGS))]
    bare = bool(rng.random() < 0.2)
    phrases = [_mention(m, bare) for m in statement.mentions]
    if opening == "there is " and statement.mentions[0].count > 1:
        opening = "there are "
    pieces: list[_Piece] = []
    if statement.relation is not None:
        variants = _RELATIONS[statement.relation]
        how: _Piece = (variants[rng.integers(len(variants))], "relation")
        if rng.random() < 0.2:
            pieces = [how, (" ", None), *phrases[1], (" there is ", None), *phrases[0]]
        else:
            middle = " is " if rng.random() < 0.3 else " "
            pieces = [
                (opening if middle == " " else "", None),
                *phrases[0],
                (middle, None),
                how,
                (" ", None),
                *phrases[1],
            ]
    else:
        pieces = [(opening, None)]
        for index, phrase in enumerate(phrases):
            if index:
                pieces.append((" and " if index == len(phrases) - 1 else ", ", None))
            pieces += phrase
    if rng.random() < 0.2:
        pieces.append((".", None))
    return _join(pieces)


def _mention(mention: Mention, bare: bool) -> list[_Piece]:
    trailing = mention.state is not None and mention.state.startswith("with")
    adjectives = [mention.size, None if trailing else mention.state, mention.color]
    words: list[_Piece] = [(a, "attribute") for a in adjectives if a is not None]
    words.append((mention.noun if mention.count == 1 else plural(mention.noun), "object"))
    if trailing and mention.state is not None:
        words.append((mention.state, "attribute"))
    if mention.count > 1:
        words.insert(0, (_COUNTS[mention.count], "attribute"))
    elif not bare:
        words.insert(0, (article(words[0][0]), None))
    return [piece for single in words for piece in ((" ", None), single)][1:]


def _join(pieces: list[_Piece]) -> Caption:
    text, spans = "", []
    for piece, role in pieces:
        if role is not None:
            spans.append((len(text), len(text) + len(piece), role))
        text += piece
    return Caption(text=text, spans=tuple(spans))
