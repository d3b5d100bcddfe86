"""Captions as a model reads them: token ids, and whose words the tokens are."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from clipsight.language.spans import CaptionPart, CaptionTokens, caption_parts, caption_tokens, shares
from clipsight.language.tokens import Tokenizer, tokenize


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadCaptions:
    """T captions, read.

    Attributes:
        ids: padded to the context.
        found: what each position holds. parts: words and marks of each caption, in order.
        tables: of each caption, which share of each token lies in each part.
    """

    ids: Int[Tensor, "T S"]
    found: tuple[CaptionTokens, ...]
    parts: tuple[tuple[CaptionPart, ...], ...]
    tables: tuple[Float[Tensor, "_ S"], ...]

    @property
    def content(self) -> Bool[Tensor, "T S"]:
        """True at the captions' own tokens."""
        return torch.tensor([[kind == "text" for kind in one.kinds] for one in self.found])

    def groups(self, row: int) -> list[list[int]]:
        """Token positions of each part of a caption; see `groups_of`."""
        return groups_of(self.tables[row])


def read_captions(tokenizer: Tokenizer | None, captions: Sequence[str], context: int) -> ReadCaptions:
    """Read captions with a model's tokenizer; one that is cut is warned of, see `tokenize`.

    Raises:
        ValueError: a caption in which the tokenizer finds nothing.
        Unsupported: no tokenizer, or one that says nothing of its tokens.
    """
    ids = tokenize(tokenizer, captions, context)
    assert tokenizer is not None  # `tokenize` refuses to go without
    found = tuple(caption_tokens(tokenizer, caption, row) for caption, row in zip(captions, ids, strict=True))
    parts = tuple(caption_parts(one) for one in found)
    return ReadCaptions(ids=ids, found=found, parts=parts, tables=tuple(map(shares, found, parts)))


def groups_of(table: Float[Tensor, "P S"]) -> list[list[int]]:
    """Token positions of each part, none in two: a token in several parts goes to the one that has most of it.

    Args:
        table: of `shares`.
    """
    groups: list[list[int]] = [[] for _ in table]
    for position, column in enumerate(table.T):
        if len(column) and float(column.max()) > 0:
            groups[int(column.argmax())].append(position)
    return groups
