"""Guided and joint bilateral upsampling against their definitions, pixel by pixel, and their properties."""

import itertools
from functools import cache

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import clipsight
from clipsight.bench.emoji import noun_features, ready
from clipsight.refine.guided import bilateral_upsample, guided_upsample
from clipsight.world import make_scenes
from goldens import unchecked

BOTH = pytest.mark.parametrize("upsample", [guided_upsample, bilateral_upsample])


def sample(batch: int, texts: int, h: int, w: int, H: int, W: int, seed: int = 0) -> tuple:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(batch, texts, h, w, generator=generator),
        torch.rand(batch, 3, H, W, generator=generator),
    )


def guided_by_pixels(maps: torch.Tensor, image: torch.Tensor, radius: int, eps: float) -> torch.Tensor:
    """One picture, one map: the fit in every window by least squares with a ridge, then the mean of the fits."""
    _, H, W = image.shape
    p = F.interpolate(maps[None, None].double(), (H, W), mode="bilinear", align_corners=False)[0, 0]
    centred = image.double() - image.double().mean((1, 2), keepdim=True)
    colours = centred / centred.square().mean().sqrt()

    def window(y: int, x: int) -> tuple[slice, slice]:
        return slice(max(y - radius, 0), y + radius + 1), slice(max(x - radius, 0), x + radius + 1)

    fits = {}
    for y, x in itertools.product(range(H), range(W)):
        there, values = colours[(slice(None), *window(y, x))].flatten(1), p[window(y, x)].flatten()
        around = there - there.mean(1, keepdim=True)
        covariance = around @ around.T / len(values)
        a = torch.linalg.solve(
            covariance + eps * torch.eye(3).double(), around @ (values - values.mean()) / len(values)
        )
        fits[y, x] = a, values.mean() - a @ there.mean(1)
    result = torch.zeros(H, W, dtype=torch.double)
    for y, x in itertools.product(range(H), range(W)):
        rows, columns = window(y, x)
        near = list(itertools.product(range(H)[rows], range(W)[columns]))
        result[y, x] = sum(fits[k][0] @ colours[:, y, x] + fits[k][1] for k in near) / len(near)
    return result.float()


@pytest.mark.parametrize(("radius", "eps"), [(1, 0.01), (3, 0.2)])
def test_the_guided_filter_is_its_definition(radius, eps):
    maps, image = sample(1, 1, 2, 3, 7, 9)
    ours = guided_upsample(maps, image, radius=radius, eps=eps)
    torch.testing.assert_close(
        ours[0, 0], guided_by_pixels(maps[0, 0], image[0], radius, eps), atol=1e-5, rtol=0
    )


def test_joint_bilateral_is_its_definition():
    maps, image = sample(1, 1, 2, 3, 6, 12)
    ours = bilateral_upsample(maps, image, reach=1, spread=0.6, tolerance=0.5)[0, 0]
    centred = image[0].double() - image[0].double().mean((1, 2), keepdim=True)
    colours = centred / centred.square().mean().sqrt()
    cells = F.interpolate(colours[None], (2, 3), mode="area")[0]
    for y, x in itertools.product(range(6), range(12)):
        row, column = (y + 0.5) * 2 / 6 - 0.5, (x + 0.5) * 3 / 12 - 0.5
        total = value = 0.0
        for down, right in itertools.product((-1, 0, 1), repeat=2):
            far = (row - round(row) - down) ** 2 + (column - round(column) - right) ** 2
            place = min(max(round(row) + down, 0), 1), min(max(round(column) + right, 0), 2)
            unlike = float((colours[:, y, x] - cells[(slice(None), *place)]).square().sum())
            weight = torch.tensor(-far / (2 * 0.6**2) - unlike / (2 * 0.5**2)).exp().item()
            total, value = total + weight, value + weight * maps[(0, 0, *place)].item()
        assert ours[y, x].item() == pytest.approx(value / total, abs=1e-5)


@BOTH
def test_batch_is_a_loop_and_chunks_do_not_matter(upsample):
    maps, image = sample(3, 5, 4, 6, 20, 33)
    whole = upsample(maps, image)
    assert whole.shape == (3, 5, 20, 33)
    single = torch.cat([upsample(maps[i : i + 1], image[i : i + 1], chunk=2) for i in range(3)])
    torch.testing.assert_close(whole, single, atol=1e-6, rtol=0)


@BOTH
def test_constant_maps_are_fixed_and_the_scale_of_the_picture_does_not_matter(upsample):
    maps, image = sample(2, 2, 3, 5, 18, 25)
    assert torch.allclose(upsample(torch.full_like(maps, 0.7), image), torch.tensor(0.7), atol=1e-6)
    torch.testing.assert_close(upsample(maps, image), upsample(maps, 255 * image - 40), atol=1e-4, rtol=0)
    torch.testing.assert_close(upsample(maps + 1000, image) - 1000, upsample(maps, image), atol=1e-3, rtol=0)


def test_joint_bilateral_stays_within_the_map():
    maps, image = sample(2, 3, 4, 4, 30, 20)
    refined = bilateral_upsample(maps, image, tolerance=1e-3)
    assert refined.isfinite().all()
    assert (refined.amax((2, 3)) <= maps.amax((2, 3)) + 1e-6).all()
    assert (refined.amin((2, 3)) >= maps.amin((2, 3)) - 1e-6).all()


@BOTH
@pytest.mark.parametrize("value", [0.0, 0.3, 255.0])
@pytest.mark.parametrize(("grid", "size"), [((1, 1), (1, 1)), ((1, 2), (1, 6)), ((3, 4), (16, 20))])
def test_a_picture_of_one_colour_gives_smooth_numbers(upsample, value, grid, size):
    maps, _ = sample(1, 2, *grid, 1, 1)
    refined = upsample(maps, torch.full((1, 3, *size), value))
    assert refined.isfinite().all()
    assert refined.abs().max() <= maps.abs().max() + 1e-5


@BOTH
def test_maps_follow_the_edge_of_the_picture(upsample):
    """The edge at pixel 22 lies inside a cell of 8: the coarse map cannot know it, the picture does."""
    image = torch.zeros(1, 3, 32, 48)
    image[..., 22:] = 1
    image += 0.02 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    truth = torch.zeros(1, 1, 32, 48)
    truth[..., 22:] = 1
    coarse = F.interpolate(truth, (4, 6), mode="area")
    plain = F.interpolate(coarse, (32, 48), mode="bilinear", align_corners=False)
    refined = upsample(coarse, image)
    near = (..., slice(18, 26))
    assert (refined - truth)[near].abs().mean() < 0.5 * (plain - truth)[near].abs().mean()
    assert (refined[..., 22] - refined[..., 21]).mean() > 4 * (plain[..., 22] - plain[..., 21]).mean()


@BOTH
def test_half_precision_gives_float32(upsample):
    maps, image = sample(1, 2, 3, 4, 12, 16)
    assert upsample(maps.half(), image.half()).dtype == torch.float32


@pytest.mark.parametrize(
    ("upsample", "wrong"),
    [
        (guided_upsample, {"radius": 0}),
        (guided_upsample, {"eps": 0.0}),
        (guided_upsample, {"chunk": 0}),
        (bilateral_upsample, {"reach": -1}),
        (bilateral_upsample, {"spread": 0.0}),
        (bilateral_upsample, {"tolerance": -1.0}),
        (bilateral_upsample, {"chunk": 0}),
    ],
)
def test_what_cannot_be_refined_is_said(upsample, wrong):
    maps, image = sample(1, 2, 3, 4, 12, 16)
    with pytest.raises(ValueError, match=r"cannot be used: .* defaults"):
        upsample(maps, image, **wrong)


def test_pictures_must_fit_the_maps():
    maps, image = sample(2, 2, 3, 4, 12, 16)
    for upsample in (guided_upsample, bilateral_upsample):
        with pytest.raises(ValueError, match="expand"):
            unchecked(upsample)(maps, image[:1])
        for which in (maps, image):
            spoilt = which.clone()
            spoilt[0, 0, 0, 0] = torch.nan
            with pytest.raises(ValueError, match="not finite"):
                upsample(*((spoilt, image) if which is maps else (maps, spoilt)))
    with pytest.raises(ValueError, match="finer"):
        bilateral_upsample(maps, image[..., :2, :])


@cache
def world() -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Maps of the nouns of 16 held-out scenes, their pictures and their masks."""
    lens = clipsight.load("clipsight-tiny", device="cpu")
    (part,) = ready(lens, list(make_scenes(16, 7, "heldout")))
    maps = lens.maps(part.pixels, noun_features(lens), "clip_surgery", "labels")
    return maps[part.picture, part.noun][:, None], part.pixels[part.picture], part.masks


def overlap(maps: torch.Tensor, masks: np.ndarray) -> float:
    """Mean over maps of the best intersection over union that a threshold gives."""
    best = []
    for scores, mask in zip(maps[:, 0].numpy(), masks, strict=True):
        kept = [scores > at for at in np.linspace(scores.min(), scores.max(), 32)[1:-1]]
        best.append(max((one & mask).sum() / (one | mask).sum() for one in kept))
    return float(np.mean(best))


@BOTH
def test_outlines_on_the_world_get_better(upsample):
    """Measured on 48 scenes of another seed: 0.49 bilinear, 0.70 guided, 0.67 joint bilateral."""
    maps, image, masks = world()
    plain = F.interpolate(maps, image.shape[-2:], mode="bilinear", align_corners=False)
    assert overlap(upsample(maps, image), masks) > overlap(plain, masks) + 0.1
