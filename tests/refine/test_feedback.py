"""ResCLIP's feedback against the authors' tensors and a loop over pairs of patches."""

import math

import pytest
import torch
from einops import rearrange
from torch.nn import functional as F

from clipsight.refine import feedback, feedback_map, pamr, patch_labels, semantic_map
from clipsight.scoring import similarity_maps
from goldens import agree, needs_goldens, on_grid, picture, tensors, texts


def with_prefix(made: torch.Tensor) -> torch.Tensor:
    return F.pad(made, (1, 0, 1, 0))


@needs_goldens
@pytest.mark.parametrize("image", ["img_native", "img_160", "img_rect"])
@pytest.mark.parametrize(("path", "suffix"), [(True, ""), (False, "_nopath")])
def test_goldens(image, path, suffix):
    first = on_grid(tensors("resclip")[f"{image}/patch_features_rcs_wo_resi_resclip"], image)
    labels, made = feedback_map(
        similarity_maps(first, texts()), picture(image), logit_scale=40.0, threshold=0.6, path=path
    )
    agree(labels, "resclip", f"{image}/sfr_patch_labels{suffix}")
    agree(with_prefix(made), "resclip", f"{image}/sfr_map{suffix}")


@needs_goldens
def test_golden_probabilities():
    first = on_grid(tensors("resclip")["img_native/patch_features_rcs_wo_resi_resclip"], "img_native")
    pixels = F.interpolate(similarity_maps(first, texts()), (128, 128), mode="bilinear")
    likely = (40 * pamr(pixels, picture("img_native"))).softmax(1)
    agree(likely[:, :4], "resclip", "img_native/sfr_pixel_probs")


def by_pairs(labels: torch.Tensor, path: bool, whole_line: bool, sigma: float = 5.0) -> torch.Tensor:
    """One picture, pair by pair, step by step."""
    h, w = labels.shape
    cells = [(y, x) for y in range(h) for x in range(w)]
    farthest = max(h, w) - 1
    made = torch.zeros(h * w, h * w)
    line = torch.linspace(0, 1, farthest + 1)
    for i, (y, x) in enumerate(cells):
        for j, (v, u) in enumerate(cells):
            if labels[y, x] != labels[v, u]:
                continue
            distance = max(abs(y - v), abs(x - u))
            steps = farthest if whole_line else distance
            walked = [
                (torch.tensor([y, x]) * (1 - t) + torch.tensor([v, u]) * t).round().long() for t in line
            ]
            leaves = any(labels[a, b] != labels[y, x] for a, b in walked[: steps + 1])
            made[i, j] = math.exp(-distance / farthest) if path and leaves else 1
    window = min(h * w, int(6 * sigma + 1))
    reach = (window + 1 - window % 2) // 2
    weights = [math.exp(-(k**2) / (2 * sigma**2)) for k in range(-reach, reach + 1)]
    blurred = torch.zeros_like(made)
    for j in range(h * w):
        for k in range(-reach, reach + 1):
            if 0 <= j + k < h * w:
                blurred[:, j] += weights[k + reach] / sum(weights) * made[:, j + k]
    return blurred / blurred.sum(-1, keepdim=True)


@pytest.mark.parametrize("size", [(2, 3), (4, 7), (6, 5)])
@pytest.mark.parametrize(("path", "whole_line"), [(False, False), (True, False), (True, True)])
def test_the_map_is_the_definition(size, path, whole_line, monkeypatch):
    monkeypatch.setattr(feedback, "_PAIRS", 40)  # several parts
    labels = torch.randint(0, 3, (2, *size), generator=torch.Generator().manual_seed(1))
    made = semantic_map(labels, path=path, whole_line=whole_line)
    for ours, one in zip(made, labels, strict=True):
        torch.testing.assert_close(ours, by_pairs(one, path, whole_line), atol=1e-5, rtol=0)


def test_the_whole_line_decays_at_least_as_much():
    labels = torch.tensor([[[0, 1, 0, 0, 0, 0, 0, 1, 0]]])
    decay = feedback._decay(labels, whole_line=True)
    assert (decay <= feedback._decay(labels, whole_line=False)).all()
    assert decay[0, 0, 2] < 1
    assert feedback._decay(labels, whole_line=False)[0, 0, 2] == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 1), (31, 1), (5, 8)])
def test_one_label_gives_rows_that_sum_to_one(size):
    made = semantic_map(torch.zeros(1, *size, dtype=torch.long))
    torch.testing.assert_close(made.sum(-1), torch.ones(1, size[0] * size[1]))
    assert made.dtype == torch.float32


def test_patch_labels_are_the_mode_and_unsure_pixels_count_for_text_0():
    labels = torch.tensor([[2, 2, 1, 1, 3, 3], [2, 1, 2, 2, 3, 0]])
    sure = torch.full((2, 6), 0.9)
    sure[0, 4:], sure[1, 4] = 0.3, 0.3
    likely = F.one_hot(labels, 4) * (sure - 0.025)[..., None] + 0.025
    likely = rearrange(likely, "H W T -> 1 T H W")
    assert patch_labels(likely, (1, 3), threshold=0.5).tolist() == [[[2, 1, 0]]]
    assert patch_labels(likely, (1, 3), threshold=0.1).tolist() == [[[2, 1, 3]]]


def test_batch_is_a_loop():
    cosines, image = torch.randn(3, 5, 3, 4) * 0.1, torch.randn(3, 3, 24, 32)
    labels, made = feedback_map(cosines, image, threshold=0.4)
    for i in range(3):
        label, one = feedback_map(cosines[i : i + 1], image[i : i + 1], threshold=0.4)
        assert torch.equal(label[0], labels[i])
        torch.testing.assert_close(one[0], made[i])


def test_pixels_that_do_not_divide_are_said():
    with pytest.raises(ValueError, match="multiples of 3 and 4"):
        patch_labels(torch.rand(1, 2, 25, 32), (3, 4), threshold=0.1)
