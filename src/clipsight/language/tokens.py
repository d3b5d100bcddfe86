"""From texts to token ids: which texts are refused, which are cut, and the warning for a cut."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from clipsight.errors import ClipsightWarning, Unsupported

Tokenizer = Callable[..., Tensor]
"""An open_clip tokenizer: `tokenizer(texts, context_length=…)` gives (T, context) ids, end token kept when cut."""


_LONGEST_WORD = 10_000
"""Characters without a blank; tokenizers merge a word pair by pair, in time that grows as the square of its length."""


def check_texts(texts: Sequence[str], tokenizer: Tokenizer | None = None) -> tuple[str, ...]:
    """Check the user's texts; with a tokenizer, also that each consists of words and only words.

    Raises:
        TypeError: one string instead of a list, or something that is not a string in it.
        ValueError: no texts; a text that is empty, only blanks or control characters, not valid Unicode, holds a
            token by which the model knows where a text begins and ends, or a word of more than 10,000 characters.
    """
    if isinstance(texts, str):
        shown = _quoted(texts)
        raise TypeError(f"texts is one string, {shown}; pass a list of texts: [{shown}].")
    if isinstance(texts, bytes | bytearray) or not isinstance(texts, Iterable):
        raise TypeError(
            f'texts is a {type(texts).__name__}, {_quoted(texts)}; pass a list of strings, as in ["a dog"].'
        )
    checked = tuple(texts)
    if not checked:
        raise ValueError('texts is empty; pass at least one, as in ["a dog"].')
    for index, text in enumerate(checked):
        if not isinstance(text, str):
            raise TypeError(f"text {index} is a {type(text).__name__}, {_quoted(text)}; texts are strings.")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"text {index}, {_quoted(text)}, holds half of a surrogate pair, which is not valid Unicode; it was "
                "probably decoded with the wrong codec. Read it as UTF-8."
            ) from None
        words = text.split()
        if not words:
            raise ValueError(f"text {index} is {_quoted(text)}: {_NO_WORD}")
        if (longest := max(map(len, words))) > _LONGEST_WORD:
            raise ValueError(
                f"text {index}, {_quoted(text)}, holds a word of {longest:,} characters; texts are words with blanks "
                "between them, of which a model reads some dozens."
            )
        if tokenizer is not None:
            _check_tokens(text, tokenizer)
    return checked


_NO_WORD = "there is no word in it to look for; write one or drop it."


def _check_tokens(text: str, tokenizer: Tokenizer) -> None:
    """Refuse a text that the tokenizer finds nothing in, or the special tokens of the model. Only open_clip's own."""
    encode: Callable[[str], Sequence[int]] | None = getattr(tokenizer, "encode", None)
    if encode is not None:
        check_tokens(text, encode(text), tokenizer)


def check_tokens(text: str, tokens: Sequence[int], tokenizer: Tokenizer) -> None:
    """Refuse a text with no tokens of its own, or with special tokens of the model among them."""
    if not len(tokens):
        raise ValueError(f"the tokenizer finds nothing in the text {_quoted(text)}: {_NO_WORD}")
    special = set(getattr(tokenizer, "all_special_ids", ())).intersection(tokens)
    if special:
        name = getattr(tokenizer, "decoder", {}).get(min(special), "a special token")
        raise ValueError(
            f"the text {_quoted(text)} holds {name}, by which the model knows where a text begins and ends: what "
            "follows would not be seen; take it out."
        )


def tokenize(tokenizer: Tokenizer | None, texts: Sequence[str], context: int) -> Int[Tensor, "T S"]:
    """Token ids of any strings, "" included, padded to the context as the tokenizer pads.

    A text longer than the context loses its tail and keeps its end token; one `ClipsightWarning` per call shows what
    was lost.

    Args:
        tokenizer: the model's tokenizer; None for a model without one.
        texts: one or more strings.
        context: token positions of the model.

    Raises:
        Unsupported: there is no tokenizer.
    """
    if tokenizer is None:
        raise Unsupported(
            "this model has no tokenizer: it came without, and its vocabulary has not the size of CLIP's. To ask "
            "with strings name one: clipsight.load(…, tokenizer=NAME), with an open_clip architecture, hf:org/name, a "
            "folder or a callable. (lens.encode_text also takes token ids, and lens.maps what it gives.)"
        )
    ids = tokenizer(list(texts), context_length=context)
    tails = _tails(tokenizer, texts, ids, context)
    if tails:
        index = min(tails)
        more = f" (and {len(tails) - 1} more)" if len(tails) > 1 else ""
        warnings.warn(
            f"text {_quoted(texts[index])}{more} is longer than the model's {context} tokens: its end is not seen, "
            f"dropped: {_quoted(tails[index])}. Shorten it, or split it into several texts.",
            ClipsightWarning,
            stacklevel=2,
        )
    return ids


def dropped_tails(tokenizer: Tokenizer, texts: Sequence[str], context: int) -> tuple[str, ...]:
    """The words of each text that the context cuts off, "" for none; in lower case if the tokenizer lowers."""
    tails = _tails(tokenizer, texts, tokenizer(list(texts), context_length=context), context)
    return tuple(tails.get(index, "") for index in range(len(texts)))


def _tails(tokenizer: Any, texts: Sequence[str], ids: Int[Tensor, "T S"], context: int) -> dict[int, str]:
    """Index of each cut text -> what was cut off. Only a row without padding can have lost something."""
    inner = getattr(tokenizer, "tokenizer", tokenizer)
    padding = getattr(inner, "pad_token_id", None) or 0
    tails = {}
    for index in torch.nonzero(ids[:, -1] != padding).flatten().tolist():
        if inner is tokenizer and not (hasattr(tokenizer, "encode") and hasattr(tokenizer, "decode")):
            continue  # somebody's function, which does not say what it cuts off
        if inner is tokenizer:
            tokens = tokenizer.encode(texts[index])
            dropped = tokens[context - 2 :]  # start and end token take two positions
        else:
            tokens = inner(texts[index], truncation=False)["input_ids"]
            dropped = tokens[context - 1 : -1]
        if dropped:
            tails[index] = inner.decode(dropped).strip()
    return tails


def _quoted(value: object, most: int = 60) -> str:
    if isinstance(value, str):
        return repr(value if len(value) <= most else value[: most - 1] + "…")
    shown = " ".join(repr(value).split())
    return shown if len(shown) <= most else shown[: most - 1] + "…"
