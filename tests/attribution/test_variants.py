"""Texts without some of their tokens: each way of taking them out against its definition, on every family of towers."""

import pytest
import torch

from attribution.small import FAMILIES, ONE_PIECE, custom, family, library
from clipsight.attribution.asking import AttributionRunner
from clipsight.attribution.marks import marks_of
from clipsight.attribution.match import Match
from clipsight.attribution.passes import run
from clipsight.attribution.question import Question, opened
from clipsight.attribution.registry import get_attribution
from clipsight.attribution.variants import Removal, as_rows, encode_variants
from clipsight.towers.open_clip_text import OpenClipText

CLOSE = {"atol": 2e-5, "rtol": 1e-5}
GROUPS = ([[1], [2, 3]], [[1]], [[1, 3], [2]], [[2]], [[3]])


def asked(view, ids):
    """The question as `attribute` puts it, cut where that is exact."""
    method = get_attribution("attention")
    parts = opened(view)
    asker = AttributionRunner(view=view, parts=parts, method=method, options={}, live=False, batch=64)
    length = asker._length(ids)
    marks = marks_of(parts, ids).of(slice(None), length)
    return Question(
        view=view, parts=parts, ids=ids[:, :length], given_ids=ids, marks=marks, match=Match(image=None)
    )


def rows(question):
    """Every text whole, then without each of its groups, as far as they are words."""
    words = question.marks.content.tolist()
    groups = [
        [group for group in mine if all(content[place] for place in group)]
        for mine, content in zip(GROUPS, words, strict=False)
    ]
    return as_rows(groups, question.ids)


@pytest.mark.parametrize("name", [*FAMILIES, *ONE_PIECE])
@torch.no_grad()
def test_embeddings_zeroed_or_replaced_by_the_mean(name):
    _, view, ids = family(name)
    question = asked(view, ids)
    owner, removed = rows(question)
    parts, full = view.parts(), torch.nn.functional.pad(removed, (0, ids.shape[1] - removed.shape[1]))
    tokens = parts.tokens(ids)[owner]
    for how, instead in (
        (Removal(op="zero_emb"), torch.zeros_like(parts.mean_token())),
        (Removal(op="mask_token", mask_id="mean"), parts.mean_token()),
    ):
        altered = torch.where(full[..., None], instead, tokens)
        expected = run(parts, ids[owner], tokens=altered)
        made = encode_variants(question, owner, removed, how)
        torch.testing.assert_close(made, expected, **CLOSE)
        assert (made[len(ids) :] - made[owner[len(ids) :]]).abs().max() > 1e-3
        torch.testing.assert_close(encode_variants(question, owner, removed, how, batch=3), made, **CLOSE)


@pytest.mark.parametrize("name", [*FAMILIES, *ONE_PIECE])
@torch.no_grad()
def test_another_token_in_its_place_is_the_library_on_other_ids(name):
    module, view, ids = family(name)
    question = asked(view, ids)
    owner, removed = rows(question)
    made = encode_variants(question, owner, removed, Removal(op="mask_token", mask_id=5))
    expected = ids[owner].clone()
    expected[:, : removed.shape[1]][removed] = 5
    torch.testing.assert_close(made, library(module, view, expected), **CLOSE)


@pytest.mark.parametrize("name", [*FAMILIES, *ONE_PIECE])
@torch.no_grad()
def test_dropped_tokens_are_the_library_on_shorter_texts(name):
    module, view, ids = family(name)
    question = asked(view, ids)
    owner, removed = rows(question)
    made = encode_variants(question, owner, removed, Removal(op="drop"))
    for row, text, gone in zip(made, owner.tolist(), removed, strict=True):
        out = gone.nonzero().flatten().tolist()
        kept = [token for place, token in enumerate(ids[text].tolist()) if place not in out]
        kept += [ids[text, -1].item()] * (ids.shape[1] - len(kept))
        theirs = library(module, view, torch.tensor([kept]))[0]
        torch.testing.assert_close(row, theirs, **CLOSE)


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_blocked_keys_are_attention_without_them(name):
    _, view, ids = family(name)
    question = asked(view, ids)
    owner, removed = rows(question)
    made = encode_variants(question, owner, removed, Removal(op="key_block"))
    parts = view.parts()
    size = parts.entered(parts.tokens(question.ids)).shape[1]
    out = torch.nn.functional.pad(removed, (0, size - removed.shape[1]))
    seen = parts.visible(question.ids)
    expected = []
    for text, gone in zip(owner.tolist(), out, strict=True):
        x = parts.entered(parts.tokens(question.ids[[text]]))
        for block in parts.blocks:
            q, k, v = block.qkv(block.norm1(x))
            scores = block.scale * (q @ k.mT)
            if seen is not None:
                scores = scores.masked_fill(~seen.expand(len(ids), -1, -1)[text], -torch.inf)
            weights = scores.masked_fill(gone, -torch.inf).softmax(-1)
            x = x + block.merge(weights @ v)
            x = x + block.ffn(x)
        expected.append(parts.readout(x[0, parts.pooled(question.ids[[text]])[0]]))
    torch.testing.assert_close(made, torch.stack(expected), **CLOSE)


@pytest.mark.parametrize("name", ONE_PIECE)
@torch.no_grad()
def test_blocked_keys_of_a_hugging_face_tower_hide_the_token(name):
    _, view, ids = family(name)
    question = asked(view, ids)
    owner, removed = torch.zeros(2, dtype=torch.long), torch.zeros(2, question.ids.shape[1], dtype=torch.bool)
    removed[1, 1] = True
    made = encode_variants(question, owner, removed, Removal(op="key_block"))
    assert (made[0] - made[1]).abs().max() > 1e-3
    blocked = run(view.parts(), ids[:1], hidden=torch.arange(ids.shape[1])[None] == 1)
    torch.testing.assert_close(made[1:], blocked, **CLOSE)


@torch.no_grad()
def test_fading_shrinks_what_enters():
    for name in ("clip", "both ways, last", "class token", "roberta-ViT-B-32"):
        _, view, ids = family(name)
        question = asked(view, ids)
        owner, removed = rows(question)
        made = encode_variants(question, owner, removed, Removal(op="fade", rest=0.75))
        parts, tokens = view.parts(), view.parts().tokens(question.ids)[owner]
        if name == "roberta-ViT-B-32":
            tokens[removed] *= 0.75
            expected = run(parts, question.ids[owner], tokens=tokens)
        else:
            entered = parts.entered(tokens)
            entered[:, : removed.shape[1]][removed] *= 0.75
            expected = run(parts, question.ids[owner], entered=entered)
        torch.testing.assert_close(made, expected, **CLOSE)


@torch.no_grad()
def test_a_whole_context_cannot_be_shortened_without_padding():
    view = OpenClipText(custom(no_causal_mask=True, pool_type="last"))
    full = torch.arange(12)[None] + 9
    question = asked(view, full)
    owner, removed = as_rows([[[2]]], full)
    with pytest.raises(ValueError, match="pad_id="):
        encode_variants(question, owner, removed, Removal(op="drop"))
    made = encode_variants(question, owner, removed, Removal(op="drop", pad_id=0))
    shorter = torch.tensor([[9, 10, *range(12, 21), 0]])
    torch.testing.assert_close(made[1:], view.encode(shorter), **CLOSE)
