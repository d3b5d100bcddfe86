"""Which positions of token ids are words, and which are the start token, the end token or padding."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from clipsight.towers.view import OnePieceText, TextParts


@dataclass(frozen=True, kw_only=True, eq=False)
class Marks:
    """The kind of each position: start token, end token, padding, or content.

    Attributes:
        start: tokens before the words. end: the token that closes them. padding: what is behind, or else no word.
    """

    start: Bool[Tensor, "T S"]
    end: Bool[Tensor, "T S"]
    padding: Bool[Tensor, "T S"]

    @property
    def content(self) -> Bool[Tensor, "T S"]:
        """The words' tokens."""
        return ~(self.start | self.end | self.padding)

    def of(self, rows: slice, length: int) -> "Marks":
        """The same for some of the texts, and the first positions alone."""
        return Marks(
            start=self.start[rows, :length], end=self.end[rows, :length], padding=self.padding[rows, :length]
        )


def marks_of(
    parts: TextParts | OnePieceText | None,
    ids: Int[Tensor, "T S"],
    content: Bool[Tensor, "T S"] | None = None,
) -> Marks:
    """What each position is.

    A tower that pools at an end token knows where texts end. Of others (SigLIP) the trailing run of one id is taken for
    padding, its end token included where they are the same id; their tokenizer knows better: give `content`.

    Args:
        parts: the opened tower, None when it cannot be opened.
        ids: token ids, as the tokenizer gave them.
        content: True at the tokens of words, False at special tokens, when the caller knows.
    """
    places = torch.arange(ids.shape[1], device=ids.device)
    if content is not None:
        content = content.to(ids.device)
        first = content.int().argmax(-1, keepdim=True)
        last = torch.where(content, places, -1).amax(-1, keepdim=True)
        # Of a text without words the start token is still before, the end token behind.
        last = torch.where(last < 0, first, last)
        start, end = (places < first) & ~content, (places == last + 1) & ~content
        return Marks(start=start, end=end, padding=~(content | start | end))
    ends = None if parts is None else parts.ends(ids)
    if ends is None:
        return _trailing_run(ids)
    assert parts is not None
    start = (places == 0) & parts.begins(ids)[:, None]
    return Marks(start=start, end=places == ends[:, None], padding=places > ends[:, None])


def _trailing_run(ids: Int[Tensor, "T S"]) -> Marks:
    same = (ids == ids[:, -1:]).flip(-1).int().cumprod(-1).flip(-1).bool()
    padding = same & (same.sum(-1, keepdim=True) > 1)
    none = torch.zeros_like(padding)
    return Marks(start=none, end=none, padding=padding)
