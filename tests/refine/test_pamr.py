"""PAMR against the authors' tensors, a loop over pixels, and its properties."""

import re
import statistics

import pytest
import torch
from torch.nn import functional as F

from clipsight.refine import pamr
from goldens import agree, needs_goldens, picture, tensors, unchecked


def sample(batch: int, texts: int, h: int, w: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(batch, texts, h, w, generator=generator),
        torch.randn(batch, 3, h, w, generator=generator),
    )


@needs_goldens
def test_goldens():
    names = list(tensors("pamr"))
    assert len(names) == 8
    for name in names:
        image, mask, rounds, dilations = re.fullmatch(r"(\w+)/(\w+)_it(\d+)_d([\d-]+)", name).groups()
        dilations = tuple(map(int, dilations.split("-")))
        maps = tensors("inputs")[mask].float()
        refined = pamr(maps, picture(image), iterations=int(rounds), dilations=dilations, chunk=3)
        agree(refined[:, :2], "pamr", name)


def by_pixels(maps: torch.Tensor, image: torch.Tensor, dilations: tuple[int, ...]) -> torch.Tensor:
    """One round, pixel by pixel, for one picture."""
    _, h, w = image.shape
    result = torch.zeros_like(maps)
    around = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    for y in range(h):
        for x in range(w):
            cells = {
                (d, a): (min(max(y + d * a[0], 0), h - 1), min(max(x + d * a[1], 0), w - 1))
                for d in dilations
                for a in around
            }
            spread = [statistics.stdev(image[c, i, j].item() for i, j in cells.values()) for c in range(3)]
            near = [place for (_, a), place in cells.items() if a != (0, 0)]
            likeness = [
                -sum(abs(image[c, y, x] - image[c, i, j]) / (1e-8 + 0.1 * spread[c]) for c in range(3)) / 3
                for i, j in near
            ]
            weights = torch.stack(likeness).softmax(0)
            result[:, y, x] = sum(
                weight * maps[:, i, j] for weight, (i, j) in zip(weights, near, strict=True)
            )
    return result


@pytest.mark.parametrize("dilations", [(1,), (1, 3)])
def test_one_round_is_the_definition(dilations):
    maps, image = sample(1, 2, 5, 7)
    ours = pamr(maps, image, iterations=1, dilations=dilations)
    torch.testing.assert_close(ours[0], by_pixels(maps[0], image[0], dilations), atol=1e-5, rtol=0)


def test_batch_is_a_loop_and_chunks_do_not_matter():
    maps, image = sample(3, 5, 20, 33)
    whole = pamr(maps, image, iterations=3)
    single = torch.cat([pamr(maps[i : i + 1], image[i : i + 1], iterations=3, chunk=2) for i in range(3)])
    torch.testing.assert_close(whole, single, atol=1e-6, rtol=0)


def test_constant_maps_are_fixed_and_values_stay_within_bounds():
    maps, image = sample(2, 3, 18, 25)
    assert torch.allclose(pamr(torch.full_like(maps, 0.7), image), torch.tensor(0.7), atol=1e-5)
    refined = pamr(maps, image)
    assert (refined.amax((2, 3)) <= maps.amax((2, 3)) + 1e-5).all()
    assert (refined.amin((2, 3)) >= maps.amin((2, 3)) - 1e-5).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (16, 20)])
def test_a_constant_picture_gives_numbers(size):
    maps, _ = sample(1, 2, 3, 4)
    assert pamr(maps, torch.ones(1, 3, *size)).isfinite().all()


def test_maps_follow_the_edge_of_the_picture():
    """A blurred edge at the wrong column moves to the picture's edge."""
    image = torch.zeros(1, 3, 24, 40)
    image[..., 20:] = 1
    image += 0.01 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    ramp = torch.linspace(0, 1, 40).expand(1, 1, 24, 40)
    refined = pamr(ramp, image, iterations=10, dilations=(1, 2))
    assert (
        refined[..., 20:].mean() - refined[..., :20].mean()
        >= ramp[..., 20:].mean() - ramp[..., :20].mean() - 1e-3
    )
    jump = (refined[..., 20] - refined[..., 19]).mean()
    assert jump > 3 * (ramp[..., 20] - ramp[..., 19]).mean()


def test_no_rounds_only_resizes_and_half_precision_gives_float32():
    maps, image = sample(1, 2, 3, 4)
    big = F.interpolate(image, (9, 13))
    expected = F.interpolate(maps, (9, 13), mode="bilinear", align_corners=True)
    assert torch.equal(pamr(maps, big, iterations=0), expected)
    assert pamr(maps.half(), big.half()).dtype == torch.float32


@pytest.mark.parametrize(
    "wrong", [{"iterations": -1}, {"dilations": ()}, {"dilations": (0,)}, {"chunk": 0}, {"image": 2}]
)
def test_what_cannot_be_refined_is_said(wrong):
    maps, image = sample(1, 2, 4, 5)
    if "image" in wrong:
        with pytest.raises(ValueError, match="expand"):
            unchecked(pamr)(maps, image.repeat(2, 1, 1, 1))
    else:
        with pytest.raises(ValueError, match="iterations=10"):
            pamr(maps, image, **wrong)
