"""Sizes are whole patches, keep the aspect, and are limited with a note."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from open_clip.transform import image_transform
from PIL import Image

from clipsight.towers.loading import Preprocess
from clipsight.towers.preprocess import MAX_PATCHES, fit_size, to_pixels

SETTINGS = Preprocess(
    size=(112, 112),
    mean=(0.48, 0.46, 0.41),
    std=(0.27, 0.26, 0.28),
    interpolation="bicubic",
    resize_mode="shortest",
)


@given(
    height=st.integers(1, 20_000),
    width=st.integers(1, 20_000),
    short=st.sampled_from(["native", 112, 224, 500]),
    patch=st.sampled_from([8, 14, 16, 32]),
)
def test_sizes_are_whole_patches_and_few_enough(height, width, short, patch):
    fit = fit_size((height, width), short, (224, 224), (patch, patch))
    rows, columns = fit.size[0] / patch, fit.size[1] / patch
    assert rows == int(rows) >= 1
    assert columns == int(columns) >= 1
    assert rows * columns <= MAX_PATCHES
    wanted = 224 if short == "native" else short
    if not fit.notes or "distorted" not in fit.notes[0]:
        here, there = max(height, width) / min(height, width), max(fit.size) / min(fit.size)
        assert abs(here / there - 1) < 3 * patch / min(fit.size), "the aspect is kept"
    if not fit.notes:
        assert abs(min(fit.size) - wanted) <= patch / 2
        aspect = max(height, width) / min(height, width)
        assert abs(max(fit.size) - aspect * wanted) <= patch / 2 + 1e-6


def test_square_and_exact():
    assert fit_size((50, 300), "square", (112, 112), (8, 8)).size == (112, 112)
    assert fit_size((50, 300), (64, 136), (112, 112), (8, 8)).size == (64, 136)
    limited = fit_size((50, 300), (800, 1600), (112, 112), (8, 8))
    assert limited.notes
    assert limited.size[0] * limited.size[1] <= MAX_PATCHES * 64


def test_pixels_equal_open_clips_transform_where_both_apply():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (150, 150, 3), dtype=np.uint8))
    theirs = image_transform(112, is_train=False, mean=SETTINGS.mean, std=SETTINGS.std)(picture)
    assert torch.allclose(to_pixels(picture, (112, 112), SETTINGS)[0], theirs, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 16), (24, 8)])
def test_height_comes_first(size):
    assert to_pixels(Image.new("RGB", (5, 9)), size, SETTINGS).shape == (1, 3, *size)
