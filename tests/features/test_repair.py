"""Doubtful patches: who flags them, against definitions and the textbook, and what replaces them."""

import warnings

import pytest
import torch
from sklearn.neighbors import LocalOutlierFactor

from clipsight.features import ClassFocus, ImagePass, LargestNorm, LocalOutliers, Repair, Span, run
from clipsight.features.token_streams import Entered, Repaired
from clipsight.towers.open_clip_vit import OpenClipVision
from features import reference
from tiny import pixels, tiny_clip


class Points(ImagePass):
    """A pass whose tokens of any source are one class token and the points, and whose records are the points."""

    def __init__(self, points: torch.Tensor) -> None:
        self.points, self.prefix, self.grid = points, 1, (1, points.shape[1])
        self.depth, self.level, self.scratch, self.entered = 1, 1, {}, points

    def tokens(self, source: object) -> torch.Tensor:
        return torch.cat([torch.full_like(self.points[:, :1], 100.0), self.points], dim=1)

    def recorded(self, record: object) -> torch.Tensor:
        return self.points


def scores(points: torch.Tensor, **options) -> torch.Tensor:
    return LocalOutliers(Entered(), **options).scores(Points(points))


def cloud(count: int = 40, batch: int = 2, seed: int = 0) -> torch.Tensor:
    """Points in 6 dimensions, the third of each picture far outside."""
    points = torch.randn(batch, count, 6, generator=torch.Generator().manual_seed(seed))
    points[:, 2] += 20
    return points


@pytest.mark.parametrize(("count", "k"), [(40, 30), (40, 5), (31, 30)])
def test_the_released_factor_is_its_definition(count, k):
    points = cloud(count)
    expected = torch.stack([reference.outlier_scores(one, k) for one in points])
    torch.testing.assert_close(scores(points, neighbours=k), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("k", [5, 30])
def test_the_textbooks_factor_is_scikit_learns(k):
    """On squared distances, which is what the method has."""
    points = cloud()
    found = LocalOutlierFactor(n_neighbors=k, metric="sqeuclidean")
    expected = torch.stack(
        [torch.from_numpy(-found.fit(one.double().numpy()).negative_outlier_factor_) for one in points]
    )
    ours = scores(points, neighbours=k, reach="neighbour")
    torch.testing.assert_close(ours.double(), expected, rtol=1e-4, atol=0)


def test_the_two_factors_differ_but_agree_on_what_is_far_outside():
    points = cloud()
    own, textbook = scores(points), scores(points, reach="neighbour")
    assert (own - textbook).abs().max() > 0.1
    assert own.argmax(1).tolist() == textbook.argmax(1).tolist() == [2, 2]


@pytest.mark.parametrize("reach", ["own", "neighbour"])
@pytest.mark.parametrize("count", [1, 2, 3, 31])
def test_few_patches_have_finite_scores(count, reach):
    made = scores(cloud(40)[:, :count], reach=reach)
    assert made.shape == (2, count)
    assert made.isfinite().all()
    if count < 3:
        torch.testing.assert_close(made, torch.ones(2, count))


@pytest.mark.parametrize("reach", ["own", "neighbour"])
def test_equal_points_are_no_outliers(reach):
    detector = LocalOutliers(Entered(), reach=reach)
    assert not detector.flags(Points(torch.ones(2, 40, 6))).any()


@pytest.mark.parametrize(("count", "flagged"), [(40, 2), (31, 2), (100, 5)])
def test_a_twentieth_is_flagged_picture_by_picture(count, flagged):
    flags = LocalOutliers(Entered()).flags(Points(cloud(count, batch=3)))
    assert flags.sum(1).tolist() == [flagged] * 3
    assert flags[:, 2].all()


def test_scores_do_not_depend_on_the_order_or_the_batch():
    points, order = cloud(), torch.randperm(40, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(scores(points[:, order]), scores(points)[:, order], rtol=1e-4, atol=0)
    torch.testing.assert_close(scores(points[:1]), scores(points)[:1], rtol=1e-4, atol=0)


def test_half_precision_does_not_overflow():
    """Norms beyond 256, whose squares no float16 holds."""
    assert scores(400 * cloud().half()).isfinite().all()


def test_the_largest_norms():
    points = cloud(12, batch=2)
    points[1, 5] *= 100
    assert LargestNorm(Entered(), top=2).flags(Points(points)).sum(1).tolist() == [2, 2]
    assert LargestNorm(Entered(), top=1).flags(Points(points)).nonzero().tolist() == [[0, 2], [1, 5]]
    assert LargestNorm(Entered()).flags(Points(points[:, :4])).all()


def test_what_the_class_token_stares_at():
    """Candidates beat their own weight; of more than `top` candidates those with the largest weight."""
    seen = torch.tensor([[0.5, 0.1, 0.3, 0.2], [0.1, 0.1, 0.1, 0.1]])
    own = torch.tensor([[0.1, 0.4, 0.1, 0.1], [0.1, 0.2, 0.3, 0.05]])
    recorded = Points(torch.stack([seen, own], 1))
    assert ClassFocus(Span(-2, -2), top=2).flags(recorded).nonzero().tolist() == [[0, 0], [0, 2], [1, 3]]
    assert ClassFocus(Span(-2, -2)).flags(recorded).sum(1).tolist() == [3, 1]


def repaired(flags: torch.Tensor, points: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Before and after on a grid, (B, h w, 3)."""
    grid = (flags.shape[1], flags.shape[2])
    count = grid[0] * grid[1]
    if points is None:
        points = torch.randn(len(flags), count, 3, generator=torch.Generator().manual_seed(1))
    return points, Repair(LargestNorm(Entered())).apply(points, flags.flatten(1), grid)


@pytest.mark.parametrize("grid", [(3, 5), (5, 3), (1, 6), (6, 7)])
def test_repair_is_its_definition(grid):
    flags = torch.rand(3, *grid, generator=torch.Generator().manual_seed(2)) < 0.4
    before, after = repaired(flags)
    for one, made, flagged in zip(before, after, flags.flatten(1), strict=True):
        torch.testing.assert_close(made, reference.mended(one, flagged, grid))


def test_a_corner_takes_its_three_neighbours():
    flags = torch.zeros(1, 3, 4, dtype=torch.bool)
    flags[0, 2, 3] = True
    before, after = repaired(flags)
    torch.testing.assert_close(after[0, 11], before[0, [6, 7, 10]].mean(0))
    assert torch.equal(after[0, :11], before[0, :11])


def test_without_a_clean_neighbour_a_patch_stays():
    flags = torch.zeros(1, 4, 4, dtype=torch.bool)
    flags[0, :2, :2] = True
    flags[0, :3, :3] = True
    before, after = repaired(flags)
    assert torch.equal(after[0, 0], before[0, 0])  # its three neighbours are flagged too
    assert not torch.equal(after[0, 10], before[0, 10])
    everything = torch.ones(2, 3, 3, dtype=torch.bool)
    before, after = repaired(everything)
    assert torch.equal(before, after)
    alone = torch.ones(1, 1, 1, dtype=torch.bool)
    assert torch.equal(*repaired(alone))


def test_an_outlier_lends_nothing_to_another():
    flags = torch.zeros(1, 1, 3, dtype=torch.bool)
    flags[0, 0, :2] = True
    points = torch.tensor([[[1e6], [1e6], [2.0]]])
    _, after = repaired(flags, points)
    assert after[0, :, 0].tolist() == [1e6, 2.0, 2.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_repair_keeps_the_number_type(dtype):
    flags = torch.zeros(1, 2, 3, dtype=torch.bool)
    flags[0, 0, 0] = True
    before = torch.full((1, 6, 2), 300.0, dtype=dtype)
    _, after = repaired(flags, before)
    assert after.dtype == dtype
    assert torch.equal(after, before)


@torch.inference_mode()
def test_the_prefix_is_not_repaired_and_flags_are_found_once():
    view = OpenClipVision(tiny_clip().visual)
    made = ImagePass(view, pixels(2, 96, 112), "sc_clip")
    detector = LocalOutliers(Entered())
    copy = made.tokens(Repaired(Entered(), Repair(detector)))
    assert torch.equal(copy[:, :1], made.entered[:, :1])
    changed = (copy[:, 1:] != made.entered[:, 1:]).any(-1)
    assert torch.equal(changed, made.flags(detector))
    assert made.flags(detector) is made.flags(detector)


@pytest.mark.parametrize("grid", [(1, 1), (1, 2), (31, 1), (2, 16), (5, 8)], ids=str)
@pytest.mark.parametrize("recipe", ["sc_clip", "sfp", "sfp.l2", "sfp.lof", "dih_clip"])
@torch.inference_mode()
def test_any_number_of_patches(recipe, grid):
    view = OpenClipVision(tiny_clip().visual)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for images in (pixels(2, 16 * grid[0], 16 * grid[1]), torch.ones(1, 3, 16 * grid[0], 16 * grid[1])):
            features = run(view, images, recipe)
            assert features.patches.shape[1:3] == grid
            assert features.patches.isfinite().all()
