"""Changing the trunk: denoised patches and refocused attention, against definitions patch by patch."""

from dataclasses import replace

import pytest
import torch

from clipsight.features import Denoise, Entered, ImagePass, Refocus, Similarity, Smooth, get_recipe
from clipsight.features.recipes.rf_clip import SINKS, rf_clip_edit
from clipsight.towers.open_clip_vit import OpenClipVision
from features import reference
from tiny import pixels, tiny_clip


def patches(count: int, width: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, count, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("grid", [(3, 4), (4, 3), (1, 5)])
@pytest.mark.parametrize("sinks", [(3,), (0, 7), None], ids=str)
@pytest.mark.parametrize("sigma", [1.5, 2.2])
def test_denoising_is_its_definition(grid, sinks, sigma):
    x = patches(grid[0] * grid[1])
    edit = Denoise(sinks=((16, sinks),) if sinks else SINKS, sigma=sigma)
    expected = torch.stack([reference.denoised(one, grid, sinks, sigma) for one in x])
    torch.testing.assert_close(edit.patches(x, grid), expected)


def test_only_the_dominated_patch_is_blended():
    x = torch.zeros(1, 9, 16)
    x[0, :, 1:] = 1.0
    x[0, 4, 3] = 50.0
    edit = Denoise(sinks=((16, (3,)),))
    assert edit.flags(x)[0].tolist() == [i == 4 for i in range(9)]
    made = edit.patches(x, (3, 3))
    torch.testing.assert_close(made[0, 4], 0.6 * x[0, 4] + 0.4 * x[0].mean(0))
    assert torch.equal(made[0, :4], x[0, :4])
    assert not Denoise(sinks=((16, (5,)),)).flags(x).any()


def test_nothing_flagged_hands_the_same_tensor_on():
    x = patches(12)
    assert Denoise(sinks=((16, (3,)),), sigma=16.0).patches(x, (3, 4)) is x


def test_cells_outside_count_as_zero():
    x = torch.ones(1, 1, 16)
    x[0, 0, 3] = 100.0
    made = Denoise(sinks=((16, (3,)),)).patches(x, (1, 1))
    torch.testing.assert_close(made, (0.6 + 0.4 / 9) * x)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0])
def test_constant_patches_are_not_flagged(value):
    assert not Denoise(sinks=SINKS).flags(torch.full((1, 6, 16), value)).any()


def test_sinks_are_estimated_picture_by_picture():
    x = patches(12)
    x[0, 3, 5], x[1, 8, 9] = 60.0, 60.0
    edit = Denoise(sinks=SINKS)
    together = edit.flags(x)
    assert together.nonzero().tolist() == [[0, 3], [1, 8]]
    assert torch.equal(torch.cat([edit.flags(one) for one in x.split(1)]), together)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_finite_patches(dtype):
    x = 50 * patches(12).to(dtype)
    x[0, 3, 5] = 6e4 if dtype == torch.float16 else 1e30
    made = Denoise(sinks=((16, (5,)),)).patches(x, (3, 4))
    assert made.dtype == dtype
    assert made.isfinite().all()


def weights(heads: int = 2, tokens: int = 8) -> torch.Tensor:
    scores = torch.randn(2, heads, tokens, tokens, generator=torch.Generator().manual_seed(4))
    scores[..., 3] += 2
    return scores.softmax(-1)


def refocused(maps: torch.Tensor, threshold: float, keep: float, prefix: int = 1) -> torch.Tensor:
    """The definition, entry by entry."""
    out = maps.clone()
    for b, k in [(b, k) for b in range(maps.shape[0]) for k in range(maps.shape[1])]:
        one, count = maps[b, k], maps.shape[-1]
        sinks = [j for j in range(prefix, count) if one[prefix:, j].sum() / count > threshold]
        for i in range(prefix, count):
            freed = sum((1 - keep) * float(one[i, j]) for j in sinks)
            others = [j for j in range(prefix, count) if j not in sinks]
            total = sum(float(one[i, j]) for j in others)
            for j in sinks:
                out[b, k, i, j] = keep * one[i, j]
            for j in others:
                out[b, k, i, j] = one[i, j] + freed * one[i, j] / (total + 1e-8)
    return out


@pytest.mark.parametrize("threshold", [0.1, 0.2, 0.9])
def test_refocus_is_its_definition(threshold):
    maps = weights()
    made = Refocus(threshold=threshold, keep=0.6).apply(maps, 1)
    torch.testing.assert_close(made, refocused(maps, threshold, 0.6))
    torch.testing.assert_close(made.sum(-1), torch.ones(2, 2, 8))
    assert torch.equal(made[:, :, 0], maps[:, :, 0])
    assert torch.equal(made[..., 0], maps[..., 0])
    assert torch.equal(made, maps) == (threshold == 0.9)


def test_when_every_patch_is_a_sink_weights_are_lost_not_nan():
    made = Refocus(threshold=0.0).apply(weights(), 1)
    assert made.isfinite().all()
    torch.testing.assert_close(made[:, :, 1:, 1:], 0.6 * weights()[:, :, 1:, 1:])


@torch.inference_mode()
def test_the_pooled_feature_is_the_towers_own_when_the_trunk_is_changed():
    model = tiny_clip()
    view, x = OpenClipVision(model.visual), pixels(2, 64, 64)
    recipe = replace(get_recipe("rf_clip"), edit=rf_clip_edit((3, 9, 40), 64, sigma=1.5))
    for one in (recipe, replace(recipe, edit=replace(recipe.edit, refocus=Refocus(threshold=0.02)))):
        made = ImagePass(view, x, one)
        assert made.edited
        torch.testing.assert_close(made.features().pooled, model.encode_image(x), atol=1e-5, rtol=0)
    untouched = ImagePass(view, x, replace(recipe, edit=rf_clip_edit((3, 9, 40), 64, sigma=64.0)))
    assert not untouched.edited
    torch.testing.assert_close(untouched.features().pooled, model.encode_image(x), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_the_last_blocks_attention_is_not_refocused():
    """A tower of one block: nothing is left to change, and the pooled feature is from the pass itself."""
    view, x = OpenClipVision(tiny_clip(layers=1).visual), pixels()
    edit = Denoise(sinks=SINKS, sigma=64.0, refocus=Refocus(threshold=0.0))
    plain = get_recipe("clip")
    changed = ImagePass(view, x, replace(plain, id="mine", edit=edit)).features()
    torch.testing.assert_close(
        changed.patches, ImagePass(view, x, "clip").features().patches, atol=1e-5, rtol=0
    )


class Alike(ImagePass):
    """A pass in which all patches look alike."""

    def __init__(self, count: int) -> None:
        self.count, self.prefix, self.grid, self.depth, self.level = count, 1, (1, count), 1, 1
        self.scratch, self.entered = {}, torch.ones(1, count, 2)

    def map(self, kind: object) -> torch.Tensor:
        return torch.ones(1, 1, self.count, self.count)


def test_sums_over_many_like_patches_do_not_overflow_in_half_precision():
    """RF-CLIP's sums are not divided: 2,304 patches of a channel at 40 pass the greatest float16."""
    smooth = Smooth(Similarity(Entered(), 0.4), normalize=False)
    made = smooth.apply(torch.full((1, 2304, 2), 40.0).half(), Alike(2304))
    assert made.isfinite().all()
