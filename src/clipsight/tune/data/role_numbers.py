"""The role of every token, from the phrases of a caption that have one."""

import re
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from clipsight.language.pieces import read_pieces
from clipsight.language.reading import read_captions
from clipsight.language.spans import CaptionTokens
from clipsight.language.tokens import Tokenizer
from clipsight.roles.extract import find_words
from clipsight.roles.rules.function_words import CLOSED
from clipsight.tune.data.batch import ROLE_NUMBERS
from clipsight.tune.data.example import RoleSpan
from clipsight.tune.data.options import Drop, Matching

ARTICLES = frozenset(("a", "an", "the"))
PREPOSITIONS = frozenset(word for word, tag in CLOSED.items() if tag in ("IN", "TO"))
_DROPPED: dict[Drop, frozenset[str]] = {
    "none": frozenset(),
    "in_on": frozenset(("in", "on")),
    "all": PREPOSITIONS,
}
_JOINT = re.compile(r"\s*(?:(?:a|an|the)\s+)?", re.IGNORECASE)
"""What may stand between two parts of one relation: "to the left of"."""


def role_numbers(
    tokenizer: Tokenizer,
    captions: Sequence[str],
    spans: Sequence[Sequence[RoleSpan]],
    context: int,
    how: Matching | None = None,
) -> UInt8[Tensor, "T S"]:
    """The role of every token of T captions, see `ROLE_NUMBERS`; 0 for the others, start, end and padding.

    Where phrases share a token the relation is meant, then the attribute ("next to the *front* door" is no object
    twice). Articles have no role, also inside a relation ("to the left of").

    Args:
        tokenizer: any that `read_captions` reads. spans: of each caption. context: token positions of the model.

    Raises:
        ValueError: a caption in which the tokenizer finds nothing.
        Unsupported: no tokenizer, or one that says nothing of its tokens.

    Example:
        >>> role_numbers(tokenizer, ["a cat on a mat"], [[(2, 5, "object"), (6, 8, "relation")]], 77)[0, :5].tolist()
        [0, 0, 1, 3, 0]
    """
    read = read_captions(tokenizer, captions, context)
    return torch.stack(
        [
            token_roles(found, ids, one, tokenizer, how or Matching())
            for found, ids, one in zip(read.found, read.ids, spans, strict=True)
        ]
    )


def token_roles(
    found: CaptionTokens,
    ids: Int[Tensor, " S"],
    spans: Sequence[RoleSpan],
    tokenizer: Tokenizer,
    how: Matching,
) -> UInt8[Tensor, " S"]:
    """The same of one caption that was read already."""
    counted = _counted(found.caption, spans, _DROPPED[how.drop_bare_prepositions])
    roles = torch.zeros(len(ids), dtype=torch.uint8)
    if how.match == "first_bpe":
        # The authors' masks may overlap; a token has one role here, by the same order as otherwise.
        for start, end, role in sorted(counted, key=lambda span: ROLE_NUMBERS[span[2]]):
            _mark_first(roles, ids.tolist(), found, tokenizer, found.caption[start:end], ROLE_NUMBERS[role])
        return roles
    letters = _painted(found.caption, counted)
    for position, place in enumerate(found.places):
        if place is not None and place[0] < place[1]:
            roles[position] = int(letters[slice(*place)].max())
    return roles


def _painted(caption: str, spans: Sequence[RoleSpan]) -> UInt8[np.ndarray, " C"]:
    """The role of every character: of several the one with the highest number; blanks and articles have none."""
    letters = np.zeros(len(caption), dtype=np.uint8)
    for start, end, role in spans:
        np.maximum(letters[start:end], ROLE_NUMBERS[role], out=letters[start:end])
    for word in find_words(caption):
        if word.text.lower() in ARTICLES:
            letters[word.start : word.end] = 0
    letters[[letter.isspace() for letter in caption]] = 0
    return letters


def _counted(caption: str, spans: Sequence[RoleSpan], dropped: frozenset[str]) -> list[RoleSpan]:
    """The phrases without relations that are one of some words alone; parts of one relation are joined to see that."""
    if not dropped:
        return list(spans)
    counted = [span for span in spans if span[2] != "relation"]
    joined: list[RoleSpan] = []
    for span in sorted(span for span in spans if span[2] == "relation"):
        if joined and _JOINT.fullmatch(caption[joined[-1][1] : max(span[0], joined[-1][1])]):
            joined[-1] = (joined[-1][0], max(span[1], joined[-1][1]), "relation")
        else:
            joined.append(span)
    return counted + [
        (start, end, role) for start, end, role in joined if _plain(caption[start:end]) not in dropped
    ]


def _plain(phrase: str) -> str:
    return " ".join(phrase.lower().split())


def _mark_first(
    roles: UInt8[Tensor, " S"],
    ids: Sequence[int],
    found: CaptionTokens,
    tokenizer: Tokenizer,
    phrase: str,
    number: int,
) -> None:
    """Give the first place of a phrase's own ids in the text its role."""
    if _plain(phrase) in ARTICLES:
        return
    wanted = list(read_pieces(tokenizer, phrase).ids)
    text = found.numbers("text")
    for start in range(text[0], text[-1] + 2 - len(wanted)) if wanted and text else ():
        if list(ids[start : start + len(wanted)]) == wanted:
            roles[start : start + len(wanted)] = number
            return
