"""Tokens, words and phrases of a caption with their characters, and scores transferred between them.

Places count characters of the caption as it was given; changes that a tokenizer makes first (lower case, blanks, HTML
entities, repaired Unicode) are traced back by `places`. A token that lies in two words is divided among them by
its characters, so that sums stay what they were.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from clipsight.language.pieces import Place, Tokenizer, read_pieces
from clipsight.language.places import places
from clipsight.roles.cleaned import as_read, in_caption
from clipsight.roles.schema import find_words

TokenKind = Literal["start", "text", "end", "padding"]
PartKind = Literal["word", "mark", "span"]
Merge = Literal["sum", "mean"]


@dataclass(frozen=True, kw_only=True)
class CaptionTokens:
    """What each token position of a caption stands for.

    Attributes:
        caption: the text as given; all places are in it.
        tokens: what each position holds: the caption's own characters, or the vocabulary's name of a start, end or
            padding token.
        places: (first character, the one after the last); None for start, end and padding. A token without characters
            of its own, such as a blank, has an empty place before what follows it.
        kinds: "start", "text", "end" (the first token behind the text) or "padding" (whatever follows that).
        dropped: the end of the caption that the context cuts off, "" when nothing is.
    """

    caption: str
    tokens: tuple[str, ...]
    places: tuple[Place | None, ...]
    kinds: tuple[TokenKind, ...]
    dropped: str

    @property
    def seen(self) -> int:
        """How many characters of the caption the model sees."""
        return _last(self.places) if self.dropped else len(self.caption)

    def numbers(self, kind: TokenKind) -> tuple[int, ...]:
        """The positions of one kind."""
        return tuple(i for i, found in enumerate(self.kinds) if found == kind)


@dataclass(frozen=True, kw_only=True)
class CaptionPart:
    """A word, a punctuation mark or a requested phrase, written at `caption[start:end]`.

    The text of a word is as the model reads it: "Jerry's" for "Jerry&#39;s".
    """

    text: str
    start: int
    end: int
    kind: PartKind


def caption_tokens(tokenizer: Tokenizer, caption: str, ids: Int[Tensor, " S"]) -> CaptionTokens:
    """Which characters of a caption each of its tokens stands for.

    Args:
        tokenizer: of open_clip (byte pairs or any of transformers'), or `clipsight.language.hf_tokenizers`.
        caption: the text.
        ids: what the tokenizer made of it, whole or without its padding.

    Raises:
        ValueError: the tokenizer finds nothing in the caption, or nothing that the context has room for.
        Unsupported: a tokenizer that says nothing of its tokens, or one that leaves some out on the way.
    """
    read = read_pieces(tokenizer, caption)
    begin, count = read.find_in(ids.tolist())
    found = places(caption, read.text, read.spans)[:count]
    names = [read.name(index) for index in ids.tolist()]
    kinds: list[TokenKind] = [_kind(index, begin, begin + count) for index in range(len(names))]
    where: list[Place | None] = [None] * len(names)
    where[begin : begin + count] = found
    last = _last(found)
    if count < len(read.ids) and not last:
        raise ValueError(
            f"of the caption {caption!r:.60} the model sees nothing but blanks: they fill its context; take them out."
        )
    return CaptionTokens(
        caption=caption,
        tokens=tuple(
            names[i] if place is None or place[0] == place[1] else caption[slice(*place)]
            for i, place in enumerate(where)
        ),
        places=tuple(where),
        kinds=tuple(kinds),
        dropped=caption[last:].strip() if count < len(read.ids) else "",
    )


def caption_parts(found: CaptionTokens) -> tuple[CaptionPart, ...]:
    """The words of a caption that the model sees, and the punctuation between them, in order.

    Words are those of `clipsight.roles.extract`: letters and digits, with apostrophes and hyphens inside. Marks are
    runs of whatever else is no blank. A word that the context cuts in two counts, with the characters that are seen.
    """
    caption, end = found.caption, found.seen
    parts: list[CaptionPart] = []
    at = 0
    for word in find_words(caption):
        if word.start >= end:
            break
        parts += _marks(caption, at, word.start)
        at = min(word.end, end)
        text = word.text if at == word.end else caption[word.start : at]
        parts.append(CaptionPart(text=text, start=word.start, end=at, kind="word"))
    return (*parts, *_marks(caption, at, end))


def find_phrases(caption: str, asked: Sequence[str | Place]) -> tuple[CaptionPart, ...]:
    """Phrases of a caption, given as text or as character positions.

    Args:
        caption: the text.
        asked: substrings, case left aside, or (first character, the one after the last). A substring that occurs
            several times is found as often; one that also occurs inside other words ("red" in "covered") is found where
            it stands alone.

    Raises:
        ValueError: a substring that is not there, or characters that the caption does not have.
        TypeError: neither of the two.
    """
    found: list[CaptionPart] = []
    for one in asked:
        here = _occurrences(caption, one) if isinstance(one, str) else [_checked(caption, one)]
        found += [
            CaptionPart(text=caption[start:end], start=start, end=end, kind="span") for start, end in here
        ]
    return tuple(dict.fromkeys(found))


def shares(found: CaptionTokens, parts: Sequence[CaptionPart]) -> Float[Tensor, "P S"]:
    """The share of each token that lies in each part, by characters other than blanks.

    Over the words and marks of `caption_parts` a text token's shares sum to 1; start, end and padding have none. A
    token without characters goes with the character after it, or the last one seen.
    """
    places = [place or (0, 0) for place in found.places]
    length = found.seen
    solid = torch.tensor([not letter.isspace() for letter in found.caption[:length]], dtype=torch.bool)
    own = _covers(places, length) & solid
    letters = torch.nonzero(solid).flatten()
    for position, place in enumerate(found.places):
        if place is not None and len(letters) and not own[position].any():
            own[position, letters[letters >= place[0]][:1] if letters[-1] >= place[0] else letters[-1:]] = (
                True
            )
    inside = _covers([(part.start, part.end) for part in parts], length)
    counts = own.sum(1).clamp_min(1)
    return (inside.double() @ own.T.double()) / counts


def merge(
    scores: Float[Tensor, " S"], table: Float[Tensor, "P S"], how: Merge = "sum"
) -> Float[Tensor, " P"]:
    """Scores of parts from scores of tokens.

    Args:
        scores: one a token.
        table: of `shares`.
        how: "sum" keeps totals: what words and marks have is what the text's tokens have. "mean" divides by the tokens
            of a part, for scores that are norms; totals are lost.
    """
    summed = (table @ scores.double().cpu()).to(scores.dtype)
    if how == "sum":
        return summed
    if how != "mean":
        raise ValueError(f'merge {how!r} is unknown; give "sum", which keeps totals, or "mean".')
    return summed / table.sum(1).clamp_min(torch.finfo(table.dtype).tiny)


def _last(places: Sequence[Place | None]) -> int:
    """Where the last token that has characters ends, 0 when none has."""
    return max((place[1] for place in places if place is not None and place[0] < place[1]), default=0)


def _covers(places: Sequence[Place], length: int) -> Bool[Tensor, "P C"]:
    """Which characters lie in which place."""
    index = torch.arange(length)
    starts, ends = torch.tensor(places, dtype=torch.long).reshape(-1, 2).T[..., None]
    return (starts <= index) & (index < ends)


def _kind(index: int, begin: int, end: int) -> TokenKind:
    if index < end:
        return "text" if index >= begin else "start"
    return "end" if index == end else "padding"


def _marks(caption: str, start: int, end: int) -> list[CaptionPart]:
    """Runs of what is no blank."""
    found: list[CaptionPart] = []
    for index in range(start, end):
        if caption[index].isspace():
            continue
        begin = found.pop().start if found and found[-1].end == index else index
        found.append(CaptionPart(text=caption[begin : index + 1], start=begin, end=index + 1, kind="mark"))
    return found


def _occurrences(caption: str, phrase: str) -> list[Place]:
    wanted, lowered = phrase.strip().lower(), caption.lower()
    if len(lowered) != len(caption):  # letters that grow in lower case would shift what follows
        wanted, lowered = phrase.strip(), caption
    starts = [i for i in range(len(lowered)) if wanted and lowered.startswith(wanted, i)]
    if not starts and (read := as_read(caption)) != caption:
        spans = [m.span() for m in re.finditer(re.escape(as_read(phrase.strip())), read, re.IGNORECASE)]
        if spans and phrase.strip():
            return in_caption(caption, read, spans)
    if not starts:
        raise ValueError(
            f"the span {phrase!r} is not in the caption {caption!r}; give words as they stand there, or characters as "
            "(start, end)."
        )
    inner = {i for word in find_words(caption) for i in range(word.start + 1, word.end)}
    found = [(i, i + len(wanted)) for i in starts]
    return [place for place in found if not inner.intersection(place)] or found


def _checked(caption: str, place: Place) -> Place:
    try:
        start, end = map(int, place)
    except (TypeError, ValueError):
        raise TypeError(
            f"the span {place!r} is neither words nor two numbers; give a substring of the caption, or (start, end)."
        ) from None
    if not 0 <= start < end <= len(caption):
        raise ValueError(
            f"the span {start}:{end} does not fit a caption of {len(caption)} characters; give 0 <= start < end <= "
            f"{len(caption)}."
        )
    return start, end
