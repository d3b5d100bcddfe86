"""Drawings: sizes, what colour means, and texts of every kind without a warning."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from clipsight.draw import Scale, arrange, heat, sheet, typeset
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


def test_colour_is_where_the_score_is_high_and_nowhere_else() -> None:
    maps = torch.full((1, 6, 8), -0.1)
    maps[0, 1, 6] = 0.2
    ex = explanation(("x",), grid=(6, 8), image=(96, 128), maps=maps)
    plain = heat.backdrop(Image.fromarray(ex.image))
    change = difference(ex.overlay(0, interpolation="nearest"), plain)
    assert (change[16:32, 96:112] > 0).mean() > 0.95  # the patch in row 1, column 6
    change[16:32, 96:112] = 0
    assert change.max() == 0


def test_shared_scale_leaves_the_weaker_map_paler() -> None:
    maps = torch.zeros(2, 4, 4)
    maps[0, 1, 1], maps[1, 1, 1] = 0.4, 0.04
    ex = explanation(("strong", "weak"), grid=(4, 4), maps=maps)
    plain = heat.backdrop(Image.fromarray(ex.image))
    own, shared = (difference(ex.overlay("weak", scale=s), plain).sum() for s in ("own", "shared"))
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
    with pytest.raises(ValueError, match="colour map 'rainbows' is unknown; give a name of matplotlib"):
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
    bar = heat.bar(256, 3)
    assert bar.shape == (3, 256, 3)
    assert bar[0, 0].tolist() == [150, 150, 150]  # the bottom of the scale is clear
    layer = heat.layer(np.full((2, 2), 5.0, np.float32), Scale(low=0.0, high=1.0), (4, 4))
    assert np.asarray(layer)[0, 0, 3] == round(255 * heat.ALPHA)
