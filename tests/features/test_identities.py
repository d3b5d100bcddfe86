"""What must be equal whatever the weights: one thing written in two ways, and recipes at the ends of their ranges."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from clipsight.features import (
    Applied,
    Attention,
    Averaged,
    Branch,
    Identity,
    ImagePass,
    Kernel,
    Nearness,
    Rotated,
    Similarity,
    Smooth,
    Span,
    Stream,
    after,
    get_recipe,
    run,
    second_pass,
)
from clipsight.features.operands import _rotation
from clipsight.features.recipes.gem import gem_kernel
from clipsight.features.recipes.naclip import naclip_kernel
from clipsight.features.recipes.pearl import pearl_kernel
from clipsight.features.recipes.resclip import with_context
from clipsight.features.steps import Feedback
from clipsight.towers.open_clip_vit import OpenClipVision
from tiny import pixels, tiny_clip

N = 15


@pytest.fixture(scope="module")
def view() -> OpenClipVision:
    return OpenClipVision(tiny_clip(layers=12, ls_init_value=0.5).visual)


def images() -> torch.Tensor:
    return pixels(2, 48, 80)


@torch.no_grad()
def patches(view: OpenClipVision, recipe, **changes) -> torch.Tensor:
    return run(view, images(), replace(get_recipe(recipe), **changes)).patches


def close(a: torch.Tensor, b: torch.Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(a, b, atol=atol, rtol=0)


@torch.no_grad()
def by_hand(view: OpenClipVision, *pairs: str, keep: bool) -> torch.Tensor:
    """The last block with the sum of torch's own attention of the named pairs: "qq" is SDPA(q, q, v)."""
    x = ImagePass(view, images(), replace(get_recipe("clip"), positions="dino_bicubic")).entered
    last = view.blocks[-1]
    parts = dict(zip("qkv", last.qkv(last.norm1(x)), strict=True))
    out = last.merge(sum(F.scaled_dot_product_attention(parts[a], parts[b], parts["v"]) for a, b in pairs))
    if keep:
        out = x + out
        out = out + last.ffn(out)
    return view.readout(out)[:, 1:].unflatten(1, (3, 5))


@pytest.mark.parametrize(
    ("recipe", "pairs", "keep"),
    [("sclip", ("qq", "kk"), True), ("cliptrase", ("qq", "kk", "vv"), True), ("clearclip", ("qq",), False)],
)
def test_sums_of_softmaxes_are_sums_of_torchs_attention(view, recipe, pairs, keep):
    close(patches(view, recipe), by_hand(view, *pairs, keep=keep))


@torch.no_grad()
def test_the_maps_made_in_full_give_what_the_fast_path_gives(view):
    """`weights` times the values is `output`, for every built-in kernel of the last block."""
    for name in ("clip", "sclip", "naclip", "naclip.nonly", "maskclip", "pearl", "resclip.sclip", "gem"):
        made = ImagePass(view, images(), replace(get_recipe(name), path=get_recipe("clip").path))
        kernel = made.recipe.kernel
        heads = made._heads(made.entered, kernel, "patches")
        close(kernel.weights(heads) @ heads.part("v"), kernel.output(heads))


def test_a_small_sigma_favours_the_patch_itself_alone(view):
    """ω tends to the unit map on patches: NACLIP is keys with keys and 1 added on the diagonal of patches."""
    x = ImagePass(view, images(), get_recipe("naclip")).entered
    last = view.blocks[-1]
    with torch.no_grad():
        k, v = last.qkv(last.norm1(x), "kv")
        unit = F.pad(torch.eye(N), (1, 0, 1, 0))
        out = last.merge(F.scaled_dot_product_attention(k, k, v, attn_mask=unit))
        close(
            patches(view, "naclip", kernel=naclip_kernel(sigma=0.05)),
            view.readout(out)[:, 1:].unflatten(1, (3, 5)),
        )


def test_a_large_sigma_favours_patches_against_the_class_token(view):
    """ω tends to 1 between patches; the gain of every patch against the class token is the same."""
    bias = Nearness(1e4).build(ImagePass(view, images(), get_recipe("naclip")))
    close(bias, torch.ones(1, 1, N, N))
    assert not torch.allclose(
        patches(view, "naclip", kernel=naclip_kernel(sigma=1e4)), patches(view, "naclip.kk"), atol=1e-4
    )


@pytest.mark.parametrize("grid", [(3, 5), (1, 7), (4, 4)])
def test_nearness_is_a_map_of_distances(grid):
    near = Nearness(2.0).build(
        ImagePass(OpenClipVision(tiny_clip().visual), pixels(1, 16 * grid[0], 16 * grid[1]), "clip")
    )
    count = grid[0] * grid[1]
    assert torch.equal(near, near.mT)
    assert torch.equal(near[0, 0].diagonal(), torch.ones(count))
    for i, j in ((0, count - 1), (0, min(1, count - 1)), (count - 1, grid[1] - 1)):
        squared = (i // grid[1] - j // grid[1]) ** 2 + (i % grid[1] - j % grid[1]) ** 2
        close(near[0, 0, i, j], torch.tensor(-squared / 8.0).exp())


def test_pearl_without_rotation_and_centred_keys_is_clip_without_the_rest(view, monkeypatch):
    monkeypatch.setattr(Rotated, "make", lambda self, heads: heads.part(self.of))
    close(patches(view, "pearl", kernel=pearl_kernel(alpha=0.0)), by_hand(view, "qk", keep=False))


@torch.no_grad()
def test_the_exact_polar_factor_is_orthogonal_and_five_steps_are_not(view):
    """Turned keys keep their lengths and angles; the default's shrink."""
    made = ImagePass(view, images(), get_recipe("pearl"))
    heads = made._heads(made.entered, made.recipe.kernel, "all")
    k = heads.part("k")
    turned, near = (Rotated("k", "q", iterations).make(heads) for iterations in (None, 5))
    close(turned @ turned.mT, k @ k.mT, atol=1e-4)
    assert (near @ near.mT - k @ k.mT).abs().max() > 0.1


@torch.no_grad()
def test_many_steps_come_near_the_exact_factor_on_a_well_behaved_matrix():
    """With singular values near 1 five steps are enough; the ridge keeps ill-conditioned ones from converging."""
    g = torch.Generator().manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(2, 3, 8, 8, generator=g))
    m = left @ torch.diag(torch.linspace(0.9, 1.1, 8)) @ right
    close(_rotation(m, 20), left @ right, atol=1e-3)
    close(_rotation(m, None), left @ right)
    assert (_rotation(m, 3) - left @ right).abs().max() > 1e-3


@pytest.mark.parametrize("host", ["naclip", "clearclip", "sclip"])
def test_resclip_with_no_share_of_context_is_its_host(view, host):
    kernel = with_context(get_recipe(host).kernel, tau=1.0, mix=1e-12)
    close(patches(view, f"resclip.{host}", kernel=kernel), patches(view, host))


def test_resclip_takes_a_share_of_exactly_nothing(view):
    kernel = with_context(get_recipe("naclip").kernel, tau=1.0, mix=0.0)
    close(patches(view, "resclip.naclip", kernel=kernel), patches(view, "naclip"))


@torch.no_grad()
def test_resclip_with_context_alone_is_the_mean_of_the_blocks(view):
    kernel = with_context(get_recipe("clearclip").kernel, tau=2.0, mix=1 - 1e-12)
    alone = Kernel(branches=(Applied(by=Attention(Span(6, 9)), weight=2.0),))
    close(patches(view, "resclip.clearclip", kernel=kernel), patches(view, "clearclip", kernel=alone))


@pytest.mark.parametrize("name", ["resclip.naclip", "resclip.sclip", "resclip.clearclip"])
@torch.no_grad()
def test_feedback_with_gain_one_and_no_share_is_the_first_pass(view, name):
    recipe = get_recipe(name)
    again = second_pass(recipe, Feedback(gain=1.0, mix=0.0, threshold=0.25))
    made = ImagePass(view, images(), recipe)
    semantic = torch.rand(2, 1, N, N, generator=torch.Generator().manual_seed(0))
    close(made.features(again, given={"semantic": semantic}).patches, made.features().patches)
    other = second_pass(recipe, Feedback(gain=2.0, mix=0.5, threshold=0.25))
    changed = made.features(other, given={"semantic": semantic}).patches
    assert not torch.allclose(changed, made.features().patches, atol=1e-4)
    alone = ImagePass(view, images(), other, {"semantic": semantic}).features().patches
    close(changed, alone)


@torch.no_grad()
def test_a_floor_above_every_cosine_smooths_to_nothing_without_nan(view):
    """SC-CLIP with β > 1: rows of zeros over 1e-6 are zeros, not NaN."""
    made = ImagePass(view, images(), replace(get_recipe("sc_clip")))
    patches_in = made.entered[:, 1:]
    nothing = Smooth(Similarity(after(9), 1.01)).apply(patches_in, made)
    assert torch.equal(nothing, torch.zeros_like(nothing))


@torch.no_grad()
def test_a_floor_below_every_cosine_averages_with_signed_weights(view):
    made = ImagePass(view, images(), replace(get_recipe("sc_clip")))
    all_of_it, plain = (Similarity(after(9), floor) for floor in (-1.01, None))
    close(made.map(all_of_it), made.map(plain))


@torch.no_grad()
def test_a_stream_of_weight_two_is_two_streams(view):
    recipe = get_recipe("clearclip")
    twice = replace(recipe, streams=(Stream(), Stream()))
    heavy = replace(recipe, streams=(Stream(weight=2.0),))
    close(run(view, images(), twice).patches, run(view, images(), heavy).patches)


def test_half_of_a_branch_twice_is_the_branch(view):
    half = Branch(left="k", right="k", weight=0.5)
    close(patches(view, "naclip.kk", kernel=Kernel(branches=(half, half))), patches(view, "naclip.kk"))


def test_identity_is_the_unit_map(view):
    close(
        patches(
            view, "maskclip.attention", kernel=Kernel(branches=(Identity(weight=0.25), Identity(weight=0.75)))
        ),
        patches(view, "maskclip.attention"),
    )


@torch.no_grad()
def test_the_averaged_map_is_the_mean_of_all_blocks_on_the_original_stream(view):
    """On what entered the last block itself, RF-CLIP's kernel is the recorded mean over all blocks."""
    averaged = Kernel(branches=(Averaged(earlier=Attention(Span(1, -2), "k", "k")),))
    recorded = Kernel(branches=(Applied(by=Attention(Span(1, -1), "k", "k")),))
    close(patches(view, "clearclip", kernel=averaged), patches(view, "clearclip", kernel=recorded))


def test_cuts_leave_the_class_tokens_share_out(view):
    """keys='cut' is keys='all' without the class token's term; with keys='patches' rows sum to 1 again."""
    kk = Kernel(branches=(Branch(left="k", right="k"),))
    made = ImagePass(view, images(), replace(get_recipe("clearclip"), kernel=replace(kk, keys="cut")))
    with torch.no_grad():
        heads = made._heads(made.entered, kk, "patches")
        full, v = kk.weights(heads), heads.part("v")
        out = view.blocks[-1].merge(full @ v - full[..., :1] @ v[:, :, :1])
        close(made.features().patches, view.readout(out).unflatten(1, (3, 5)))
        alone = full[..., 1:] / full[..., 1:].sum(-1, keepdim=True)
        out = view.blocks[-1].merge(alone @ v[:, :, 1:])
        close(
            patches(view, "clearclip", kernel=replace(kk, keys="patches")),
            view.readout(out).unflatten(1, (3, 5)),
        )


def test_gems_iterations_at_zero_temperature_have_no_preference(view):
    """Factor near 0: every map is even, so every token gets the mean of the values, whatever was gathered before."""
    first, second = (
        patches(view, "gem", kernel=gem_kernel(iterations, 1e-7), residual="drop") for iterations in (0, 2)
    )
    close(first, second)
    assert (first - first.mean((1, 2), keepdim=True)).abs().max() < 1e-4


@torch.no_grad()
def test_the_native_grid_needs_no_position_rule(view):
    x = pixels(1, 64, 64)
    rules = ("bicubic", "bicubic_antialias", "bilinear", "dino_bicubic")
    first, *others = (run(view, x, replace(get_recipe("sc_clip"), positions=rule)).patches for rule in rules)
    assert all(torch.equal(first, other) for other in others)


@torch.no_grad()
def test_sizes_seen_before_do_not_matter():
    model = tiny_clip()
    kept = model.visual.positional_embedding.clone()
    view = OpenClipVision(model.visual)
    first = run(view, pixels(1, 96, 48), "clip_surgery").patches
    for size in ((32, 32), (64, 64), (48, 96)):
        run(view, pixels(1, *size), "clip_surgery")
    assert torch.equal(run(view, pixels(1, 96, 48), "clip_surgery").patches, first)
    assert torch.equal(model.visual.positional_embedding, kept)
