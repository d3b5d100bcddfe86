"""CLIPtrase's clusters and vote against the authors' tensors, small cases by hand, and grids that are not square."""

import re

import pytest
import torch
from scipy.ndimage import median_filter
from torch.nn import functional as F

from clipsight.refine import (
    auto_radius,
    cluster_patches,
    cluster_setting,
    cluster_vote,
    denoise_correlation,
    region_map,
    vote,
)
from clipsight.scoring import normalize, pooled_similarity, similarity_maps
from goldens import agree, index, needs_goldens, on_grid, picture, tensors, texts, unchecked


@needs_goldens
@pytest.mark.parametrize("image", ["img_native", "img_160", "img_rect"])
def test_denoised_golden(image):
    correlation = tensors("cliptrase")[f"{image}/corr_layer11"]
    agree(denoise_correlation(correlation[None]), "cliptrase", f"{image}/corr_denoised")


@needs_goldens
@pytest.mark.parametrize("image", ["img_native", "img_160"])
@pytest.mark.parametrize("setting", ["e0", "e1", "e2"])
def test_cluster_and_label_goldens(image, setting):
    golden = tensors("cliptrase")
    options = index()["cliptrase", f"{image}/dbscan_{setting}"]["options"]
    eps, least = re.search(r"eps=([\d.]+), min=(\d+)", options).groups()
    rule = (float(eps), int(least))
    rows = golden[f"{image}/corr_denoised"][None]
    agree(
        cluster_patches(rows[0], eps=rule[0], min_samples=rule[1]), "cliptrase", f"{image}/dbscan_{setting}"
    )
    size = (picture(image).shape[-2], picture(image).shape[-1])
    cosines = similarity_maps(on_grid(golden[f"{image}/patch_features"], image), texts())
    gate = pooled_similarity(golden[f"{image}/cls_feature"][0], texts())
    for name, options in (("PC59", {}), ("VOC20", {"gate": gate}), ("VOC21", {"background": 5})):
        labels = cluster_vote(cosines, rows, size, rule=rule, **options)
        agree(labels, "cliptrase", f"{image}/labels_{name}_{setting}")
    noise_only = cluster_vote(cosines, rows, size, rule=(1e-9, 3))
    agree(noise_only, "cliptrase", f"{image}/labels_before_vote")


def blocks(h: int, w: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A grid whose left half and right half correlate within themselves, and which half a patch is in."""
    half = (torch.arange(w) >= w // 2).expand(h, w).reshape(-1)
    rows = (half[:, None] == half[None]).float()
    return rows + 0.02 * torch.randn(rows.shape, generator=torch.Generator().manual_seed(0)), half


def test_denoised_is_the_definition():
    correlation = torch.randn(2, 7, 7)
    for prefix in (1, 2):
        ours = denoise_correlation(correlation, prefix=prefix)
        for i in range(7 - prefix):
            for j in range(7 - prefix):
                wanted = correlation[:, prefix + i, prefix + j] - correlation[:, 0, prefix + j]
                torch.testing.assert_close(ours[:, i, j], wanted.clamp_min(0))
    with pytest.raises(ValueError, match="prefix=0"):
        denoise_correlation(correlation, prefix=0)


@pytest.mark.parametrize("grid", [(4, 6), (8, 8), (5, 14)])
def test_auto_radius_finds_the_two_halves(grid):
    rows, half = blocks(*grid)
    eps, least = cluster_setting("auto", rows)
    assert eps == auto_radius(rows)
    found = cluster_patches(rows, eps=eps, min_samples=least)
    assert set(found.tolist()) - {-1} == {0, 1}
    assert (found == -1).float().mean() < 0.5
    for cluster in (0, 1):
        assert len(half[found == cluster].unique()) == 1


@pytest.mark.parametrize("rows", [torch.zeros(1, 1), torch.zeros(6, 6), torch.eye(2)])
def test_degenerate_rows_have_a_radius(rows):
    eps = auto_radius(rows)
    assert eps > 0
    assert len(cluster_patches(rows, eps=eps, min_samples=3)) == len(rows)


def test_presets_are_published_and_others_are_said():
    rows = torch.eye(4)
    assert cluster_setting("224", rows) == (0.7, 3)
    assert cluster_setting("336", rows) == (1.1, 7)
    with pytest.raises(ValueError, match=r"0\.7, 3"):
        unchecked(cluster_setting)("448", rows)


def test_regions_are_the_definition_on_a_grid_that_is_not_square():
    rows, half = blocks(4, 6)
    clusters = half.long() * 2
    clusters[5] = -1
    made = region_map(rows, clusters, (4, 6), (37, 50))
    maps = torch.stack([rows[clusters == c].mean(0).reshape(4, 6) for c in (0, 2)])
    large = F.interpolate(maps[None], scale_factor=4, mode="bilinear")[0]
    calm = torch.stack([torch.from_numpy(median_filter(one.numpy(), size=7)) for one in large])
    best = F.interpolate(calm[None], (37, 50), mode="bilinear")[0].argmax(0)
    assert torch.equal(made, best * 2)
    assert (made[:, :20] == 0).all()
    assert (made[:, 30:] == 2).all()


def test_each_region_takes_its_most_frequent_label():
    labels = torch.tensor([[3, 3, 1], [3, 2, 1], [2, 2, 5]])
    regions = torch.tensor([[0, 0, 4], [0, 0, 4], [-1, -1, -1]])
    assert vote(labels, regions).tolist() == [[3, 3, 1], [3, 3, 1], [2, 2, 5]]
    assert vote(torch.tensor([[2, 1]]), torch.tensor([[7, 7]])).tolist() == [[1, 1]]


def test_the_vote_takes_away_specks():
    """A wrong patch in each half is overruled; many texts, so that they are enlarged in parts."""
    rows, half = blocks(4, 6)
    scores = torch.zeros(40, 24)
    scores[17], scores[33] = (~half).float(), half.float()
    scores[:, 0], scores[2, 0] = 0, 1
    scores = scores.reshape(1, 40, 4, 6)
    before = cluster_vote(scores, rows[None], (64, 96), rule=(1e-9, 3))
    after = cluster_vote(scores, rows[None], (64, 96), rule=(1.0, 3))
    assert before[0, 0, 0] == 2
    assert set(after.unique().tolist()) == {17, 33}
    assert torch.equal(before, F.interpolate(scores, (64, 96), mode="bilinear").argmax(1))


def test_batch_is_a_loop():
    rows = torch.stack([blocks(3, 8)[0], blocks(3, 8)[0].flip(0)])
    scores, gate = torch.randn(2, 5, 3, 8), torch.rand(2, 5)
    whole = cluster_vote(scores, rows, (30, 80), gate=gate, background=3)
    single = [
        cluster_vote(scores[i : i + 1], rows[i : i + 1], (30, 80), gate=gate[i : i + 1], background=3)
        for i in range(2)
    ]
    assert torch.equal(whole, torch.cat(single))
    assert whole.max() <= 3


def test_a_class_token_left_in_is_said():
    with pytest.raises(ValueError, match="denoise_correlation"):
        cluster_vote(normalize(torch.randn(1, 2, 3, 4)), torch.rand(1, 13, 13), (6, 8))
