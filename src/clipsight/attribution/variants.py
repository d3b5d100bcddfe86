"""Texts with some of their tokens removed, encoded efficiently: shared prefixes once, no padding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from clipsight.attribution.passes import run
from clipsight.attribution.question import Question
from clipsight.towers.token_tree import encode_tree, token_tree
from clipsight.towers.view import OnePieceText, TextParts

Operator = Literal["zero_emb", "mask_token", "drop", "key_block"]


@dataclass(frozen=True, kw_only=True)
class Removal:
    """How a token is removed.

    Attributes:
        op: "zero_emb" zeroes its embedding and keeps its position; "mask_token" puts another token there; "drop"
            deletes it and closes the gap, so that later ones move up; "key_block" leaves it and lets nobody attend to
            it (the start and the end token are no words and never blocked); "fade" shrinks what enters the first block.
        mask_id: token put in its place, or "mean" for the mean of all embeddings. CLIP has no mask token, 0 is its
            padding; in other vocabularies 0 may be anything.
        pad_id: what fills up a shortened text on towers that read whole contexts; None: what its row ends with.
        rest: for "fade", the share that stays.
    """

    op: Operator | Literal["fade"]
    mask_id: int | Literal["mean"] = 0
    pad_id: int | None = None
    rest: float = 0.0

    def __post_init__(self) -> None:
        if self.op not in (*get_args(Operator), "fade"):
            raise ValueError(f'op is {self.op!r}; it is "zero_emb", "mask_token", "drop" or "key_block".')
        if not isinstance(self.mask_id, int) and self.mask_id != "mean":
            raise ValueError(f'mask_id is {self.mask_id!r}; it is a token id or "mean".')


def encode_variants(
    question: Question,
    owner: Int[Tensor, " N"],
    removed: Bool[Tensor, "N S"],
    how: Removal,
    batch: int = 1024,
) -> Float[Tensor, "N E"]:
    """Features, not L2-normalised, of the texts `owner` without their `removed` tokens.

    Args:
        question: gives tower and ids.
        owner: text of each variant; variants of one text best stand together, the shared beginning longest first.
        removed: True at the positions to remove; a row without any is the text itself.
        how: what taking out means.
        batch: variants encoded at a time, the memory knob (not with a live graph, which holds all of them).

    Raises:
        ValueError: see `Removal`; a whole context without padding that would have to be filled.
    """
    made = [
        _encode(question, owner[start : start + batch], removed[start : start + batch], how)
        for start in range(0, len(owner), batch)
    ]
    return torch.cat(made) if len(made) > 1 else made[0]


def whole_and_without(
    question: Question, groups: Sequence[Sequence[Sequence[int]]], how: Removal, batch: int = 1024
) -> tuple[Int[Tensor, " N"], Float[Tensor, "N E"]]:
    """(owner, features) of the T texts themselves, and behind them of a variant without each group, text after text."""
    if question.shared is None:
        owner, removed = as_rows(groups, question.ids)
        return owner, encode_variants(question, owner, removed, how, batch)
    texts = torch.arange(len(question.ids), device=question.ids.device)
    owner, removed = as_rows(groups, question.ids, whole_first=False)
    whole = question.shared.features
    if not len(owner):
        return texts, whole
    return torch.cat([texts, owner]), torch.cat(
        [whole, encode_variants(question, owner, removed, how, batch)]
    )


def as_rows(
    groups: Sequence[Sequence[Sequence[int]]], like: Int[Tensor, "T S"], *, whole_first: bool = True
) -> tuple[Int[Tensor, " N"], Bool[Tensor, "N S"]]:
    """One variant for each group, text after text; `whole_first` puts the T texts themselves before them."""
    whole = [(text, ()) for text in range(len(groups))] if whole_first else []
    rows = whole + [(text, group) for text, mine in enumerate(groups) for group in mine]
    removed = torch.zeros(len(rows), like.shape[1], dtype=torch.bool)
    for row, (_, group) in zip(removed, rows, strict=True):
        row[list(group)] = True
    owner = torch.tensor([text for text, _ in rows], dtype=torch.long)
    return owner.to(like.device), removed.to(like.device)


def _encode(
    question: Question, owner: Int[Tensor, " N"], removed: Bool[Tensor, "N S"], how: Removal
) -> Float[Tensor, "N E"]:
    ids, parts = question.ids[owner], question.parts
    if how.op == "drop":
        return question.view.encode(_dropped(question, ids, owner, removed, how))
    if how.op == "mask_token" and isinstance(how.mask_id, int):
        return question.view.encode(ids.masked_fill(removed, how.mask_id))
    several = len(owner) > len(owner.unique())  # a variant alone shares its beginning with no other
    if isinstance(parts, TextParts) and parts.cuttable and several:
        return _along_tree(parts, ids, removed, how)
    assert parts is not None  # `why_not` refused what cannot be opened
    if how.op == "key_block":
        return run(parts, ids, hidden=removed)
    return _altered(parts, ids, removed, how)


def _along_tree(
    parts: TextParts, ids: Int[Tensor, "N S"], removed: Bool[Tensor, "N S"], how: Removal
) -> Float[Tensor, "N E"]:
    """On causal towers: a taken-out token is a token of its own kind, so that beginnings without one stay shared."""
    kinds = int(ids.max()) + 1
    tree = token_tree(ids + kinds * removed, parts.pooled(ids)).to(ids.device)
    out, tokens = tree.tokens >= kinds, parts.tokens(tree.tokens % kinds)
    if how.op in ("zero_emb", "mask_token"):
        tokens = torch.where(out[:, None], _instead(parts, how, tokens), tokens)
    states = tokens + parts.positions(tree.positions)
    if how.op == "fade":
        states = torch.where(out[:, None], how.rest * states, states)
    hidden = out if how.op == "key_block" else None
    return parts.readout(encode_tree(tree, states, parts.blocks, hidden))


def _altered(
    parts: TextParts | OnePieceText, ids: Int[Tensor, "N S"], removed: Bool[Tensor, "N S"], how: Removal
) -> Float[Tensor, "N E"]:
    """On towers that read whole contexts: every variant from its first token on."""
    tokens = parts.tokens(ids)
    if how.op != "fade":
        return run(parts, ids, tokens=torch.where(removed[..., None], _instead(parts, how, tokens), tokens))
    if isinstance(parts, OnePieceText):  # its positions cannot be reached
        return run(parts, ids, tokens=torch.where(removed[..., None], how.rest * tokens, tokens))
    entered = parts.entered(tokens)
    faded = torch.nn.functional.pad(removed, (0, entered.shape[1] - ids.shape[1]))
    return run(parts, ids, entered=torch.where(faded[..., None], how.rest * entered, entered))


def _instead(
    parts: TextParts | OnePieceText, how: Removal, like: Float[Tensor, "*any D"]
) -> Float[Tensor, " D"]:
    """The embedding that a removed token gets."""
    return parts.mean_token().to(like) if how.op == "mask_token" else like.new_zeros(like.shape[-1])


def _dropped(
    question: Question,
    ids: Int[Tensor, "N S"],
    owner: Int[Tensor, " N"],
    removed: Bool[Tensor, "N S"],
    how: Removal,
) -> Int[Tensor, "N S"]:
    """The remaining ids moved up, padded behind."""
    order = removed.int().argsort(stable=True, dim=-1)
    moved, kept = ids.gather(-1, order), (~removed).sum(-1, keepdim=True)
    behind = torch.arange(ids.shape[1], device=ids.device) >= kept
    parts, pad_id = question.parts, how.pad_id
    if isinstance(parts, TextParts) and parts.cuttable:
        pad_id = 0  # behind the end token nothing is read
    elif pad_id is None and isinstance(parts, OnePieceText):
        pad_id = parts.pad_id
    if pad_id is None and not question.marks.padding[owner, -1][removed.any(-1)].all():
        raise ValueError(
            'op="drop" shortens a text that fills its whole context, and this tower reads padding too; say what it is '
            "padded with: pad_id=…, the padding id of its tokenizer."
        )
    filling = ids[:, -1:] if pad_id is None else torch.full_like(kept, pad_id)
    return torch.where(behind, filling, moved)
