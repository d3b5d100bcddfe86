"""Box smoothing against a loop."""

import pytest
import torch

from clipsight.refine import smooth_box


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 6)])
def test_each_cell_is_the_mean_around_it(size):
    maps = torch.randn(2, 3, *size)
    ours = smooth_box(maps)
    h, w = size
    for y in range(h):
        for x in range(w):
            around = [
                maps[:, :, min(max(y + i, 0), h - 1), min(max(x + j, 0), w - 1)]
                for i in (-1, 0, 1)
                for j in (-1, 0, 1)
            ]
            torch.testing.assert_close(ours[:, :, y, x], torch.stack(around).mean(0))


def test_constants_stay_and_the_result_is_float32():
    maps = torch.full((1, 2, 3, 5), 0.25, dtype=torch.half)
    assert torch.equal(smooth_box(maps), maps.float())
