"""The image tower view: equal to the library, blind to nothing, leaving no trace."""

import copy

import open_clip
import pytest
import torch
from open_clip.model import resize_pos_embed
from open_clip.transformer import CustomResidualAttentionBlock
from torch import nn

from clipsight.errors import Unsupported
from clipsight.towers.families import towers_of
from clipsight.towers.open_clip_blocks import CustomBlock
from clipsight.towers.open_clip_resnet import OpenClipResNet
from clipsight.towers.open_clip_vit import OpenClipVision, unsupported_reason
from clipsight.towers.view import BlockView, VisionView
from tiny import pixels, tiny_clip


def trace(module: nn.Module) -> tuple[object, ...]:
    """Everything of a module that a view must leave as found."""
    state = {
        name: (id(t), t._version, t.detach().clone()) for name, t in module.state_dict(keep_vars=True).items()
    }
    flags = [
        (
            m.training,
            len(m._forward_hooks),
            len(m._forward_pre_hooks),
            len(m._backward_hooks),
            sorted(vars(m)),
        )
        for m in module.modules()
    ]
    gradients = [(p.requires_grad, p.grad is None) for p in module.parameters()]
    return state, flags, gradients


def assert_as_found(module: nn.Module, before: tuple[object, ...]) -> None:
    (state, *rest), (state_now, *rest_now) = before, trace(module)
    assert rest == rest_now
    assert state.keys() == state_now.keys()
    for name, (identity, version, values) in state.items():
        assert (identity, version) == state_now[name][:2], name
        assert torch.equal(values, state_now[name][2]), name


def look(model: nn.Module) -> VisionView:
    view = towers_of(model).vision
    assert view is not None
    return view


def resized(model: open_clip.CLIP, size: int | tuple[int, int]) -> open_clip.CLIP:
    """The library's own way to another size: a model built for it, the checkpoint loaded with resized positions."""
    other, state = tiny_clip(image_size=size), dict(model.state_dict())
    resize_pos_embed(state, other)
    other.load_state_dict(state)
    return other


@pytest.mark.parametrize(
    "vision",
    [
        {},
        {"ls_init_value": 0.3},
        {"no_ln_pre": True},
        {"patch_size": (16, 32)},
        {"final_ln_after_pool": True},
        {"image_size": (64, 96)},
        {"pool_type": "avg"},
        {"pool_type": "avg", "final_ln_after_pool": True},
        {"attentional_pool": True, "attn_pooler_heads": 2, "attn_pooler_queries": 5},
        {"attentional_pool": True, "attn_pooler_heads": 2, "attn_pooler_queries": 5, "pool_type": "avg"},
        {"qk_norm": True},
        {"scale_heads": True, "scale_attn_inner": True, "scale_attn": True, "scale_fc": True},
        {"qk_norm": True, "ls_init_value": 0.3, "scale_heads": True},
        {"layers": (1, 2, 1, 1), "patch_size": None, "width": 16, "image_size": 96},
    ],
    ids=str,
)
@torch.inference_mode()
def test_plain_view_is_bit_equal_to_encode_image(vision):
    model = tiny_clip(**vision)
    view = look(model)
    images = pixels(2, *view.native_size)
    ours, theirs = view.encode(images), model.encode_image(images)
    if isinstance(view, OpenClipResNet):  # one row of the pool instead of all
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    else:
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("quick_gelu", [True, False])
def test_plain_view_is_bit_equal_with_gradients_on(quick_gelu):
    model, images = tiny_clip(quick_gelu=quick_gelu), pixels()
    ours = OpenClipVision(model.visual).encode(images)
    assert ours.requires_grad
    assert torch.equal(ours, model.encode_image(images))


@pytest.mark.parametrize("size", [32, 96, (96, 48), (48, 160), (32, 128)], ids=str)
@torch.inference_mode()
def test_other_sizes_equal_a_library_model_built_at_that_size(size):
    model = tiny_clip()
    images = pixels(2, *((size, size) if isinstance(size, int) else size))
    expected = resized(model, size)
    if size == (
        32,
        128,
    ):  # as many patches as the native grid: the library keeps the table of the square as it is
        expected.visual.positional_embedding.copy_(
            torch.cat([model.visual.positional_embedding[:1], stretched_by_the_library(model, (2, 8))])
        )
    torch.testing.assert_close(
        OpenClipVision(model.visual).encode(images), expected.encode_image(images), atol=1e-5, rtol=0
    )


def stretched_by_the_library(model: open_clip.CLIP, grid: tuple[int, int]) -> torch.Tensor:
    table = model.visual.positional_embedding[1:].reshape(1, 4, 4, -1).permute(0, 3, 1, 2)
    table = nn.functional.interpolate(table, size=grid, mode="bicubic", antialias=True, align_corners=False)
    return table.permute(0, 2, 3, 1).reshape(grid[0] * grid[1], -1)


@torch.inference_mode()
def test_height_comes_before_width():
    view = OpenClipVision(tiny_clip().visual)
    assert view.grid(48, 96) == (3, 6)
    images = pixels(1, 48, 96)
    changed = images.clone()
    changed[..., :16, 80:] += 1  # first row, last column: patch 5
    before, after = view.embed(images), view.embed(changed)
    differs = (before != after).any(-1)[0].nonzero().flatten().tolist()
    assert differs == [view.prefix + 5]


@pytest.mark.parametrize(
    "vision",
    [
        {},
        {"ls_init_value": 0.3},
        {"quick_gelu": False},
        {"qk_norm": True},
        {"scale_heads": True, "scale_attn_inner": True, "scale_attn": True, "scale_fc": True},
        {"layers": (1, 1, 1, 1), "patch_size": None, "width": 16},
    ],
    ids=str,
)
@torch.inference_mode()
def test_parts_of_a_block_equal_the_whole(vision):
    view = look(tiny_clip(**vision))
    x = view.embed(pixels())
    for block in view.blocks:
        y = block.norm1(x)
        q, k, v = block.qkv(y)
        scores = block.scale * q @ k.mT
        merged = block.merge(scores.softmax(-1) @ v)
        whole = x + merged + block.ffn(x + merged) if block.residual else merged
        torch.testing.assert_close(whole, block(x), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            block.attend_rows(y[:, :2], y), scores[:, :, :2].softmax(-1) @ v, atol=1e-5, rtol=0
        )
        for parts in ("qk", "kv", "q", "k", "v"):
            for letter, heads in zip(parts, block.qkv(y, parts), strict=True):
                torch.testing.assert_close(heads, {"q": q, "k": k, "v": v}[letter], atol=1e-6, rtol=0)


@torch.inference_mode()
def test_scaled_cosine_attention_is_its_formula():
    """Some versions of open_clip cannot run their own scaled cosine attention, so the formula is the oracle."""
    torch.manual_seed(0)
    block = CustomResidualAttentionBlock(64, 2, scale_cosine_attn=True).eval()
    attn, view = block.attn, CustomBlock(block)
    y = block.ln_1(torch.randn(2, 5, 64, generator=torch.Generator().manual_seed(0)))
    q, k, v = (
        part.reshape(2, 5, 2, 32).transpose(1, 2)
        for part in nn.functional.linear(y, attn.in_proj_weight, attn.in_proj_bias).chunk(3, -1)
    )
    cosines = nn.functional.normalize(q, dim=-1) @ nn.functional.normalize(k, dim=-1).mT
    weights = (cosines * attn.logit_scale.clamp(max=attn.logit_scale_max).exp()).softmax(-1)
    ours_q, ours_k, ours_v = view.qkv(y)
    torch.testing.assert_close((view.scale * ours_q @ ours_k.mT).softmax(-1), weights, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(ours_v, v)
    expected = attn.out_proj((weights @ v).transpose(1, 2).reshape(2, 5, 64))
    torch.testing.assert_close(view.merge(weights @ v), expected, atol=1e-6, rtol=1e-5)


def test_qkv_refuses_letters_that_are_not_neighbours():
    block = OpenClipVision(tiny_clip(layers=1).visual).blocks[0]
    for parts in ("qv", "", "vk", "x"):
        with pytest.raises(ValueError, match="contiguous"):
            block.qkv(torch.zeros(1, 3, 64), parts)


def test_view_is_what_the_protocols_ask_for():
    view = OpenClipVision(tiny_clip().visual)
    assert isinstance(view, VisionView)
    assert isinstance(view.blocks[0], BlockView)
    assert (view.width, view.embed_dim, view.patch, view.native_size, view.native_grid) == (
        64,
        32,
        (16, 16),
        (64, 64),
        (4, 4),
    )
    assert (view.prefix, len(view.blocks), view.dtype, view.device.type) == (1, 6, torch.float32, "cpu")
    assert (view.blocks[0].heads, view.blocks[0].head_width, view.blocks[0].scale) == (2, 32, 32**-0.5)


@pytest.mark.parametrize(
    ("height", "width", "near"),
    [(65, 64, "64 × 64"), (64, 71, "64 × 64"), (5, 250, "16 × 256"), (0, 64, "16 × 64")],
)
def test_sizes_that_cut_patches_are_refused_with_the_next_one(height, width, near):
    with pytest.raises(ValueError, match=f"Resize it to {near}"):
        OpenClipVision(tiny_clip(layers=1).visual).grid(height, width)


def test_model_is_left_as_found_also_after_an_exception():
    model = tiny_clip(layers=2)

    def fail_on_one(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if len(inputs[0]) == 1:
            raise RuntimeError("one picture")

    handle = model.visual.transformer.resblocks[1].register_forward_pre_hook(fail_on_one)
    before = trace(model)
    view = OpenClipVision(model.visual)
    for positions in ("bilinear", "dino_bicubic"):
        view.encode(pixels(2, 96, 32), positions)
    assert_as_found(model, before)
    with pytest.raises(ValueError, match="does not divide"):
        view.encode(pixels(1, 70, 70))
    with pytest.raises(RuntimeError, match="one picture"):
        view.encode(pixels(1, 96, 32))
    assert_as_found(model, before)
    handle.remove()


def test_patch_dropout_never_hides_a_patch():
    model = tiny_clip(layers=2, patch_dropout=0.5)
    expected = model.encode_image(pixels())
    model.train()
    assert torch.equal(OpenClipVision(model.visual).encode(pixels()), expected)
    assert model.training


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.inference_mode()
def test_half_precision_equals_the_library_and_is_finite(dtype):
    model = tiny_clip().to(dtype)
    ours = OpenClipVision(model.visual).encode(pixels())
    assert ours.dtype == dtype
    assert torch.equal(ours, model.encode_image(pixels().to(dtype)))
    assert OpenClipVision(model.visual).encode(pixels(1, 96, 32)).isfinite().all()


@torch.inference_mode()
def test_readout_without_a_projection_stays_in_the_width():
    model = tiny_clip(layers=2)
    model.visual.proj = None
    view = OpenClipVision(model.visual)
    assert view.embed_dim == 64
    assert torch.equal(view.encode(pixels()), model.encode_image(pixels()))


@pytest.mark.parametrize(
    ("vision", "words"),
    [
        ({"attentional_pool": "parallel", "attn_pooler_heads": 2}, "'parallel' attention pools"),
        ({"pool_type": "none"}, "no pooled feature"),
    ],
    ids=["two attention pools", "no pool"],
)
def test_other_towers_are_refused_with_the_reason(vision, words):
    visual = tiny_clip(**vision).visual
    assert words in (unsupported_reason(visual) or "")
    with pytest.raises(Unsupported, match="cannot be read"):
        OpenClipVision(visual)


def test_unknown_towers_and_pools_are_refused_with_the_reason():
    model = tiny_clip(layers=(1, 1, 1, 1), patch_size=None, width=16)
    model.visual.attnpool = None
    assert "no attention pool" in towers_of(model).off
    model.visual = nn.Linear(3, 4)
    assert towers_of(model).off == "this model's patches cannot be read: its image tower is a Linear."


def test_sequence_first_blocks_are_refused():
    model = copy.deepcopy(tiny_clip(layers=1))
    model.visual.transformer.batch_first = False
    assert "batch_first" in (unsupported_reason(model.visual) or "")
