"""Views of transformers' models equal the library on both towers, whatever its version returns, and leave no trace."""

import copy
from types import SimpleNamespace

import pytest
import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from clipsight import features
from clipsight.errors import Unsupported
from clipsight.towers.families import is_transformers, towers_of
from clipsight.towers.hf_blocks import HfBlock
from clipsight.towers.hf_models import hf_towers, refusal
from clipsight.towers.hf_results import feature_of
from clipsight.towers.positions import POSITION_RULES, interpolate_positions
from clipsight.towers.view import BlockView, TextView, VisionView
from tiny import pixels, tiny_clip

from .hf_tiny import END, tiny_hf, to_open_clip
from .test_vision_view import assert_as_found, trace

transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")

KINDS = ("clip", "siglip", "siglip2")


@pytest.fixture(scope="module", params=KINDS)
def model(request):
    return tiny_hf(request.param)


def picture_features(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The library's own image feature at any size, in its own way."""
    width = hf_towers(model).vision.embed_dim
    if type(model).__name__ != "Siglip2Model":
        return feature_of(model.get_image_features(images, interpolate_pos_encoding=True), width)
    grid = (images.shape[-2] // 16, images.shape[-1] // 16)
    flat = rearrange(images, "B C (h p) (w q) -> B (h w) (p q C)", p=16, q=16)
    shapes = torch.tensor([grid] * len(images))
    seen = torch.ones(flat.shape[:2], dtype=torch.long)
    result = model.get_image_features(pixel_values=flat, pixel_attention_mask=seen, spatial_shapes=shapes)
    return feature_of(result, width)


def text_ids(model: nn.Module, count: int = 9, seed: int = 0) -> torch.Tensor:
    """Random texts that begin alike; CLIP's end in the end token at random places and have noise behind it."""
    draw = torch.Generator().manual_seed(seed)
    length = model.config.text_config.max_position_embeddings
    ids = torch.randint(8, 100, (count, length), generator=draw)
    ids[:, :2] = torch.tensor([98, 9])
    if type(model).__name__ == "CLIPModel":
        ids[torch.arange(count), torch.randint(2, length, (count,), generator=draw)] = END
    return ids


@torch.inference_mode()
def test_native_size_is_bit_equal_to_get_image_features(model):
    view = hf_towers(model).vision
    images = pixels(2, *view.native_size)
    assert torch.equal(view.encode(images), picture_features(model, images))
    if type(model).__name__ != "Siglip2Model":
        assert torch.equal(view.encode(images), feature_of(model.get_image_features(images), view.embed_dim))


@pytest.mark.parametrize("size", [(32, 32), (96, 96), (96, 48), (48, 160), (32, 128)], ids=str)
@torch.inference_mode()
def test_other_sizes_equal_the_library_interpolating(model, size):
    images = pixels(2, *size)
    ours = hf_towers(model).vision.encode(images)
    torch.testing.assert_close(ours, picture_features(model, images), atol=1e-5, rtol=0)


@pytest.mark.parametrize("rule", POSITION_RULES)
@torch.inference_mode()
def test_a_named_rule_is_followed(model, rule):
    view, images = hf_towers(model).vision, pixels(1, 96, 96)
    built = copy.deepcopy(model)  # for that size, its table stretched beforehand
    embeddings = built.vision_model.embeddings
    table = interpolate_positions(embeddings.position_embedding.weight, (4, 4), (6, 6), rule)
    embeddings.position_embedding.weight = nn.Parameter(table)
    embeddings.image_size, embeddings.num_patches = 96, 36
    assert torch.equal(view.encode(images, rule), hf_towers(built).vision.encode(images))


@torch.inference_mode()
def test_parts_of_a_block_equal_the_whole(model):
    towers = hf_towers(model)
    x = towers.vision.embed(pixels())
    for block in (*towers.vision.blocks, *towers.text.blocks):
        y = block.norm1(x)
        q, k, v = block.qkv(y)
        scores = block.scale * q @ k.mT
        middle = x + block.merge(scores.softmax(-1) @ v)
        torch.testing.assert_close(middle + block.ffn(middle), block(x), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            block.attend_rows(y[:, :2], y), scores[:, :, :2].softmax(-1) @ v, atol=1e-5, rtol=0
        )
        for parts in ("qk", "kv", "q", "k", "v"):
            for letter, heads in zip(parts, block.qkv(y, parts), strict=True):
                assert torch.equal(heads, {"q": q, "k": k, "v": v}[letter])
        with pytest.raises(ValueError, match="contiguous"):
            block.qkv(y, "qv")


@torch.inference_mode()
def test_a_constant_picture_of_tokens_is_read_as_it_is_pooled(model):
    view = hf_towers(model).vision
    token = torch.randn(3, 1, view.width, generator=torch.Generator().manual_seed(2))
    read = view.readout(token)
    assert read.shape == (3, 1, view.embed_dim)
    torch.testing.assert_close(read[:, 0], view.pool(token.expand(-1, 17, -1)), atol=1e-5, rtol=0)
    assert (read[0] - read[1]).abs().max() > 0.01


@torch.inference_mode()
def test_rules_are_told_apart(model):
    view, images = hf_towers(model).vision, pixels(1, 96, 48)
    own = "none of these" if type(model).__name__ == "Siglip2Model" else "bicubic"
    for rule in POSITION_RULES:
        difference = (view.embed(images, rule) - view.embed(images)).abs().max()
        assert (difference > 0.01) == (rule != own)


@torch.inference_mode()
def test_height_comes_before_width(model):
    view = hf_towers(model).vision
    assert view.grid(48, 96) == (3, 6)
    images = pixels(1, 48, 96)
    changed = images.clone()
    changed[..., :16, 80:] += 1  # first row, last column: patch 5
    differs = (view.embed(images) != view.embed(changed)).any(-1)[0].nonzero().flatten().tolist()
    assert differs == [view.prefix + 5]
    with pytest.raises(ValueError, match="Resize it to 64 × 64"):
        view.encode(pixels(1, 65, 71))


def test_views_are_what_the_protocols_ask_for(model):
    towers = towers_of(model)
    vision, text = towers.vision, towers.text
    assert is_transformers(model)
    assert not is_transformers(tiny_clip(layers=1))
    assert isinstance(vision, VisionView)
    assert isinstance(text, TextView)
    assert all(isinstance(block, BlockView) for block in (*vision.blocks, *text.blocks))
    assert (len(vision.blocks), len(text.blocks)) == (6, 3)
    assert (vision.width, vision.patch, vision.native_size, vision.native_grid) == (
        64,
        (16, 16),
        (64, 64),
        (4, 4),
    )
    assert (vision.dtype, vision.device.type, text.dtype, text.device.type) == (torch.float32, "cpu") * 2
    assert vision.embed_dim == text.embed_dim
    clip = type(model).__name__ == "CLIPModel"
    assert (vision.prefix, vision.class_token, vision.pools) == (
        (1, True, "class") if clip else (0, False, "attention")
    )
    assert (text.causal, text.cuttable, text.width) == (clip, clip, 64)
    assert text.context == (77 if clip else 16)
    assert vision.blocks_at((3, 5)) == vision.blocks
    assert (vision.blocks[0].heads, vision.blocks[0].head_width, vision.blocks[0].scale) == (2, 32, 32**-0.5)


def test_families():
    names = [hf_towers(tiny_hf(kind)).family for kind in KINDS]
    assert names == ["Hugging Face CLIP", "Hugging Face SigLIP", "Hugging Face SigLIP 2"]


def test_a_rest_of_pixels_that_no_patch_covers_is_not_in_the_native_size():
    view = hf_towers(tiny_hf("siglip", image_size=70)).vision  # as so400m: 384 pixels, patches of 14
    assert (view.native_grid, view.native_size) == ((4, 4), (64, 64))


@torch.no_grad()
def test_texts_equal_get_text_features(model):
    view, ids = hf_towers(model).text, text_ids(model)
    theirs = feature_of(model.get_text_features(input_ids=ids), view.embed_dim)
    torch.testing.assert_close(view.encode(ids), theirs, atol=1e-5, rtol=0)


@torch.no_grad()
def test_token_features_and_blocks_one_by_one(model):
    view, ids = hf_towers(model).text, text_ids(model)
    features = view.token_features(ids)
    assert features.shape == (len(ids), view.context, view.embed_dim)
    ends = (ids == END).int().argmax(-1) if view.causal else torch.full((len(ids),), -1)
    theirs = feature_of(model.get_text_features(input_ids=ids), view.embed_dim)
    torch.testing.assert_close(features[torch.arange(len(ids)), ends], theirs, atol=1e-5, rtol=0)
    x, length = view.embed(ids), ids.shape[1]
    mask = torch.full((length, length), -torch.inf).triu(1) if view.causal else None
    for block in view.blocks:
        x = block(x, mask)
    head = model.text_projection if view.causal else model.text_model.head
    torch.testing.assert_close(head(model.text_model.final_layer_norm(x)), features, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("end", [2, END], ids=["legacy", "end token"])
def test_clip_texts_are_cut_behind_the_end_token_exactly(end):
    model = tiny_hf("clip", text={"eos_token_id": end})
    view, ids = hf_towers(model).text, text_ids(model)
    assert view.pooling == ("argmax" if end == 2 else "eos")
    theirs = feature_of(model.get_text_features(input_ids=ids), 32)
    torch.testing.assert_close(view.encode(ids), theirs, atol=1e-5, rtol=0)
    stop = int((ids == END).int().argmax(-1).max()) + 1
    assert stop < 77
    torch.testing.assert_close(view.encode(ids[:, :stop]), theirs, atol=1e-5, rtol=0)
    behind = torch.arange(77) > (ids == END).int().argmax(-1, keepdim=True)
    torch.testing.assert_close(view.encode(ids.masked_fill(behind, END)), theirs, atol=1e-5, rtol=0)
    assert view.encode(ids[:0]).shape == (0, 32)


@torch.no_grad()
def test_the_two_pooling_rules_differ_where_a_larger_id_stands():
    ids = text_ids(tiny_hf("clip"))
    ids[:, 1] = END - 1
    for end, rule in ((END - 1, "eos"), (2, "argmax")):
        model = tiny_hf("clip", text={"eos_token_id": end})
        view = hf_towers(model).text
        assert view.pooling == rule
        assert (view.end_positions(ids) == 1).all() == (rule == "eos")
        theirs = feature_of(model.get_text_features(input_ids=ids), 32)
        torch.testing.assert_close(view.encode(ids), theirs, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["siglip", "siglip2"])
def test_siglip_texts_are_never_cut(kind):
    model = tiny_hf(kind)
    view, ids = hf_towers(model).text, text_ids(model)
    with pytest.raises(ValueError, match="all of its 16 positions, got 15"):
        view.encode(ids[:, :15])
    changed = ids.clone()
    changed[:, -1] = 5
    assert (view.encode(changed) - view.encode(ids)).abs().max() > 0.01


def test_ids_that_the_text_tower_does_not_have(model):
    view = hf_towers(model).text
    with pytest.raises(ValueError, match="token ids run from 0 to"):
        view.encode(
            torch.full((1, view.context), view.vocabulary) * torch.tensor([0] * (view.context - 1) + [1])
        )
    with pytest.raises(ValueError, match=f"this model has {view.context}"):
        view.encode(torch.ones(1, view.context + 1, dtype=torch.long))


def test_gradients_equal_the_librarys(model):
    towers, images, ids = hf_towers(model), pixels(), text_ids(model)
    for ours, theirs, weight in (
        (
            towers.vision.encode(images),
            picture_features(model, images),
            model.vision_model.encoder.layers[0].mlp.fc1.weight,
        ),
        (
            towers.text.encode(ids),
            feature_of(model.get_text_features(input_ids=ids), towers.text.embed_dim),
            model.text_model.encoder.layers[0].mlp.fc1.weight,
        ),
    ):
        (made,) = torch.autograd.grad(ours.square().sum(), weight)
        (wanted,) = torch.autograd.grad(theirs.square().sum(), weight)
        torch.testing.assert_close(made, wanted, atol=1e-4, rtol=1e-3)


def test_model_is_left_as_found_also_after_an_exception(model):
    model = copy.deepcopy(model)

    def fail_on_one(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if len(inputs[0]) == 1:
            raise RuntimeError("one picture")

    handle = model.vision_model.encoder.layers[1].register_forward_pre_hook(fail_on_one)
    ids = text_ids(model)
    before = trace(model)
    towers = hf_towers(model)
    for rule in ("bilinear", "dino_bicubic", None):
        towers.vision.encode(pixels(2, 96, 32), rule)
    towers.text.encode(ids)
    towers.text.token_features(ids)
    assert_as_found(model, before)
    with pytest.raises(RuntimeError, match="one picture"):
        towers.vision.encode(pixels(1, 96, 32))
    with pytest.raises(ValueError, match="positions"):
        towers.text.encode(torch.ones(1, 99, dtype=torch.long))
    assert_as_found(model, before)
    handle.remove()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.inference_mode()
def test_half_precision_equals_the_library_and_is_finite(model, dtype):
    half = copy.deepcopy(model).to(dtype)
    towers, ids = hf_towers(half), text_ids(half)
    ours = towers.vision.encode(pixels())
    assert ours.dtype == dtype
    assert torch.equal(ours, picture_features(half, pixels().to(dtype)))
    assert towers.vision.encode(pixels(1, 96, 32)).isfinite().all()
    assert towers.vision.readout(towers.vision.embed(pixels())).isfinite().all()
    theirs = feature_of(half.get_text_features(input_ids=ids), towers.text.embed_dim)
    torch.testing.assert_close(towers.text.encode(ids), theirs, atol=0.1, rtol=0.05)


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_eager_attention_is_the_librarys_too(kind):
    model = tiny_hf(kind, attention="eager")
    towers, ids = hf_towers(model), text_ids(model)
    assert torch.equal(towers.vision.encode(pixels()), picture_features(model, pixels()))
    theirs = feature_of(model.get_text_features(input_ids=ids), towers.text.embed_dim)
    torch.testing.assert_close(towers.text.encode(ids), theirs, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_clip_equals_open_clip_with_the_same_weights():
    theirs = tiny_hf("clip")
    ours = to_open_clip(theirs)
    of_hf, of_open_clip = towers_of(theirs), towers_of(ours)
    images, ids = pixels(2, 96, 64), text_ids(theirs)
    close = {"atol": 2e-5, "rtol": 1e-5}
    torch.testing.assert_close(of_hf.vision.encode(pixels()), of_open_clip.vision.encode(pixels()), **close)
    torch.testing.assert_close(of_hf.text.encode(ids), of_open_clip.text.encode(ids), **close)
    for method in ("clip_surgery", "naclip"):
        made, wanted = (features.run(each.vision, images, method) for each in (of_hf, of_open_clip))
        assert made.patches.shape == (2, 6, 4, 32)
        torch.testing.assert_close(made.patches, wanted.patches, **close)
        torch.testing.assert_close(made.pooled, wanted.pooled, **close)


@pytest.mark.parametrize("method", ["clip_surgery", "naclip", "maskclip"])
@torch.inference_mode()
def test_recipes_run_and_keep_the_towers_own_feature(model, method):
    view = hf_towers(model).vision
    made = features.run(view, pixels(2), method)
    assert made.patches.shape == (2, 4, 4, view.embed_dim)
    assert made.patches.isfinite().all()
    torch.testing.assert_close(made.pooled, view.encode(pixels(2)), atol=1e-5, rtol=0)


def test_siglip_without_its_head_is_refused():
    for kind in ("siglip", "siglip2"):
        with pytest.raises(Unsupported, match="vision_use_head=False"):
            hf_towers(tiny_hf(kind, vision_use_head=False))


def test_other_models_are_refused_with_the_nearest():
    half = transformers.CLIPVisionModel(tiny_hf("clip").config.vision_config)
    with pytest.raises(Unsupported, match=r"CLIPVisionModel.*load the whole of it"):
        hf_towers(half)
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.AltCLIPConfig(text_config={**small, "vocab_size": 99}, vision_config=small)
    with pytest.raises(Unsupported, match=r"AltCLIPModel.*SigLIP 2"):
        hf_towers(transformers.AltCLIPModel(config))
    for kind, advice in (
        ("chinese_clip", "siglip2"),
        ("clipseg", "lens.segment"),
        ("blip-2", "CLIPModel or SiglipModel"),
        ("metaclip_2", "metaclip2_worldwide"),
        ("bert", "clipsight.models"),
    ):
        assert advice in refusal(kind)


def test_a_layer_of_another_layout_is_refused():
    model = tiny_hf("clip")
    model.vision_model.encoder.layers[2] = nn.Linear(64, 64)
    with pytest.raises(Unsupported, match="layer 2 is a Linear"):
        hf_towers(model)


@pytest.mark.parametrize("wrap", [lambda made: made, lambda made: (made,), lambda made: (made, None)])
def test_blocks_take_what_either_version_returns(wrap):
    layer, x = tiny_hf("siglip").vision_model.encoder.layers[0], torch.randn(2, 5, 64)
    plain, own = HfBlock(layer)(x), layer.forward

    def forward(*args: object, **given: object) -> object:
        made = own(*args, **given)
        return wrap(made[0] if isinstance(made, tuple) else made)

    layer.forward = forward
    assert torch.equal(HfBlock(layer)(x), plain)


FEATURE, TOKENS = torch.zeros(4, 8), torch.zeros(4, 6, 8)


@pytest.mark.parametrize(
    "result",
    [
        FEATURE,
        SimpleNamespace(last_hidden_state=TOKENS, pooler_output=FEATURE),
        SimpleNamespace(image_embeds=FEATURE, pooler_output=torch.zeros(4, 9)),
        SimpleNamespace(text_embeds=FEATURE, last_hidden_state=TOKENS),
        (TOKENS, FEATURE),
    ],
    ids=["tensor", "pooled", "image", "text", "tuple"],
)
def test_features_are_known_by_their_shape(result):
    assert feature_of(result, 8) is FEATURE


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (torch.zeros(4, 9), r"\(rows, 8\).*a tensor of shape \(4, 9\)"),
        (TOKENS, r"shape \(4, 6, 8\)"),
        (
            SimpleNamespace(last_hidden_state=FEATURE, pooler_output=None),
            "SimpleNamespace came with no tensor",
        ),
        (None, "NoneType"),
        ((TOKENS, None), r"\[0\] of shape"),
    ],
    ids=["width", "tokens", "headless", "nothing", "tuple"],
)
def test_what_is_no_feature_is_named(result, words):
    with pytest.raises(TypeError, match=words):
        feature_of(result, 8)


def test_logits_come_from_parameters_by_name(model):
    assert model.get_parameter("logit_scale").numel() == 1
    assert ("logit_bias" in dict(model.named_parameters())) == (type(model).__name__ != "CLIPModel")
    assert float(F.softplus(model.get_parameter("logit_scale").detach())) > 0
