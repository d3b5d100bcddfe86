"""How a tokenizer splits a text, without start, end and padding: ids, and the text behind each.

| tokenizer | how it is read |
|---|---|
| byte pairs of CLIP (open_clip's `SimpleTokenizer`, transformers' `CLIPTokenizer`) | the bytes of its pieces |
| transformers', fast (WordPiece, SentencePiece, byte pairs of others) | its own offsets |
| transformers', slow (SentencePiece of SigLIP) | the letters of its pieces |
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from clipsight.errors import Unsupported
from clipsight.language.places import Place
from clipsight.language.tokens import Tokenizer

__all__ = ["Pieces", "Place", "Tokenizer", "read_pieces"]

_END_OF_WORD = "</w>"
_BLANK = "\u2581"
_UNKNOWN = "\ufffd"
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_MOST_BEFORE = 3
"""Most tokens that any known tokenizer puts before a text."""


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """A text as its tokenizer reads it.

    Attributes:
        ids: of the whole text, without start, end and padding.
        text: what the tokenizer read, or wrote, of it.
        spans: the characters of `text` that each id stands for.
        name: id -> piece as the vocabulary writes it.
    """

    ids: tuple[int, ...]
    text: str
    spans: tuple[Place, ...]
    name: Callable[[int], str]

    def find_in(self, row: Sequence[int]) -> Place:
        """(position of the first id, number of ids) in a row of ids that may be cut.

        Raises:
            ValueError: there are none: the tokenizer reads nothing in the text, as SigLIP's in mere punctuation.
            Unsupported: the row does not hold them from the first on.
        """
        if not self.ids:
            raise ValueError("the tokenizer finds nothing in the text: there is no word in it; write one.")
        best = (0, 0)
        for begin in range(min(_MOST_BEFORE, len(row))):
            count = 0
            while count < min(len(self.ids), len(row) - begin) and row[begin + count] == self.ids[count]:
                count += 1
            best = max(best, (begin, count), key=lambda found: found[1])
        begin, count = best
        # Behind the text at least its end token has a place, so a row that was cut holds all but few.
        if not count or (count < len(self.ids) and begin + count < len(row) - _MOST_BEFORE):
            raise Unsupported(
                "this model's tokenizer leaves tokens out or puts them in another order (its text masking), so that "
                "words cannot be told from them. Ask with whole texts instead: lens.explain."
            )
        return best


def read_pieces(tokenizer: Any, text: str) -> Pieces:
    """Read a text with a tokenizer of open_clip's, of transformers' or of `clipsight.language.hf_tokenizers`.

    Raises:
        Unsupported: a tokenizer of another kind.
    """
    if all(hasattr(tokenizer, part) for part in ("encode", "decoder", "byte_decoder")):
        return _byte_pairs(tokenizer, text)
    inner = getattr(tokenizer, "tokenizer", None)
    if inner is None or not (hasattr(inner, "read") or hasattr(inner, "convert_ids_to_tokens")):
        raise Unsupported(
            f"words cannot be told from the tokens of {type(tokenizer).__name__}: it says nothing of the text they "
            "stand for. Load the model with its own tokenizer, or ask with whole texts: lens.explain."
        )
    from clipsight.language.hf_tokenizers import read_offsets

    if hasattr(inner, "read"):
        ids, pieces, offsets, said = inner.read(text)
    else:
        said = _cleaned(tokenizer, text)
        ids, pieces, offsets = read_offsets(inner, said)
    names = dict(zip(ids, pieces, strict=True))

    def name(index: int) -> str:
        return names.get(index) or str(inner.convert_ids_to_tokens([index])[0])

    if offsets is not None:
        return Pieces(ids=tuple(ids), text=said, spans=tuple(offsets), name=name)
    written, spans = _joined([_letters(piece, inner) for piece in pieces])
    return Pieces(ids=tuple(ids), text=written, spans=spans, name=name)


def _byte_pairs(tokenizer: Any, text: str) -> Pieces:
    ids = list(tokenizer.encode(text))
    known = tokenizer.byte_decoder
    raw = [
        bytes(known[letter] for letter in tokenizer.decoder[index].removesuffix(_END_OF_WORD))
        for index in ids
    ]
    written, spans = _joined(raw)
    return Pieces(ids=tuple(ids), text=written, spans=spans, name=lambda index: str(tokenizer.decoder[index]))


def _cleaned(tokenizer: Any, text: str) -> str:
    """What open_clip's wrapper hands to transformers."""
    clean = getattr(tokenizer, "clean_fn", None)
    if clean is not None:
        return clean(text)
    from open_clip.tokenizer import basic_clean, canonicalize_text

    return canonicalize_text(basic_clean(text))


def _letters(piece: str, inner: Any) -> bytes:
    """The text of a piece without blanks, in UTF-8; a placeholder for what the vocabulary does not know."""
    if piece == inner.unk_token:
        return _UNKNOWN.encode()
    byte = _BYTE.fullmatch(piece)
    return bytes([int(byte[1], 16)]) if byte else piece.removeprefix("##").replace(_BLANK, "").encode()


def _joined(raw: Sequence[bytes]) -> tuple[str, tuple[Place, ...]]:
    """Pieces one after the other as text; a letter whose bytes are spread over pieces belongs to each of them."""
    whole = b"".join(raw)
    text = whole.decode("utf-8", "replace")
    number: list[int] = []
    for index, letter in enumerate(text):
        number += [index] * len(letter.encode())
    if len(number) != len(whole):  # not valid UTF-8, which no known tokenizer writes
        number = [min(at, max(len(text) - 1, 0)) for at in range(len(whole))]
    spans: list[Place] = []
    at = 0
    for piece in raw:
        end = at + len(piece)
        spans.append((number[at], number[end - 1] + 1) if piece else (0, 0))
        at = end
    return text, tuple(spans)
