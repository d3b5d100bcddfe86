"""Tensors given by hand: NaN, infinity, nothing, another shape are a sentence, and never NaN out unsaid."""

import math

import pytest
import torch

import clipsight
from clipsight import Lens
from tiny import past_type_checks, pixels, tiny_clip

BAD = [math.nan, math.inf, -math.inf]


@pytest.fixture(scope="module")
def lens() -> Lens:
    return clipsight.load(tiny_clip(), device="cpu")


def calls(lens: Lens, x: torch.Tensor, t: torch.Tensor):
    """Every door for tensors."""
    return {
        "maps": lambda: lens.maps(x, t),
        "maps by a method of two steps": lambda: lens.maps(x, t, "resclip.naclip"),
        "encode_image": lambda: lens.encode_image(x),
        "patch_features": lambda: lens.patch_features(x),
        "features": lambda: lens.features(x),
        "features with texts": lambda: lens.features(x, "resclip.naclip", t),
    }


DOORS = [
    "maps",
    "maps by a method of two steps",
    "encode_image",
    "patch_features",
    "features",
    "features with texts",
]
TEXT_DOORS = [DOORS[0], DOORS[1], DOORS[5]]


def texts(lens: Lens) -> torch.Tensor:
    return lens.encode_text(["a dog", "a car"])


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("door", DOORS)
def test_a_pixel_that_is_no_number(lens, door, value):
    x = pixels(2)
    x[1, 0, 3, 5] = value
    with pytest.raises(ValueError, match="picture 1 of x holds NaN or infinite"):
        calls(lens, x, texts(lens))[door]()


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("door", TEXT_DOORS)
def test_a_text_feature_that_is_no_number(lens, door, value):
    t = texts(lens).clone()
    t[1, 7] = value
    with pytest.raises(ValueError, match="text 1 of t holds NaN or infinite"):
        calls(lens, pixels(1), t)[door]()


@pytest.mark.parametrize("door", DOORS)
def test_no_pictures(lens, door):
    for shape in ((0, 3, 64, 64), (1, 3, 0, 64)):
        with pytest.raises(ValueError, match="holds no pictures"):
            calls(lens, torch.zeros(shape), texts(lens))[door]()


@pytest.mark.parametrize("door", TEXT_DOORS)
def test_no_texts_or_of_another_width(lens, door):
    with pytest.raises(ValueError, match="t holds no texts"):
        calls(lens, pixels(1), torch.zeros(0, 32))[door]()
    with pytest.raises(ValueError, match=r"t has shape \(2, 5\)"):
        calls(lens, pixels(1), torch.zeros(2, 5))[door]()


@pytest.mark.parametrize("door", DOORS)
def test_another_shape_or_kind(lens, door):
    with past_type_checks():
        for wrong in (torch.zeros(3, 64, 64), torch.zeros(1, 1, 64, 64), torch.zeros(1, 64, 64, 3)):
            with pytest.raises(ValueError, match="x has shape"):
                calls(lens, wrong, texts(lens))[door]()
        for other in (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), [[0.0]]):
            with pytest.raises(TypeError, match="pixels are a floating-point tensor"):
                calls(lens, other, texts(lens))[door]()  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("shape", [(0, 77), (1, 0), (0, 0)])
def test_no_token_ids(lens, shape):
    with pytest.raises(ValueError, match="no token ids"):
        lens.encode_text(torch.zeros(shape, dtype=torch.long))


def test_token_ids_that_are_no_numbers(lens):
    with past_type_checks(), pytest.raises(TypeError, match="token ids are integers"):
        lens.encode_text(torch.full((1, 77), math.nan))


def test_finite_tensors_go_through_and_keep_their_graph(lens):
    x = pixels(1).requires_grad_()
    lens.maps(x, texts(lens)).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
