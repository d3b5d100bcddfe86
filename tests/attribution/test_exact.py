"""The exact map: identities that any decomposition of a cosine must keep, and towers whose answer is known.

That all parts together are the cosine on every architecture is held by tests/towers/test_zoo_exact.py.
"""

import copy
import gc
import resource
from typing import Any

import open_clip
import pytest
import torch
from torch.nn import functional as F

from attribution.small import FAMILIES, ONE_PIECE, family, picture
from clipsight.attribution import attribute
from clipsight.attribution.exact import image_shares, joint_shares, text_shares
from clipsight.attribution.marks import marks_of
from clipsight.errors import Unsupported
from clipsight.features import Trunk
from clipsight.towers.families import towers_of
from clipsight.towers.open_clip_text import OpenClipText
from clipsight.towers.open_clip_vit import OpenClipVision
from tiny import past_type_checks, pixels, tiny_clip

PATCH = 5


def texts(count: int = 3, width: int = 32) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def model() -> open_clip.CLIP:
    return tiny_clip(seed=4)


@pytest.fixture(scope="module")
def vision(model) -> OpenClipVision:
    return OpenClipVision(model.visual)


# ---- text side, through the front door ----


@pytest.mark.parametrize("name", [*FAMILIES, *ONE_PIECE[:3]])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_scores_networks_and_constant_are_s(name, similarity):
    _, view, ids = family(name)
    image = picture(view)
    found = attribute(view, ids, image, method="exact", similarity=similarity, scale=3.0)
    with torch.no_grad():
        features = view.encode(ids)
    unit = F.normalize(features, dim=-1) if similarity == "cosine" else features
    s = 3 * unit @ F.normalize(image, dim=0)
    together = found.scores.sum(-1) + found.extras["networks"] + found.extras["constant"]
    torch.testing.assert_close(together, s, atol=1e-5 * float(s.abs().max()), rtol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_batch_is_loop(name):
    _, view, ids = family(name)
    image = picture(view)
    together = attribute(view, ids, image, method="exact").scores
    alone = torch.cat([attribute(view, row[None], image, method="exact").scores for row in ids])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)


def test_padding_and_what_is_behind_the_end_carry_nothing():
    _, view, ids = family("eos")
    found = attribute(view, ids, picture(view), method="exact")
    assert not found.scores[found.padding].any()
    other = torch.where(found.padding, 9, ids)  # other ids behind the end
    torch.testing.assert_close(attribute(view, other, picture(view), method="exact").scores, found.scores)


@pytest.mark.parametrize("name", ["clip", "eos", "transformers CLIP"])
def test_a_causal_text_can_be_cut_behind_its_end(name):
    _, view, ids = family(name)
    parts = view.parts()
    for row in ids:
        end = int(parts.pooled(row[None]))
        whole, cut = text_shares(parts, row[None]), text_shares(parts, row[None, : end + 1])
        torch.testing.assert_close(whole.tokens[:, : end + 1], cut.tokens, atol=1e-6, rtol=1e-4)
        assert not whole.tokens[:, end + 1 :].any()


def test_shares_are_linear_in_the_picture():
    _, view, ids = family("clip")
    a, b = torch.randn(2, view.embed_dim, generator=torch.Generator().manual_seed(3))
    parts = view.parts()
    one = text_shares(parts, ids, torch.stack([a, b, 2 * a - b]))
    torch.testing.assert_close(one.tokens[..., 2], 2 * one.tokens[..., 0] - one.tokens[..., 1])


def test_a_contrast_is_the_difference_of_shares():
    _, view, ids = family("clip")
    image = picture(view)
    own = attribute(view, ids[:1], image, method="exact")
    foil = attribute(view, ids[3:], image, method="exact")
    apart = attribute(view, ids[:1], image, method="exact", against=ids[3:])
    first = own.scores[0, 1] - foil.scores[0, 1:4].sum()  # "a" of both is matched, so this is not it
    assert not torch.isclose(apart.scores[0, 1], first)
    s = own.similarity[0] - foil.similarity[0]
    torch.testing.assert_close(apart.extras["contrast"], s[None])
    rest = sum(own.extras[k] - foil.extras[k] for k in ("networks", "constant"))
    total = apart.scores.sum() + apart.extras["foil_scores"].sum() + rest
    torch.testing.assert_close(total, s[None], atol=1e-6, rtol=1e-5)


def test_features_as_foils_stretch_by_the_slope_of_the_log_softmax():
    _, view, ids = family("clip")
    image, foils = picture(view), texts(4, view.embed_dim)
    plain = attribute(view, ids[:1], image, method="exact", scale=5.0)
    found = attribute(view, ids[:1], image, method="exact", scale=5.0, against=foils)
    unit = F.normalize(image, dim=0)
    s = torch.cat([5 * plain.similarity, 5 * F.normalize(foils, dim=-1) @ unit])
    torch.testing.assert_close(found.scores, plain.scores * (1 - s.softmax(0)[0]))


# ---- image side ----


@torch.no_grad()
def test_pictures_and_texts_one_by_one(vision):
    x, t = pixels(3, 48, 96), texts()
    together = image_shares(vision, x, t)
    assert together.patches.shape == (3, 3, 6, 3)
    for b in range(3):
        for i in range(3):
            alone = image_shares(vision, x[b : b + 1], t[i : i + 1])
            torch.testing.assert_close(
                alone.patches[0, ..., 0], together.patches[b, ..., i], atol=1e-6, rtol=1e-4
            )


@torch.no_grad()
def test_a_template_mean_is_the_mean_of_maps(vision):
    t = texts(4)
    mean = image_shares(vision, pixels(), t.mean(0, keepdim=True)).patches[..., 0]
    torch.testing.assert_close(mean, image_shares(vision, pixels(), t).patches.mean(-1), atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_blocks_and_heads_add_up(vision):
    x, t = pixels(), texts()
    total = image_shares(vision, x, t)
    for by, front in (("block", (6,)), ("head", (6, 2))):
        for directions, wide in ((t, 3), (None, 32)):
            split = image_shares(vision, x, directions, by=by)
            assert split.patches.shape == (*front, 2, 4, 4, wide)
            summed = split.patches.flatten(0, len(front) - 1).sum(0)
            expected = total.patches if directions is not None else image_shares(vision, x).patches
            torch.testing.assert_close(summed, expected, atol=1e-5, rtol=1e-4)
            if directions is not None:
                torch.testing.assert_close(split.prefix, total.prefix, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_order_of_heads_says_nothing(model):
    other = copy.deepcopy(model)
    turned = torch.cat([torch.arange(32, 64), torch.arange(32)])
    for block in other.visual.transformer.resblocks:
        rows = torch.cat([turned + 64 * i for i in range(3)])
        block.attn.in_proj_weight.copy_(block.attn.in_proj_weight[rows])
        block.attn.in_proj_bias.copy_(block.attn.in_proj_bias[rows])
        block.attn.out_proj.weight.copy_(block.attn.out_proj.weight[:, turned])
    views = OpenClipVision(model.visual), OpenClipVision(other.visual)
    mine, theirs = (image_shares(view, pixels(), texts(), by="head").patches for view in views)
    torch.testing.assert_close(mine, theirs.flip(1), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(mine, theirs)


def test_splits_are_refused_where_nothing_is_split():
    view = towers_of(tiny_clip(pool_type="avg")).vision
    with pytest.raises(Unsupported, match="reads the patches once"):
        image_shares(view, pixels(), by="head")


@pytest.mark.parametrize("pools", ["class", "mean"])
@torch.no_grad()
def test_tokens_of_a_pass_begun_before_are_used(pools):
    model = tiny_clip(**({} if pools == "class" else {"pool_type": "avg"}))
    view, x = OpenClipVision(model.visual), pixels()
    expected, trunk = image_shares(view, x), Trunk(view, x, "bicubic_antialias", 2**20)
    trunk.entering(4)
    found = image_shares(view, x, tokens=trunk)
    torch.testing.assert_close(found.patches, expected.patches, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.networks, expected.networks, atol=1e-5, rtol=1e-4)
    assert 6 in trunk
    again = image_shares(view, x, tokens=trunk)
    torch.testing.assert_close(again.patches, expected.patches, atol=1e-5, rtol=1e-4)


# ---- towers whose answer is known ----


@torch.no_grad()
def copying_tower() -> open_clip.CLIP:
    """One block, one head, no network: the class token looks at one patch and adds its normed token to itself."""
    model = tiny_clip(layers=1, head_width=64)
    visual = model.visual
    for norm in (visual.ln_pre, visual.transformer.resblocks[0].ln_1):
        norm.weight.fill_(1.0), norm.bias.zero_()
    block = visual.transformer.resblocks[0]
    block.mlp.c_proj.weight.zero_(), block.mlp.c_proj.bias.zero_()
    place = visual.positional_embedding
    place.zero_()
    place[0, 0], place[1 + PATCH, 1] = 40.0, 40.0  # marks of the class token and of the patch
    attn = block.attn
    attn.in_proj_weight.zero_(), attn.in_proj_bias.zero_(), attn.out_proj.bias.zero_()
    attn.in_proj_weight[0, 0] = 20.0  # query: am I the class token?
    attn.in_proj_weight[64, 1] = 20.0  # key: am I the patch?
    attn.in_proj_weight[128:] = torch.eye(64)
    attn.out_proj.weight.copy_(torch.eye(64))
    return model


@torch.no_grad()
def test_a_head_that_copies_one_patch():
    model = copying_tower()
    view, x, t = OpenClipVision(model.visual), pixels(1), texts()
    shares = image_shares(view, x, t)
    patches = shares.patches.flatten(1, 2)[0]
    tokens = view.embed(x)
    copied = view.blocks[0].norm1(tokens)[0, 1 + PATCH]
    final = tokens[0, 0] + copied
    norm = model.visual.ln_post
    sigma = final.var(unbiased=False).add(norm.eps).sqrt()
    expected = ((copied - copied.mean()) / sigma * norm.weight) @ model.visual.proj @ t.T
    torch.testing.assert_close(patches[PATCH], expected, atol=1e-5, rtol=1e-4)
    elsewhere = torch.arange(16) != PATCH
    assert patches[elsewhere].abs().max() < 1e-4 * expected.abs().max()
    assert not shares.networks.any()


@torch.no_grad()
def test_a_bag_of_words():
    """Attention that looks everywhere alike and no networks: a word has the same share wherever it stands."""
    model = tiny_clip(text={"layers": 1, "heads": 1})
    block = model.transformer.resblocks[0]
    block.mlp.c_proj.weight.zero_(), block.mlp.c_proj.bias.zero_()
    block.attn.in_proj_weight[:128].zero_(), block.attn.in_proj_bias[:128].zero_()
    model.positional_embedding.zero_()
    view = OpenClipText(model)
    ids = torch.zeros(2, 77, dtype=torch.long)
    ids[0, :5], ids[1, :5] = (
        torch.tensor([49406, 10, 20, 30, 49407]),
        torch.tensor([49406, 30, 10, 20, 49407]),
    )
    image = picture(view)
    first, second = attribute(view, ids, image, method="exact").scores
    torch.testing.assert_close(first[[1, 2, 3]], second[[2, 3, 1]], atol=1e-6, rtol=1e-5)
    x = model.token_embedding(ids[0, :5])
    h = block.ln_1(x)
    values = F.linear(h, block.attn.in_proj_weight[128:], block.attn.in_proj_bias[128:]) / 5
    read = block.ls_1(F.linear(values, block.attn.out_proj.weight))
    final = x[4] + read.sum(0) + block.attn.out_proj.bias
    norm = model.ln_final
    sigma = final.var(unbiased=False).add(norm.eps).sqrt()
    given = ((read - read.mean(-1, keepdim=True)) / sigma * norm.weight) @ model.text_projection
    expected = given @ F.normalize(image, dim=0) / model.encode_text(ids[:1]).norm()
    torch.testing.assert_close(first[:5], expected, atol=1e-6, rtol=1e-5)


# ---- both sides ----


def both(model: Any) -> tuple[OpenClipVision, Any, torch.Tensor, torch.Tensor]:
    parts, ids = OpenClipText(model).parts(), family("clip")[2]
    return OpenClipVision(model.visual), parts, ids, marks_of(parts, ids).content


@torch.no_grad()
def test_pairs_are_products_of_both_sides(model):
    vision, parts, ids, content = both(model)
    joint = joint_shares(vision, parts, pixels(), ids, content)
    image, text = image_shares(vision, pixels()), text_shares(parts, ids)
    scale = (
        image.feature.norm(dim=-1)[:, None, None, None, None] * text.feature.norm(dim=-1)[:, None, None, None]
    )
    expected = torch.einsum("bhwe,tse->btshw", image.patches, text.tokens) / scale
    torch.testing.assert_close(joint.matrix, expected * content[..., None, None], atol=1e-6, rtol=1e-4)
    assert set(joint.rest) == {
        "class token",
        "special tokens",
        "image networks",
        "text networks",
        "constants",
    }
    assert (joint.error < 1e-5).all()


@torch.no_grad()
def test_half_precision_reports_its_error(model):
    vision, parts, ids, content = both(copy.deepcopy(model).bfloat16())
    joint = joint_shares(vision, parts, pixels().bfloat16(), ids, content)
    assert joint.matrix.dtype == torch.float32
    assert joint.error.isfinite().all()
    assert (joint.error > 0).any()
    assert (joint.error < 0.05).all()


@torch.no_grad()
def test_the_model_is_left_as_found(model):
    vision, parts, ids, content = both(model)
    before = copy.deepcopy(model.state_dict())
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    joint_shares(vision, parts, pixels(), ids, content)
    joint_shares(vision, parts, pixels(), ids, content, differentiable=True)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training


# ---- gradients, compilation, memory ----


def test_the_graph_is_kept_where_asked(model):
    vision, parts, ids, content = both(copy.deepcopy(model))
    plain = joint_shares(vision, parts, pixels(), ids, content)
    assert not plain.matrix.requires_grad
    live = joint_shares(vision, parts, pixels(), ids, content, differentiable=True)
    torch.testing.assert_close(live.matrix, plain.matrix)
    live.matrix.square().sum().backward()
    visual = vision._visual
    assert all(block.attn.in_proj_weight.grad.abs().sum() > 0 for block in visual.transformer.resblocks)
    scores = attribute(OpenClipText(model), ids, texts(1)[0], method="exact", differentiable=True).scores
    (slope,) = torch.autograd.grad(scores[0, 1], model.token_embedding.weight)
    assert slope.abs().sum() > 0


def test_gradients_are_those_of_finite_differences(model):
    twice = copy.deepcopy(model).double()
    vision, parts, ids, content = both(twice)
    x = pixels(1, 32, 48).double().requires_grad_()

    def total(x: torch.Tensor) -> torch.Tensor:
        joint = joint_shares(vision, parts, x, ids[:2], content[:2], differentiable=True)
        return torch.cat([joint.matrix.flatten(), *(one.flatten() for one in joint.rest.values())])

    assert torch.autograd.gradcheck(total, (x,), fast_mode=True)


def test_double_precision_shrinks_the_error(model):
    vision, parts, ids, content = both(copy.deepcopy(model).double())
    assert (joint_shares(vision, parts, pixels().double(), ids, content).error < 1e-13).all()


@torch.no_grad()
def test_compiled_it_has_the_same_values(vision):
    x, t = pixels(), texts()
    compiled = torch.compile(lambda x: image_shares(vision, x, t).patches, backend="aot_eager")
    with past_type_checks():
        made = compiled(x)
    torch.testing.assert_close(made, image_shares(vision, x, t).patches, atol=1e-5, rtol=1e-4)


def test_a_thousand_calls_keep_nothing(model):
    vision, parts, ids, content = both(model)

    def alive() -> int:
        gc.collect()
        return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())

    def call(times: int) -> None:
        for _ in range(times):
            joint_shares(vision, parts, pixels(1), ids[:1, :8], content[:1, :8])

    call(50)
    tensors, memory = alive(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call(1000)
    assert alive() <= tensors
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 16_000  # KiB
