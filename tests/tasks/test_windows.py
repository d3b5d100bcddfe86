"""Windows cover every pixel of any picture, as published, and cut no patch."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipsight.tasks import fit_windows, place_windows, spans

sides = st.integers(1, 700)


def published(side: int, crop: int, stride: int) -> list[tuple[int, int]]:
    """The loop of the sliding inference in SCLIP's repository, for one axis."""
    found = []
    for index in range(max(side - crop + stride - 1, 0) // stride + 1):
        stop = min(index * stride + crop, side)
        found.append((max(stop - crop, 0), stop))
    return found


@given(side=sides, crop=st.integers(1, 400), share=st.floats(0, 1))
def test_spans_cover_and_are_the_published_ones(side: int, crop: int, share: float):
    stride = max(1, round(crop * share))
    found = spans(side, crop, stride)
    assert set().union(*(range(*span) for span in found)) == set(range(side))
    assert list(found) == published(side, crop, stride)
    assert len(set(found)) == len(found)


def test_known_placements():
    assert spans(336, 224, 112) == ((0, 224), (112, 336))
    assert spans(448, 224, 112) == ((0, 224), (112, 336), (224, 448))
    assert spans(450, 224, 112) == ((0, 224), (112, 336), (224, 448), (226, 450))
    assert spans(100, 224, 112) == ((0, 100),)
    assert spans(500, 0, 1) == ((0, 500),)


@given(height=st.integers(1, 5000), width=st.integers(1, 5000), crop=st.sampled_from([0, 16, 224, 336]),
       short=st.integers(32, 600), patch=st.sampled_from([(14, 14), (16, 16), (16, 32), (32, 32)]))  # fmt: skip
def test_any_picture_is_covered_in_whole_patches(height, width, crop, short, patch):
    crop -= crop % max(patch)
    fit = fit_windows((height, width), short, crop, patch)
    windows = place_windows(fit.size, crop, max(crop // 2, 1), patch)
    assert all(side % p == 0 for side, p in zip(windows.window, patch, strict=True))
    for axis, found in enumerate((windows.rows, windows.columns)):
        assert found[0][0] == 0
        assert found[-1][1] == fit.size[axis]
        assert all(after[0] <= before[1] for before, after in pairwise(found))
    assert len(list(windows)) == len(windows)


def test_published_sizes():
    assert fit_windows((375, 500), 336, 224, (16, 16)).size == (336, 448)
    assert fit_windows((1024, 2048), 560, 224, (16, 16)).size == (560, 1120)
    assert fit_windows((333, 500), 336, 224, (16, 16)).size == (336, 505)  # not whole patches: windows are
    assert fit_windows((333, 500), 336, 0, (16, 16)).size == (336, 512)


def test_a_panorama_is_said():
    fit = fit_windows((100, 20000), 336, 224, (16, 16))
    assert fit.size == (16, 2048)
    assert "limited to 2048" in fit.notes[0]
    assert fit_windows((100, 20000), 336, 224, (16, 16), None).size == (336, 67200)


def test_mistakes():
    with pytest.raises(ValueError, match="seen by no window"):
        spans(300, 100, 120)
    with pytest.raises(ValueError, match="cut patches of 16 × 16"):
        place_windows((500, 500), 100, 50, (16, 16))
    with pytest.raises(ValueError, match="windows whole patches"):
        fit_windows((500, 500), 336, 100, (16, 16))
    with pytest.raises(ValueError, match="short_side >= 16"):
        fit_windows((500, 500), 8, 224, (16, 16))
