"""Drawings: sizes, what colour means, and texts of every kind without a warning."""

from dataclasses import replace
from itertools import pairwise
from math import ceil, floor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from clipsight.draw import Scale, arrange, heat, sheet, typeset
from clipsight.results import Explanation
from results.scenes import explanation

LONG = "a photograph of a small fluffy grey cat that sits in front of a large computer monitor while somebody writes"


def difference(one: Image.Image, other: Image.Image) -> np.ndarray:
    return np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int)).sum(-1)


def test_overlay_has_the_size_of_the_picture_up_to_a_limit() -> None:
    assert explanation().overlay("a dog").size == (128, 96)
    wide = explanation(image=(20, 4000)).overlay(0)
    assert wide.size == (1600, 8)
    assert wide.mode == "RGB"
    assert explanation().overlay(0, size=(30, 77)).size == (77, 30)


def test_orange_is_where_the_score_is_high_blue_where_it_is_negative_and_zero_is_clear() -> None:
    maps = torch.zeros(1, 6, 8)
    maps[0, 1, 6], maps[0, 4, 2] = 0.2, -0.1
    ex = explanation(("x",), grid=(6, 8), image=(96, 128), maps=maps)
    drawn = ex.overlay(0, interpolation="nearest")
    change = difference(drawn, heat.backdrop(Image.fromarray(ex.image)))
    high, low = (slice(16, 32), slice(96, 112)), (slice(64, 80), slice(32, 48))
    red, _, blue = np.moveaxis(np.asarray(drawn).astype(int), -1, 0)
    assert (red[high] > blue[high] + 60).all()  # the patch in row 1, column 6
    assert (blue[low] > red[low]).all()
    assert change[low].mean() < change[high].mean() / 4  # the eye goes to what is there
    change[high] = change[low] = 0
    assert change.max() == 0


@given(
    scores=arrays(
        np.float32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(-1, 1, width=32)
    ),
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
@settings(max_examples=150, deadline=None)
def test_no_pixel_has_a_score_outside_those_of_the_patches_around_it(
    scores: np.ndarray, size: tuple[int, int]
) -> None:
    """Each enlarged pixel against the lowest and highest patch that its window touches."""
    large = heat.enlarged(scores, size)
    (h, w), (height, width) = scores.shape, size
    for y in range(height):
        for x in range(width):
            around = scores[_touched(y, h, height), _touched(x, w, width)]
            assert around.min() - 1e-6 <= large[y, x] <= around.max() + 1e-6


def _touched(pixel: int, patches: int, pixels: int) -> slice:
    """Patches whose centres lie nearer to the pixel's than a patch, or a pixel where these are larger."""
    centre, reach = (pixel + 0.5) * patches / pixels - 0.5, max(1.0, patches / pixels)
    return slice(max(ceil(centre - reach), 0), floor(min(centre + reach, patches - 1)) + 1)


def test_a_bicubic_drawing_would_have_failed() -> None:
    scores = np.full((8, 8), -0.1, np.float32)
    scores[3, 3] = 0.002
    over = np.asarray(Image.fromarray(scores).resize((80, 80), Image.Resampling.BICUBIC))
    assert over.min() < -0.1  # the test above can fail
    assert heat.enlarged(scores, (80, 80)).min() == np.float32(-0.1)


def absent_map(presence: float = 0.02) -> Explanation:
    """A map that is negative but for a few weak places, of a picture without noise."""
    maps = torch.full((1, 14, 14), -0.04)
    maps[0, 3:5, 3:5] = 0.002
    made = explanation(("guitar",), maps=maps, presence=torch.tensor([presence]), image=(280, 280))
    return replace(made, provenance=replace(made.provenance, noise_level=0.17))


def test_noise_is_not_stretched_to_full_colour() -> None:
    ex = absent_map(presence=0.9)
    plain = heat.backdrop(Image.fromarray(ex.image))
    weak = difference(ex.overlay(0), plain)
    assert ex.scale_of(0).high == 0.17
    assert weak.max() < 60
    assert difference(ex.overlay(0, noise=0), plain).max() > 2 * weak.max()
    strong = replace(ex, maps=torch.where(ex.maps > 0, 0.3, ex.maps))
    assert strong.scale_of(0).high == pytest.approx(0.3)


def test_what_is_absent_by_verdict_is_muted_and_badged_in_every_drawing() -> None:
    there = explanation(("guitar",), presence=torch.tensor([0.9]), image=(280, 280))
    absent = replace(there, presence=torch.tensor([0.1]))
    assert (there.absent, absent.absent) == ((False,), (True,))
    plain = heat.backdrop(Image.fromarray(there.image))
    full, muted = (difference(one.overlay(0), plain) for one in (there, absent))
    assert muted[60:].max() < 0.5 * full[60:].max()
    badge = np.array([179, 55, 47])
    assert (np.asarray(absent.overlay(0))[6:30] == badge).all(-1).sum() > 300
    assert not (np.asarray(there.overlay(0)) == badge).all(-1).any()
    assert difference(absent.overlay(0, verdict=False), there.overlay(0)).max() == 0
    assert (np.asarray(absent.grid()) == badge).all(-1).sum() > 300
    assert "absent" in absent.to_html().split("</style>")[1]
    assert "absent" not in there.to_html().split("</style>")[1]


def test_an_alone_map_looks_as_beside_a_present_word() -> None:
    """The scale's floor sees to it: what is far below the noise is as clear alone as on a common scale."""
    ex = absent_map()
    both = explanation(
        ("dog", "guitar"),
        maps=torch.cat([ex.maps.clamp(max=0) + 0.17 * (ex.maps > 0), ex.maps]),
        presence=torch.tensor([0.9, 0.02]),
        image=(280, 280),
    )
    both = replace(both, image=ex.image, provenance=ex.provenance)
    assert difference(ex.overlay(0), both.overlay("guitar", scale="shared")).max() == 0


def test_shared_scale_leaves_the_weaker_map_paler() -> None:
    maps = torch.zeros(2, 4, 4)
    maps[0, 1, 1], maps[1, 1, 1] = 0.4, 0.04
    ex = explanation(("strong", "weak"), grid=(4, 4), maps=maps)
    plain = heat.backdrop(Image.fromarray(ex.image))
    own, shared = (
        difference(ex.overlay("weak", scale=s, verdict=False), plain).sum() for s in ("own", "shared")
    )
    assert shared < own / 4
    assert difference(ex.overlay("strong"), ex.overlay("strong", scale="shared")).max() == 0


def test_diverging_colours_show_negative_scores_too() -> None:
    maps = torch.zeros(1, 4, 4)
    maps[0, 0, 0], maps[0, 3, 3] = 0.3, -0.3
    ex = explanation(("x",), grid=(4, 4), image=(64, 64), maps=maps)
    plain = heat.backdrop(Image.fromarray(ex.image))
    change = difference(ex.overlay(0, cmap="RdBu_r", interpolation="nearest"), plain)
    assert change[:16, :16].mean() > 40
    assert change[48:, 48:].mean() > 40
    assert change[16:48, 16:48].max() <= 6  # half a step of 256 beside the exact middle


@pytest.mark.parametrize("fill", [0.3, float("nan"), float("-inf")], ids=["constant", "nan", "infinite"])
def test_maps_that_cannot_be_drawn_give_the_plain_picture(fill: float) -> None:
    ex = explanation(("x",), maps=torch.full((1, 14, 14), fill))
    assert difference(ex.overlay(0), heat.backdrop(Image.fromarray(ex.image))).max() == 0
    assert ex.scale_of(0).note
    ex.grid()


def test_patches_without_a_score_stay_clear_and_do_not_spread() -> None:
    maps = torch.linspace(0, 1, 16).reshape(1, 4, 4).clone()
    maps[0, 3, 0] = torch.nan
    ex = explanation(("x",), grid=(4, 4), image=(64, 64), maps=maps)
    change = difference(ex.overlay(0), heat.backdrop(Image.fromarray(ex.image)))
    assert change[48:, :16].max() == 0
    assert change[48:, 32:].mean() > 40


def test_options_that_do_not_exist_are_refused_with_names() -> None:
    ex = explanation()
    with pytest.raises(
        ValueError, match="colour map 'rainbows' is unknown; give signed or a name of matplotlib"
    ):
        ex.overlay(0, cmap="rainbows")
    with pytest.raises(ValueError, match=r"alpha 2 is outside \[0, 1\]"):
        ex.overlay(0, alpha=2)
    with pytest.raises(ValueError, match="columns 0"):
        ex.grid(columns=0)


@pytest.mark.parametrize(
    ("count", "aspect", "columns"),
    [
        (2, 4 / 3, 2),
        (3, 4 / 3, 3),
        (4, 4 / 3, 4),
        (4, 1.0, 4),
        (6, 4 / 3, 3),
        (10, 16 / 9, 5),
        (3, 30.0, 1),
        (3, 0.2, 3),
    ],
)
def test_layout_takes_sensible_columns(count: int, aspect: float, columns: int) -> None:
    got = arrange(count, aspect)
    assert got.columns == columns
    assert got.width / got.height == pytest.approx(aspect, rel=0.05)
    assert columns * got.width <= sheet.SHEET


@pytest.mark.parametrize("image", [(1, 1), (20, 20), (20, 600), (600, 20)], ids=str)
def test_grid_of_odd_pictures(image: tuple[int, int]) -> None:
    drawn = explanation(("one", "two"), image=image).grid()
    assert 300 < drawn.width <= sheet.SHEET + 4
    assert drawn.height < 2000


def test_texts_of_every_kind_draw_without_a_warning() -> None:
    texts = (
        LONG,
        "кошка и собака",
        "고양이 猫",
        "🐶 dog \u200d\ufe0f",
        "$x^2$ a_b \\frac",
        "بكلب",
        "a\tb\x00c\n",
        "",
        "W" * 300,
    )
    assert explanation(texts).grid().width > 1200


def test_readable_names_what_no_font_has() -> None:
    private = "\ue123\ue124"
    assert typeset.readable("caf\u0065\u0301") == "café"
    assert typeset.readable(private) == typeset.MISSING * 2
    assert typeset.title(private, 3) == f"text 4: {typeset.MISSING * 2}"
    assert typeset.readable("🦖 x").endswith("x")
    assert typeset.readable("") == "(empty text)"


def test_wrapping_fits_and_ends_with_an_ellipsis() -> None:
    lines = typeset.wrap(LONG, 300, 2, 20, bold=True)
    assert len(lines) == 2
    assert lines[-1].endswith(typeset.ELLIPSIS)
    assert all(typeset.width(line, 20, bold=True) <= 300 for line in lines)
    assert typeset.wrap("short", 300, 2, 20) == ["short"]
    assert "".join(typeset.wrap("W" * 60, 300, 9, 20)) == "W" * 60


def test_many_texts_and_unmeasured_presence() -> None:
    ex = explanation([f"thing {k}" for k in range(20)])
    ex = replace(
        ex, presence=torch.full((20,), torch.nan), presence_reason="the model has no contrast vocabulary"
    )
    assert ex.grid(scale="shared").height > 1000


def test_colour_bar_ends_as_the_layer_ends() -> None:
    bar = heat.bar(Scale(low=0.0, high=1.0), 256, 3)
    assert bar.shape == (3, 256, 3)
    assert len(set(bar[0, 0].tolist())) == 1  # the bottom of the scale is clear
    signed = heat.bar(Scale(low=-1.0, high=1.0), 255, 3)[0].astype(int)
    assert len(set(signed[127].tolist())) == 1  # so is zero
    assert signed[0, 2] > signed[0, 0]
    assert signed[-1, 0] > signed[-1, 2]
    layer = heat.layer(np.full((2, 2), 5.0, np.float32), Scale(low=0.0, high=1.0), (4, 4))
    assert np.asarray(layer)[0, 0, 3] == round(255 * heat.ALPHA)


PICTURES = {
    "light": np.full((8, 8, 3), 245, np.uint8),
    "dark": np.full((8, 8, 3), 10, np.uint8),
    "colourful": np.tile(
        np.array([[220, 20, 30], [30, 180, 40], [250, 230, 20], [20, 40, 200]], np.uint8), (8, 2, 1)
    ),
}


def lightness(drawn: Image.Image) -> float:
    """What grey print makes of it: mean luma, 0 black to 255 white."""
    return float(np.asarray(drawn.convert("L"), float).mean())


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
def test_the_higher_the_darker_also_in_grey_print_on_any_picture(picture: np.ndarray) -> None:
    """Signed colours are read in one way, darker is more, on light, dark and colourful pictures."""
    base, scale = Image.fromarray(picture), Scale(low=-1.0, high=1.0)
    parts = np.linspace(-1, 1, 21)
    drawn = [
        heat.lay_over(base, heat.layer(np.full((2, 2), part, np.float32), scale, base.size)) for part in parts
    ]
    print_grey = [lightness(one) for one in drawn]
    clear = print_grey[10]
    positive, negative = print_grey[10:], print_grey[10::-1]
    assert all(after < before for before, after in pairwise(positive))
    assert clear - positive[-1] > 75  # far from the picture's own shades: 87 lie between its black and white
    for up, down in zip(positive[3:], negative[3:], strict=True):
        assert clear - down < 0.6 * (clear - up)


def test_weak_positives_differ_more_from_the_picture_than_negatives_as_seen() -> None:
    base, scale = Image.fromarray(PICTURES["light"]), Scale(low=-1.0, high=1.0)
    clear, up, down = (
        heat.lay_over(base, heat.layer(np.full((2, 2), part, np.float32), scale, base.size))
        for part in (0.0, 0.4, -0.4)
    )
    assert difference(up, clear).mean() > 1.5 * difference(down, clear).mean()
