"""What a sentence sees: its own tokens as the texts, so that every word has a map and a score.

Token features are every position of the text tower after its final norm and projection, start and end token included.
Feature surgery across them takes away what all of them share; a word's map is the mean of its tokens' maps, and its
score the mean of its map. Source: the author of arXiv 2304.05653 in issue 5 of xmed-lab/CLIP_Surgery; which number the
paper's figure shows for a word is not published, so the score is ours.

Not claimed: that a token's feature means something in the joint space. Only the end token's was trained to, and in a
causal tower a word knows the words before it alone.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from clipsight.errors import Unsupported
from clipsight.language.tokens import Tokenizer, check_texts, tokenize
from clipsight.scoring import feature_surgery
from clipsight.towers.view import TextView

_END_OF_WORD = "</w>"


@dataclass(frozen=True, kw_only=True)
class SentenceWord:
    """A word of a sentence, or a mark of punctuation, as the tokenizer parts them.

    Attributes:
        text: as it stands in the sentence.
        span: (start, end) characters in the sentence.
        tokens: positions of its tokens among the model's, 0 being the start token.
    """

    text: str
    span: tuple[int, int]
    tokens: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class SentenceView:
    """A picture asked with each word of a sentence.

    Attributes:
        sentence: as given. words: those that the model sees, in order.
        scores: mean of each word's map over the patches. Scores of all tokens, start and end included, sum to 0.
        maps: surgered maps of the words, signed, float32.
        token_maps: of every token, start and end included.
    """

    sentence: str
    words: tuple[SentenceWord, ...]
    scores: Float[Tensor, " W"]
    maps: Float[Tensor, "W h w"]
    token_maps: Float[Tensor, "S h w"]

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The `k` highest (word, score) pairs, highest first; all of them when there are fewer."""
        order = self.scores.argsort(descending=True, stable=True)[: max(k, 0)]
        return [(self.words[index].text, float(self.scores[index])) for index in order.tolist()]


def explain_sentence(
    patches: Float[Tensor, "1 h w E"],
    pooled: Float[Tensor, "1 E"],
    view: TextView,
    tokenizer: Tokenizer | None,
    sentence: str,
) -> SentenceView:
    """Which words of the sentence does the picture bear out, and where?

    Args:
        patches, pooled: features of the picture, any length; CLIP Surgery's recipe is meant.
        view: the text tower; it must let single tokens be read.
        tokenizer: its tokenizer.
        sentence: one sentence or phrase; what is beyond the context is warned of and left out.

    Raises:
        TypeError, ValueError: not a string, or no word in it.
        Unsupported: no tokenizer, one whose tokens cannot be told by word, or a tower that hides its tokens.
    """
    (sentence,) = check_texts([sentence], tokenizer)
    ids = tokenize(tokenizer, [sentence], view.context)
    words = sentence_words(tokenizer, sentence, ids[0])
    if not words:
        raise ValueError(f"the tokenizer finds no word in {sentence!r}; write one.")
    used = words[-1].tokens[-1] + 2  # and the end token
    with torch.no_grad():
        tokens = view.token_features(ids[:, :used] if view.cuttable else ids)[0, :used]
    token_maps = feature_surgery(patches, pooled, tokens.to(patches.device))[0]
    maps = word_maps(token_maps, words)
    return SentenceView(
        sentence=sentence,
        words=words,
        scores=maps.mean((1, 2)),
        maps=maps,
        token_maps=token_maps,
    )


def word_maps(token_maps: Float[Tensor, "S h w"], words: tuple[SentenceWord, ...]) -> Float[Tensor, "W h w"]:
    """The mean map of each word's tokens: a word in many pieces weighs no more than a word in one."""
    return torch.stack([token_maps[list(word.tokens)].mean(0) for word in words])


def sentence_words(
    tokenizer: Tokenizer | None, sentence: str, ids: Int[Tensor, " S"]
) -> tuple[SentenceWord, ...]:
    """Words of a sentence with the characters and the tokens they take, for CLIP's own byte-pair tokenizer.

    Spans are found by reading the sentence along with the tokens, case left aside. A word that the tokenizer rewrites
    (an HTML entity, damaged Unicode) gets the characters between its neighbours.

    Args:
        tokenizer: open_clip's `SimpleTokenizer`.
        sentence: the text.
        ids: what the tokenizer made of it, start token first; a word cut off by the context is left out.

    Raises:
        Unsupported: another tokenizer, or one that drops tokens on the way.
    """
    pieces, letters = _pieces(tokenizer, sentence, ids)
    lowered = "".join(char.lower() for char in sentence)
    origin = [index for index, char in enumerate(sentence) for _ in char.lower()]
    written, groups = [], []
    group: list[int] = []
    for position, piece in enumerate(pieces, 1):
        group.append(position)
        if piece.endswith(_END_OF_WORD):
            said = "".join(pieces[index - 1] for index in group).removesuffix(_END_OF_WORD)
            written.append(bytearray(letters[char] for char in said).decode("utf-8", "replace").lower())
            groups.append(tuple(group))
            group = []
    places = _places(lowered, written)
    found = []
    for (start, end), tokens in zip(places, groups, strict=True):
        span = (origin[start], origin[end - 1] + 1) if end > start else (0, 0)
        found.append(SentenceWord(text=sentence[slice(*span)], span=span, tokens=tokens))
    return tuple(found)


def _pieces(tokenizer: Any, sentence: str, ids: Int[Tensor, " S"]) -> tuple[list[str], dict[str, int]]:
    """The pieces between start and end token as the vocabulary writes them, and what its letters stand for."""
    if not all(hasattr(tokenizer, part) for part in ("encode", "decoder", "byte_decoder")):
        raise Unsupported(
            f"words cannot be told from the tokens of {type(tokenizer).__name__}: only CLIP's own byte-pair tokenizer "
            "(open_clip's SimpleTokenizer) says where a word ends. Ask with whole texts instead: lens.explain."
        )
    tokens = tokenizer.encode(sentence)[: len(ids) - 2]
    if ids[1 : 1 + len(tokens)].tolist() != tokens:
        raise Unsupported(
            "this model's tokenizer leaves tokens out or puts them in another order (its text masking), so that words "
            "cannot be told from them. Ask with whole texts instead: lens.explain."
        )
    return [tokenizer.decoder[token] for token in tokens], tokenizer.byte_decoder


def _places(text: str, words: list[str]) -> list[tuple[int, int]]:
    """(start, end) of every word in the text, in order; what cannot be found lies between its neighbours."""
    found: list[tuple[int, int] | None] = []
    at = 0
    for word in words:
        start = text.find(word, at)
        found.append(None if start < 0 else (start, start + len(word)))
        at = at if start < 0 else start + len(word)
    places: list[tuple[int, int]] = []
    for index, place in enumerate(found):
        if place is None:
            begin = places[-1][1] if places else 0
            end = next((later[0] for later in found[index + 1 :] if later is not None), len(text))
            inner = text[begin:end]
            place = begin + len(inner) - len(inner.lstrip()), begin + len(inner.rstrip())
        places.append(place if place[1] > place[0] else (place[0], place[0]))
    return places
