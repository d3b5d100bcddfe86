"""The text tower view: equal to the library in both layouts, cut only where that is exact."""

import copy
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from safetensors.torch import load_file
from torch import nn

from clipsight.errors import Unsupported
from clipsight.towers import token_tree as tree_module
from clipsight.towers.open_clip_text import OpenClipText
from clipsight.towers.token_tree import token_tree
from clipsight.towers.view import BlockView, TextView
from tiny import TINY_TEXT, TINY_VISION, needs_options, tiny_clip

GOLDENS = Path(__file__).parents[3] / "shared" / "goldens"
TEXTS = [
    "a dog",
    "a dog left of a red car",
    "a",
    "a dog",
    "",
    "two cats on a mat, and a very old clock behind them",
]
EOS = 7


def custom(seed: int = 0, **text: object) -> open_clip.CustomTextCLIP:
    """A small CustomTextCLIP with ids below 50."""
    settings = {**TINY_TEXT, "vocab_size": 50, "context_length": 12, "eos_id": EOS, **text}
    needs_options(settings)
    torch.manual_seed(seed)
    return open_clip.CustomTextCLIP(32, CLIPVisionCfg(**TINY_VISION), CLIPTextCfg(**settings)).eval()


def ids_with_end(count: int = 9, length: int = 12, end: int = 49, seed: int = 0) -> torch.Tensor:
    """Random sequences that begin alike, end in `end` at random places and have noise behind it."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(8, 49, (count, length), generator=draw)
    ids[:, :2] = torch.tensor([48, 9])
    ids[torch.arange(count), torch.randint(2, length, (count,), generator=draw)] = end
    return ids


@pytest.fixture(scope="module")
def clip():
    return tiny_clip(seed=3)


@pytest.fixture(scope="module")
def ids():
    return open_clip.SimpleTokenizer(context_length=77)(TEXTS)


@torch.no_grad()
def test_equals_the_library(clip, ids):
    view = OpenClipText(clip)
    assert isinstance(view, TextView)
    assert all(isinstance(block, BlockView) for block in view.blocks)
    assert view.cuttable
    assert view.causal
    assert (view.context, view.width, view.embed_dim, len(view.blocks)) == (77, 64, 32, 3)
    torch.testing.assert_close(view.encode(ids), clip.encode_text(ids), atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("pool", ["argmax", "eos"])
@pytest.mark.parametrize("proj_bias", [False, True])
def test_equals_the_library_in_the_other_layout(pool, proj_bias):
    model = custom(pool_type=pool, proj_bias=proj_bias)
    ids = ids_with_end(end=49 if pool == "argmax" else EOS)
    view = OpenClipText(model)
    assert view.cuttable
    assert view.embed_dim == 32
    torch.testing.assert_close(view.encode(ids), model.encode_text(ids), atol=1e-5, rtol=0)


@torch.no_grad()
def test_no_end_token_at_all_is_pooled_as_the_library_does():
    model = custom(pool_type="eos")
    ids = ids_with_end(end=49)
    torch.testing.assert_close(OpenClipText(model).encode(ids), model.encode_text(ids), atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize(
    "text",
    [
        {"no_causal_mask": True},
        {"pool_type": "last"},
        {"pool_type": "first"},
        {"no_causal_mask": True, "pool_type": "last", "proj_bias": True},
        {"proj_type": "none", "width": 32, "pool_type": "last"},
        {"embed_cls": True},
    ],
    ids=str,
)
def test_towers_where_cutting_would_be_wrong_read_whole_contexts(text):
    model, ids = custom(**text), ids_with_end()
    view = OpenClipText(model)
    assert not (view.cuttable and view.blocks)
    torch.testing.assert_close(view.encode(ids), model.encode_text(ids), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="all of its 12 positions, got 11"):
        view.encode(ids[:, :11])


@torch.no_grad()
@pytest.mark.parametrize(
    "text", [{"qk_norm": True}, {"scale_heads": True, "scale_attn": True, "scale_fc": True}], ids=str
)
def test_custom_blocks_are_cut_and_shared_too(text):
    model, ids = custom(**text), ids_with_end()
    view = OpenClipText(model)
    assert view.cuttable
    assert view.blocks
    torch.testing.assert_close(view.encode(ids), model.encode_text(ids), atol=1e-5, rtol=0)


@torch.no_grad()
def test_cutting_a_bidirectional_tower_would_change_it():
    # The reason for `cuttable`: noise behind the end token matters there, and only there.
    noisy = ids_with_end()
    clean = torch.where(torch.arange(12) > noisy.argmax(-1, keepdim=True), 0, noisy)
    both_ways, causal = custom(no_causal_mask=True), custom()
    assert (both_ways.encode_text(noisy) - both_ways.encode_text(clean)).abs().max() > 1e-3
    torch.testing.assert_close(causal.encode_text(noisy), causal.encode_text(clean), atol=1e-5, rtol=0)


@torch.no_grad()
def test_shorter_ids_are_the_same_text(clip, ids):
    view = OpenClipText(clip)
    torch.testing.assert_close(view.encode(ids[:, :20]), clip.encode_text(ids), atol=1e-5, rtol=0)
    assert view.encode(ids[:0]).shape == (0, 32)


@torch.no_grad()
def test_token_features(clip, ids):
    view = OpenClipText(clip)
    features = view.token_features(ids)
    assert features.shape == (len(TEXTS), 77, 32)
    pooled = features[torch.arange(len(ids)), ids.argmax(-1)]
    torch.testing.assert_close(pooled, clip.encode_text(ids), atol=1e-5, rtol=0)
    torch.testing.assert_close(view.token_features(ids[:, :9]), features[:, :9], atol=1e-5, rtol=0)


@torch.no_grad()
def test_blocks_one_by_one_are_the_tower(clip, ids):
    view = OpenClipText(clip)
    x = view.embed(ids)
    for block in view.blocks:
        x = block(x, clip.attn_mask)
    x = clip.ln_final(x) @ clip.text_projection
    torch.testing.assert_close(x, view.token_features(ids), atol=1e-5, rtol=0)


def test_gradients_pass(clip, ids):
    view = OpenClipText(clip)
    weight = clip.transformer.resblocks[0].mlp.c_fc.weight
    (ours,) = torch.autograd.grad(view.encode(ids).square().sum(), weight)
    (theirs,) = torch.autograd.grad(clip.encode_text(ids).square().sum(), weight)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_bfloat16(clip, ids):
    half = copy.deepcopy(clip).bfloat16()
    made = OpenClipText(half).encode(ids)
    assert made.dtype == torch.bfloat16
    torch.testing.assert_close(made.float(), half.encode_text(ids).float(), atol=0.1, rtol=0.05)


def test_left_as_found(clip, ids):
    before = {name: tensor.clone() for name, tensor in clip.state_dict().items()}
    flags = [(part.training, dict(part._forward_hooks)) for part in clip.modules()]
    view = OpenClipText(clip)
    view.encode(ids)
    view.token_features(ids)
    with pytest.raises(ValueError, match="49408"):
        view.encode(ids + 49408)
    assert flags == [(part.training, dict(part._forward_hooks)) for part in clip.modules()]
    assert all(torch.equal(before[name], tensor) for name, tensor in clip.state_dict().items())


def test_what_is_refused(clip, ids):
    view = OpenClipText(clip)
    with pytest.raises(ValueError, match="80 token positions, this model has 77"):
        view.encode(torch.zeros(1, 80, dtype=torch.long))
    with pytest.raises(ValueError, match="another model's tokenizer"):
        view.embed(-ids)
    with pytest.raises(Unsupported, match="class token"):
        OpenClipText(custom(embed_cls=True)).token_features(ids_with_end())

    class Foreign(nn.Module):
        def __init__(self):
            super().__init__()
            self.text = nn.Linear(2, 2)

    foreign = OpenClipText(Foreign())
    assert not foreign.cuttable
    with pytest.raises(Unsupported, match="Linear"):
        foreign.embed(ids)


def test_tree_holds_each_beginning_once():
    ids = torch.tensor([[1, 2, 3, 9], [1, 2, 9, 0], [1, 2, 3, 9], [5, 9, 0, 0]])
    tree = token_tree(ids, torch.tensor([3, 2, 3, 1]))
    beginnings = {
        tuple(row[: p + 1].tolist())
        for row, end in zip(ids, (3, 2, 3, 1), strict=True)
        for p in range(end + 1)
    }
    assert len(tree.tokens) == len(beginnings) == 7
    assert tree.tokens[tree.ends].tolist() == [9, 9, 9, 9]
    assert tree.positions[tree.ends].tolist() == [3, 2, 3, 1]
    assert tree.ends[0] == tree.ends[2]
    rows = torch.cat([group.flatten() for group in tree.groups])
    assert torch.equal(rows[tree.node_row], torch.arange(7))
    assert torch.equal(rows[tree.end_row], tree.ends)


@torch.no_grad()
@pytest.mark.parametrize("rows", [1, 10, 64])
def test_attention_in_groups(monkeypatch, rows):
    monkeypatch.setattr(tree_module, "_GATHERED_ROWS", rows)
    model, ids = custom(), ids_with_end(count=40)
    torch.testing.assert_close(OpenClipText(model).encode(ids), model.encode_text(ids), atol=1e-5, rtol=0)


@pytest.mark.skipif(not GOLDENS.is_dir(), reason="the goldens lie beside the checkout, in ../shared/goldens")
@torch.no_grad()
@pytest.mark.parametrize(
    ("file", "tensor"),
    [("clip_raw", "text_features"), ("clip_surgery", "text_features"), ("clip_raw", "text_token_features")],
)
def test_goldens(file, tensor):
    torch.manual_seed(0)
    vision = CLIPVisionCfg(image_size=128, layers=12, width=128, head_width=64, patch_size=16)
    text = CLIPTextCfg(vocab_size=512, width=64, heads=1, layers=12)
    model = open_clip.CLIP(64, vision, text, quick_gelu=True).eval()
    model.load_state_dict({k: v.float() for k, v in load_file(GOLDENS / "weights.safetensors").items()})
    ids = load_file(GOLDENS / "inputs.safetensors")["token_ids"]
    golden = load_file(GOLDENS / f"{file}.safetensors")[f"token_ids/{tensor}"]
    view = OpenClipText(model)
    made = view.encode(ids) if tensor == "text_features" else view.token_features(ids)
    torch.testing.assert_close(made, golden, atol=1e-6 + 1e-4 * float(golden.abs().max()), rtol=0)
