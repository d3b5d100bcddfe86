"""Captions as a model reads them: token ids, the text of each token, and the words they belong to."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from clipsight.language.spans import CaptionPart, CaptionTokens, caption_parts, caption_tokens, shares
from clipsight.language.tokens import Tokenizer, check_tokens, tokenize


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadCaption:
    """A caption, encoded and aligned once for all questions about its words.

    Attributes:
        ids: padded to the context.
        found: what each position holds.
        parts: words and marks that the model sees, in order.
        table: which share of each token lies in each part.
    """

    ids: Int[Tensor, " S"]
    found: CaptionTokens
    parts: tuple[CaptionPart, ...]
    table: Float[Tensor, "P S"]

    @property
    def caption(self) -> str:
        """The text as given."""
        return self.found.caption

    @property
    def content(self) -> Bool[Tensor, " S"]:
        """True at the caption's own tokens."""
        return torch.tensor([kind == "text" for kind in self.found.kinds])

    @property
    def used(self) -> int:
        """Number of positions up to and including the end token."""
        return self.found.kinds.index("end") + 1 if "end" in self.found.kinds else len(self.ids)

    @cached_property
    def groups(self) -> list[list[int]]:
        """Token positions of each part; see `groups_of`."""
        return groups_of(self.table)

    @property
    def words(self) -> list[tuple[CaptionPart, list[int]]]:
        """The words without the marks, each with its token positions."""
        pairs = zip(self.parts, self.groups, strict=True)
        return [(part, group) for part, group in pairs if part.kind == "word"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadCaptions:
    """T captions, read with one tokenizer to one context."""

    each: tuple[ReadCaption, ...]

    def __len__(self) -> int:
        """How many captions."""
        return len(self.each)

    @cached_property
    def ids(self) -> Int[Tensor, "T S"]:
        """Token ids of all captions."""
        return torch.stack([one.ids for one in self.each])

    @cached_property
    def content(self) -> Bool[Tensor, "T S"]:
        """True at the captions' own tokens."""
        return torch.stack([one.content for one in self.each])

    @property
    def found(self) -> tuple[CaptionTokens, ...]:
        """What each position of each caption holds."""
        return tuple(one.found for one in self.each)


def read_captions(tokenizer: Tokenizer | None, captions: Sequence[str], context: int) -> ReadCaptions:
    """Read captions with a model's tokenizer, with a warning for any that is cut; see `tokenize`.

    Args:
        tokenizer: any that says which characters its tokens stand for; see `clipsight.language.pieces`.
        captions: at least one.
        context: token positions of the model.

    Raises:
        ValueError: a caption in which the tokenizer finds nothing, or special tokens of the model.
        Unsupported: no tokenizer, or one that says nothing of its tokens.
    """
    ids = tokenize(tokenizer, captions, context)
    assert tokenizer is not None  # `tokenize` refuses to go without
    each = []
    for caption, row in zip(captions, ids, strict=True):
        found = caption_tokens(tokenizer, caption, row)
        check_tokens(caption, [int(row[at]) for at in found.numbers("text")], tokenizer)
        parts = caption_parts(found)
        each.append(ReadCaption(ids=row, found=found, parts=parts, table=shares(found, parts)))
    return ReadCaptions(each=tuple(each))


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
