"""Pure functions on maps against the authors' program, and what they do at the edges."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from clipsight.draw import choose_scale
from clipsight.results import Points, similarity_image, similarity_to_points
from clipsight.results.points import joint_points, peak
from results.scenes import explanation

GOLDENS = load_file(Path(__file__).parents[1] / "data" / "goldens_points.safetensors")
SIZE = (100, 140)  # (H, W) that the reference was asked for


def golden_maps(name: str) -> torch.Tensor:
    scores = GOLDENS[f"{name}/feature_surgery_multi"][0, 1:]  # the CLS row is not a patch
    side = round(len(scores) ** 0.5)
    return scores.T.reshape(-1, side, side)


@pytest.mark.parametrize("name", ["img_native", "img_160"])
def test_points_equal_the_authors_program(name: str) -> None:
    maps = golden_maps(name)
    for k, scores in enumerate(maps):
        xy, labels = similarity_to_points(scores, SIZE, threshold=0.8, downsample=2)
        assert xy.tolist() == GOLDENS[f"{name}/points_text{k}"].tolist()
        assert labels.tolist() == GOLDENS[f"{name}/point_labels_text{k}"].tolist()
    xy, _ = similarity_to_points(maps[2], SIZE, threshold=0.3)
    assert xy.tolist() == GOLDENS[f"{name}/points_text2_t03"].tolist()


@pytest.mark.parametrize("name", ["img_native", "img_160"])
@pytest.mark.parametrize("tensor", ["similarity_map_multi", "similarity_map_rect_out"])
def test_similarity_image_equals_the_authors_program(name: str, tensor: str) -> None:
    golden = GOLDENS[f"{name}/{tensor}"][0]
    ours = similarity_image(golden_maps(name), (golden.shape[0], golden.shape[1]))
    torch.testing.assert_close(ours[: golden.shape[2]], golden.permute(2, 0, 1), rtol=0, atol=1e-6 + 1e-4)


def test_similarity_image_of_constant_and_nan_maps() -> None:
    maps = torch.stack([torch.full((3, 4), 0.2), torch.full((3, 4), torch.nan), torch.rand(3, 4)])
    out = similarity_image(maps, (6, 8))
    assert (out[0] == 0).all()
    assert out[1].isnan().all()
    assert out[2].min() >= 0
    assert out[2].max() <= 1


def test_points_on_a_wide_grid_keep_rows_and_columns_apart() -> None:
    scores = torch.zeros(4, 10)
    scores[1, 7] = 1.0
    scores[3, 2] = -1.0
    xy, labels = similarity_to_points(scores, (40, 200), downsample=1)
    assert xy.tolist() == [[150, 15], [50, 35]]
    assert labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    "scores",
    [
        torch.full((8, 8), 0.3),
        torch.full((8, 8), torch.nan),
        torch.tensor([[1.0]]),
        torch.tensor([[0.0, torch.inf]]),
    ],
    ids=["constant", "nan", "one patch", "infinite"],
)
def test_no_points_without_a_peak(scores: torch.Tensor) -> None:
    xy, labels = similarity_to_points(scores, (10, 20))
    assert xy.shape == (0, 2)
    assert labels.shape == (0,)
    assert joint_points([scores, scores], (10, 20))[0].shape == (0, 2)


def test_points_refuse_senseless_options() -> None:
    with pytest.raises(ValueError, match="outside \\(0, 1\\]"):
        similarity_to_points(torch.rand(4, 4), (8, 8), threshold=0.0)
    with pytest.raises(ValueError, match="downsample 0"):
        similarity_to_points(torch.rand(4, 4), (8, 8), downsample=0)


@given(
    h=st.integers(1, 12),
    w=st.integers(1, 12),
    height=st.integers(1, 50),
    width=st.integers(1, 50),
    downsample=st.integers(1, 4),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_points_lie_in_the_picture_in_equal_numbers(
    h: int, w: int, height: int, width: int, downsample: int, seed: int
) -> None:
    scores = torch.randn(h, w, generator=torch.Generator().manual_seed(seed))
    xy, labels = similarity_to_points(scores, (height, width), threshold=0.5, downsample=downsample)
    rows, columns = max(h // downsample, 1), max(w // downsample, 1)
    assert max((labels == 1).sum(), (labels == 0).sum()) <= rows * columns // 2
    places = [tuple(place) for place in xy.tolist()]
    assert len(set(places)) == len(places), "no pixel is named twice, least of all as both"
    if height >= rows and width >= columns:
        assert (labels == 1).sum() == (labels == 0).sum()
    assert ((xy >= 0) & (xy < [width, height])).all()


def test_points_of_two_texts_together() -> None:
    ex = explanation(("person", "bench", "a+b"), grid=(10, 16))
    both, person, bench = ex.points("person+bench"), ex.points("person"), ex.points("bench")
    assert both.positives.tolist() == [*person.positives.tolist(), *bench.positives.tolist()]
    common = sum((m - m.min()) / (m.max() - m.min()) for m in ex.maps[:2]) / 2
    xy, labels = similarity_to_points(common, (96, 128))
    assert both.negatives.tolist() == xy[labels == 0].tolist()
    assert (
        ex.points("a+b").xy.tolist() == ex.points(2).xy.tolist()
    )  # a text that holds "+" is meant literally
    assert both.text == "person+bench"
    assert len(both) == len(both.labels)
    with pytest.raises(KeyError, match="'sofa' was not asked"):
        ex.points("person+sofa")


def test_points_refuse_arrays_that_do_not_fit() -> None:
    points = Points(text="x", xy=np.zeros((2, 2), np.int64), labels=np.zeros(2, np.int64))
    object.__setattr__(points, "xy", np.zeros((2, 3), np.int64))
    with pytest.raises(ValueError, match="shape"):
        points.__post_init__()


def test_peak() -> None:
    scores = torch.zeros(2, 4)
    scores[1, 3] = 0.5
    assert peak(scores, (20, 80)) == (70, 15, 0.5)
    scores[0, 0] = torch.nan
    assert peak(scores, (20, 80)) == (70, 15, 0.5)
    assert peak(torch.ones(2, 2), (20, 80)) is None
    assert peak(torch.full((2, 2), torch.nan), (20, 80)) is None


def test_scale_starts_at_zero_where_zero_has_a_meaning() -> None:
    one, other = np.array([[-0.1, 0.2]]), np.array([[0.0, 0.5]])
    both = np.stack([one, other])
    assert (own := choose_scale(one, both, "own", zero=True)).low == 0
    assert own.clipped
    assert own.high == 0.2
    assert choose_scale(one, both, "own", zero=False).low == -0.1
    assert choose_scale(one, both, "shared", zero=True).high == 0.5
    assert choose_scale(one, both, (-1, 1), zero=True).fraction(one)[0].tolist() == pytest.approx([0.45, 0.6])
    middle = choose_scale(one, both, "own", zero=True, symmetric=True)
    assert (middle.low, middle.high) == (-0.2, 0.2)


def test_scale_says_what_cannot_be_drawn() -> None:
    constant, nothing, below = np.full((2, 2), 0.1), np.full((2, 2), np.nan), np.array([[-0.3, -0.1]])
    assert "Constant map" in choose_scale(constant, constant, "own", zero=False).note
    assert "finite" in choose_scale(nothing, nothing, "own", zero=False).note
    note = choose_scale(below, below, "own", zero=True)
    assert "No patch scores above zero" in note.note
    assert note.flat
    holes = np.array([[0.1, np.nan, 0.2]])
    scale = choose_scale(holes, holes, "own", zero=False)
    assert "1 of 3 patches" in scale.note
    assert scale.fraction(holes).tolist() == [[0.0, 0.0, 1.0]]


@pytest.mark.parametrize("bad", [(1.0, 1.0), (0.0, float("nan"))])
def test_scale_refuses_an_empty_range(bad: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="low < high"):
        choose_scale(np.zeros((1, 1)), np.zeros((1, 1)), bad, zero=True)
