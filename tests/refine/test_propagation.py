"""Text-aware propagation against the authors' tensors, a dense solver, and its properties."""

import pytest
import torch
from torch.nn import functional as F

from clipsight.refine import propagate, propagation, text_coupling
from clipsight.scoring import similarity_maps
from goldens import agree, needs_goldens, on_grid, picture, tensors, texts, unchecked


def sample(batch: int, count: int, h: int, w: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(batch, count, h, w, generator=generator),
        torch.randn(batch, 3, h, w, generator=generator),
        torch.randn(count, 16, generator=generator),
    )


@needs_goldens
@pytest.mark.parametrize(("image", "grid"), [("img_native", 80), ("img_160", 80), ("img_rect", 32)])
def test_goldens(image, grid):
    pixels = picture(image)
    cosines = similarity_maps(
        on_grid(tensors("pearl")[f"{image}/patch_features_polar5_a008"], image), texts()
    )
    cosines = F.interpolate(cosines, pixels.shape[-2:], mode="bilinear", align_corners=False)
    agree(propagate(cosines, pixels, texts(), grid=grid)[:, :4], "pearl", f"{image}/tlp_grid{grid}")


@needs_goldens
def test_text_coupling_golden():
    agree(text_coupling(texts()), "pearl", "img_native/tlp_text_coupling")


def by_definition(z, image, features, coupling):
    """One picture, every cell by hand, the system solved exactly in float64."""
    z, image = z.double(), image.double()
    count, h, w = z.shape
    unit = F.normalize(features.double(), dim=-1)
    s = (unit @ unit.T / 0.5).softmax(-1) + 10 * torch.eye(count)
    s = s / s.sum(-1, keepdim=True)
    if coupling == "diag":
        s = s.diagonal().diag()
    p = z.softmax(0)
    gray = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
    matrix, confidence = torch.zeros(h * w, h * w).double(), torch.zeros(h * w).double()
    for y in range(h):
        for x in range(w):
            agreement = (p[:, y, x] @ s @ p[:, y, x]).clamp(0, 1)
            confidence[y * w + x] = p[:, y, x].max().clamp_min(0.05) ** 2 * (1 + agreement)
    for dy, dx in ((1, 0), (0, 1)):
        pairs = [((y, x), (y + dy, x + dx)) for y in range(h - dy) for x in range(w - dx)]
        mean = torch.stack([(gray[a] - gray[b]).abs() for a, b in pairs]).mean()
        for a, b in pairs:
            alike = (-5 * (gray[a] - gray[b]).abs() / (mean + 1e-6)).exp()
            weight = (alike * (1 + (p[:, a[0], a[1]] @ s @ p[:, b[0], b[1]]).clamp(0, 1))).clamp(0, 1)
            i, j = a[0] * w + a[1], b[0] * w + b[1]
            matrix[i, i] += weight
            matrix[j, j] += weight
            matrix[i, j] -= weight
            matrix[j, i] -= weight
    solved = torch.linalg.solve(matrix + confidence.diag(), (confidence * z.reshape(count, -1)).T)
    return solved.T.reshape(z.shape)


@pytest.mark.parametrize("coupling", ["diag", "full"])
def test_many_steps_solve_the_system_of_the_definition(coupling):
    maps, image, features = sample(2, 4, 5, 7)
    ours = propagate(maps, image, features, steps=200, coupling=coupling)
    for i in range(2):
        exact = by_definition(maps[i], image[i], features, coupling)
        torch.testing.assert_close(ours[i].double(), exact, atol=1e-4, rtol=0)


def test_the_full_coupling_is_another_system():
    maps, image, features = sample(1, 4, 5, 7)
    diag, full = (propagate(maps, image, features, coupling=c) for c in ("diag", "full"))
    assert (diag - full).abs().max() > 1e-5


def test_batch_is_a_loop():
    maps, image, features = sample(3, 4, 17, 30)
    whole = propagate(maps, image, features, grid=8)
    single = torch.cat([propagate(maps[i : i + 1], image[i : i + 1], features, grid=8) for i in range(3)])
    torch.testing.assert_close(whole, single, atol=1e-5, rtol=0)


def test_without_edges_nothing_moves():
    maps = sample(1, 3, 4, 6)[0]
    alone = propagation._System(
        torch.rand(1, 1, 4, 6) + 0.1, torch.zeros(1, 1, 3, 6), torch.zeros(1, 1, 4, 5)
    )
    assert torch.equal(propagation._conjugate_gradients(alone, maps, 25), maps)


def test_sure_cells_stay_and_more_steps_come_nearer():
    maps, image, features = sample(1, 3, 12, 9)
    system = propagation._system(maps, image, text_coupling(features), "diag")
    sure = propagation._System(system.confidence * 1e5, system.down, system.right)
    torch.testing.assert_close(propagation._conjugate_gradients(sure, maps, 25), maps, atol=1e-3, rtol=0)
    errors = [
        (system.confidence * maps - system(propagation._conjugate_gradients(system, maps, steps))).norm()
        for steps in (0, 3, 6, 12)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.05 * errors[0]


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 1), (7, 10)])
def test_constants_and_slivers_give_numbers(size):
    features = sample(1, 2, 1, 1)[2]
    maps = torch.full((1, 2, *size), 0.3)
    out = propagate(maps, torch.ones(1, 3, *size), features, grid=3)
    torch.testing.assert_close(out, maps)


def test_coupling_rows_sum_to_one_at_any_length():
    features = sample(1, 5, 1, 1)[2]
    coupling = text_coupling(7 * features)
    torch.testing.assert_close(coupling.sum(-1), torch.ones(5))
    torch.testing.assert_close(coupling, text_coupling(features))
    assert (coupling.diagonal() > 0.9).all()


@pytest.mark.parametrize("wrong", [{"coupling": "half"}, {"grid": 0}, {"steps": -1}])
def test_unknown_settings_are_said(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        unchecked(propagate)(*sample(1, 2, 3, 4), **wrong)


def test_texts_of_other_maps_are_said():
    maps, image, features = sample(1, 2, 3, 4)
    with pytest.raises(ValueError, match="very texts"):
        unchecked(propagate)(maps, image, features[:1])
