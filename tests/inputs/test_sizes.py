"""Any size of picture at any resolution: whole patches, never too many, the aspect kept or a note that it is not."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

import clipsight
from clipsight import Lens
from clipsight.errors import PictureError
from clipsight.towers.preprocess import MAX_PATCHES, fit_size
from tiny import past_type_checks

SIDES = st.one_of(st.integers(1, 64), st.integers(1, 3000), st.integers(1, 20_000))
PATCHES = st.tuples(st.sampled_from([4, 8, 14, 16, 32]), st.sampled_from([8, 14, 16, 32]))
ASKED = st.one_of(
    st.sampled_from(["native", "square", "448", "", "NATIVE"]),
    st.integers(-5, 5000),
    st.integers(),
    st.tuples(st.integers(-2, 400), st.integers(-2, 400)),
    st.tuples(st.integers(), st.integers()),
    st.floats(),
    st.booleans(),
    st.none(),
    st.lists(st.integers(1, 500), max_size=3),
    st.lists(st.integers(1, 500), max_size=3).map(tuple),
    st.integers(1, 3000).map(np.int64),
)


@settings(max_examples=300, deadline=None)
@given(height=SIDES, width=SIDES, asked=ASKED, native=st.sampled_from([112, 224, 336]), patch=PATCHES)
@example(height=1, width=1, asked=10**400, native=224, patch=(16, 16))
@example(height=1, width=1, asked=(16 * 10**400, 16), native=224, patch=(16, 16))
@example(height=10, width=20_000, asked="native", native=224, patch=(16, 16))
@example(height=10, width=20, asked=(float("nan"), 16), native=224, patch=(16, 16))
@example(height=10, width=20, asked=(64.0, 64.0), native=224, patch=(16, 16))
def test_a_size_fits_or_is_refused_in_a_sentence(height, width, asked, native, patch) -> None:
    square = (native // patch[0] * patch[0], native // patch[1] * patch[1])
    with past_type_checks():
        try:
            fit = fit_size((height, width), asked, square, patch)
        except ValueError as error:
            said = str(error)
            assert said.startswith("resolution")
            assert said.endswith(".")
            assert len(said) < 300
            assert not (isinstance(asked, str) and asked in ("native", "square"))
            return
    assert not isinstance(asked, bool | float | type(None))
    rows, columns = fit.size[0] / patch[0], fit.size[1] / patch[1]
    assert rows == int(rows) >= 1
    assert columns == int(columns) >= 1
    assert rows * columns <= MAX_PATCHES
    if asked == "square":
        assert fit.size == square
    elif fit.notes:  # what was asked for has too many patches, and the note says what was done
        assert "4096" in fit.notes[0]
        assert f"{int(rows)} × {int(columns)}" in fit.notes[0]
    elif isinstance(asked, tuple | list):
        assert fit.size == tuple(asked)
    else:
        short = min(square) if asked == "native" else int(asked)
        scale = short / min(height, width)
        for side, got, whole in zip((height, width), fit.size, patch, strict=True):
            assert abs(got - side * scale) <= whole / 2 + 1e-6 or got == whole


@pytest.fixture(scope="module")
def lens() -> Lens:
    return clipsight.load("clipsight-tiny")


@settings(max_examples=25, deadline=None)
@given(
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    asked=st.sampled_from(["native", "square", 8, 24, 100, (16, 40)]),
)
def test_pixels_have_the_size_and_are_finite(lens: Lens, width: int, height: int, asked) -> None:
    x = lens.preprocess(Image.new("RGB", (width, height), (10, 200, 30)), asked)
    assert x.shape[:2] == (1, 3)
    assert x.shape[2] % 8 == x.shape[3] % 8 == 0
    assert x.isfinite().all()
    assert x.flatten(2).std(-1).max() < 1e-4  # resizing leaves one colour one colour


def test_numbers_of_numpy_are_numbers_and_others_are_not(lens: Lens) -> None:
    picture = Image.new("RGB", (50, 30))
    assert lens.preprocess(picture, 32).shape == (1, 3, 32, 56)
    with past_type_checks():
        for kind in (np.int32, np.uint8, np.int64):
            assert lens.preprocess(picture, kind(32)).shape == (1, 3, 32, 56)
        assert lens.preprocess(picture, (np.int64(16), 24)).shape == (1, 3, 16, 24)
        assert lens.preprocess(picture, [16, 24]).shape == (1, 3, 16, 24)
        for odd in (
            "448",
            True,
            448.0,
            np.float32(448),
            (16.0, 24.0),
            (True, 16),
            None,
            (),
            (16,),
            (16, 24, 3),
            {16: 24},
        ):
            with pytest.raises(
                ValueError, match=r"is unknown; give .* a short side in whole pixels such as 448"
            ):
                lens.preprocess(picture, odd)


def test_a_capped_size_is_seen_in_one_pass_and_said(lens: Lens) -> None:
    picture = Image.new("RGB", (300, 200), "green")
    ex = lens.explain(picture, ["a dog"], resolution=2000, method="clip")
    rows, columns = ex.maps.shape[1:]
    assert rows * columns <= MAX_PATCHES
    assert rows * columns > 0.9 * MAX_PATCHES
    assert abs(columns / rows - 1.5) < 0.05
    assert [note for note in ex.provenance.notes if f"seen with {rows} × {columns}" in note]


def test_arrays_with_gaps_in_their_numbers_are_refused(lens: Lens) -> None:
    for array in (
        np.full((8, 8, 3), np.nan),
        np.full((8, 8, 3), np.inf, np.float32),
        np.zeros((8, 8, 3), complex),
    ):
        with pytest.raises(PictureError, match="must be uint8 with values 0…255"):
            lens.explain(array, ["a dog"])


def test_one_picture_is_the_same_in_every_form(lens: Lens, tmp_path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    forms = (
        pixels,
        np.asfortranarray(pixels),
        Image.fromarray(pixels),
        tmp_path / "p.png",
        str(tmp_path / "p.png"),
    )
    first, *others = (lens.preprocess(form) for form in forms)
    assert all(torch.equal(first, other) for other in others)
