"""A recipe for a tower: published numbers where there are some, and a note where there are none."""

import warnings
from dataclasses import replace
from functools import cache

import pytest
import torch

import clipsight
from clipsight import ClipsightWarning, Unsupported
from clipsight.features import ClassToken, Span, adapt_to_depth, get_recipe, recipe_ids, run
from clipsight.features.blocks import scale_blocks
from clipsight.session.lens import Lens
from clipsight.towers.open_clip_vit import OpenClipVision
from clipsight.world import make_scene
from tiny import pixels, tiny_clip

TEXTS = ["a dog", "a cat"]


@cache
def lens(layers: int) -> Lens:
    """A fresh session over a tower of so many small blocks."""
    return clipsight.load(tiny_clip(layers=layers, width=32, head_width=8), device="cpu")


@cache
def tower(layers: int) -> OpenClipVision:
    return OpenClipVision(tiny_clip(layers=layers, width=32, head_width=8).visual)


def blocks(name: str, layers: int) -> set[tuple[int, int]]:
    """First and last block of everything that is recorded."""
    records = adapt_to_depth(get_recipe(name), tower(layers)).recipe.records
    return {(one.span.first, one.span.last) for one in records}


@pytest.mark.parametrize(
    ("name", "layers", "spans"),
    [
        ("sc_clip", 12, {(9, 9), (4, 4), (4, 10)}),
        ("sc_clip", 24, {(17, 17), (7, 7), (9, 20)}),
        ("sc_clip", 6, {(5, 5), (2, 2), (2, 5)}),
        ("sc_clip.voc21-b16", 24, {(17, 17), (7, 7), (9, 20)}),
        ("dih_clip", 12, {(9, 9), (4, 4), (4, 10)}),
        ("dih_clip", 24, {(17, 17), (7, 7), (9, 19)}),
        ("dih_clip.city-b16", 24, {(17, 17), (7, 7), (9, 19)}),
        ("sfp", 12, {(-2, -2), (9, 9), (4, 4), (4, 10)}),
        ("sfp", 24, {(-2, -2), (9, 9), (4, 4), (4, 10)}),
        ("sfp", 11, {(-2, -2), (9, 9), (4, 4), (4, 10)}),
        ("sfp.scaled", 12, {(-2, -2), (9, 9), (4, 4), (4, 10)}),
        ("sfp.scaled", 24, {(-2, -2), (18, 18), (8, 8), (8, 20)}),
        ("sfp.scaled", 10, {(-2, -2), (8, 8), (3, 3), (3, 8)}),
        ("sfp", 10, {(-2, -2), (8, 8), (3, 3), (3, 8)}),
        ("resclip.naclip", 12, {(6, 9)}),
        ("resclip.naclip", 24, {(6, 9)}),
        ("resclip.naclip", 10, {(6, 9)}),
        ("resclip.naclip", 6, {(3, 5)}),
        ("resclip.naclip.scaled", 24, {(12, 18)}),
        ("cliper", 24, {(1, -2)}),
        ("rf_clip", 24, {(1, -1), (1, -2)}),
    ],
)
def test_blocks_that_are_read(name, layers, spans):
    assert blocks(name, layers) == spans


@pytest.mark.parametrize(("layers", "share"), [(12, 0.3), (24, 0.1), (6, 0.3)])
@pytest.mark.parametrize("name", ["sc_clip", "dih_clip"])
def test_share_of_the_class_token(name, layers, share):
    assert adapt_to_depth(get_recipe(name), tower(layers)).recipe.residual == ClassToken(share)


@pytest.mark.parametrize(
    ("name", "layers", "note"),
    [
        ("sc_clip", 12, ""),
        ("sc_clip", 24, ""),
        ("dih_clip", 12, ""),
        ("dih_clip", 24, ""),
        ("sfp", 12, ""),
        ("resclip.sclip", 12, ""),
        ("gem", 24, ""),
        ("sc_clip.scaled", 24, ""),
        (
            "resclip.naclip",
            24,
            "resclip.naclip is published for towers of 12 blocks and untested at 24: the released code's block numbers "
            "are used; resclip.naclip.scaled moves them in proportion.",
        ),
        (
            "sfp",
            24,
            "published for towers of 12 blocks and untested at 24: the released code's block numbers",
        ),
        ("sfp", 6, "untested at 6: its block numbers were moved in proportion."),
        ("sc_clip", 6, "sc_clip is published for towers of 12 and 24 blocks and untested at 6"),
        ("resclip.naclip.scaled", 24, "untested at 24: its block numbers were moved in proportion."),
        ("rf_clip", 12, "sink channels for towers of width 768 and 1024; for width 32 they are estimated"),
    ],
)
def test_notes(name, layers, note):
    notes = adapt_to_depth(get_recipe(name), tower(layers)).notes
    assert len(notes) == bool(note)
    assert note in "".join(notes)


@pytest.mark.parametrize("name", ["sc_clip.voc21-b16", "sfp.l2", "resclip.naclip.ade-b16"])
def test_an_option_is_pointed_to_an_id_that_exists(name):
    """The note about block numbers names an id; it must be one."""
    notes = "".join(adapt_to_depth(get_recipe(name), tower(14)).notes)
    (named,) = [word for word in notes.split() if word.endswith(".scaled")]
    get_recipe(named)


def test_known_widths_have_no_note():
    view = OpenClipVision(tiny_clip(layers=2, width=768, head_width=64).visual)
    assert adapt_to_depth(get_recipe("rf_clip"), view).notes == ()


def test_scaled_ids_are_registered_of_methods_with_block_numbers():
    scaled = {name for name in recipe_ids(variants=True) if name.endswith(".scaled")}
    methods = ("resclip.clearclip", "resclip.naclip", "resclip.sclip", "sc_clip", "sfp", "dih_clip")
    assert scaled == {f"{name}.scaled" for name in methods}
    assert not scaled & set(recipe_ids())
    assert all(get_recipe(name).published == () for name in scaled)


def test_scaling_rounds_halves_up_and_stays_before_the_last_block():
    assert scale_blocks(Span(9, 12), 12, 6) == Span(5, 5)
    assert scale_blocks(Span(1, -2), 12, 6) == Span(1, -2)
    assert scale_blocks(Span(1, 1), 12, 3) == Span(1, 1)
    assert scale_blocks(Span(4, 10), 12, 1) == Span(1, 1)
    one = get_recipe("gem")
    assert scale_blocks(one, 12, 6) is one


@pytest.mark.parametrize("layers", [12, 24])
def test_data_sets_keep_their_setting(layers):
    for name in ("sc_clip.object-b16", "dih_clip.city-b16"):
        fitted = adapt_to_depth(get_recipe(name), tower(layers)).recipe
        assert fitted.setting == get_recipe(name).setting
        assert fitted.id == name


def test_a_variant_of_ones_own_keeps_its_changes_at_every_depth():
    mine = replace(get_recipe("sc_clip"), id="mine", residual=ClassToken(0.7), positions="bilinear")
    for layers in (12, 24):
        fitted = adapt_to_depth(mine, tower(layers)).recipe
        assert (fitted.residual, fitted.positions) == (ClassToken(0.7), "bilinear")


@pytest.mark.parametrize("name", ["sc_clip", "sfp.scaled", "resclip.naclip.scaled"])
def test_fitting_twice_is_fitting_once(name):
    once = adapt_to_depth(get_recipe(name), tower(6)).recipe
    again = adapt_to_depth(once, tower(6))
    assert again.recipe == once
    assert again.notes == ()


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("name", recipe_ids())
@torch.inference_mode()
def test_shallow_towers_run_or_say_why_not(name, layers):
    """What the card says is off is refused in words, and everything else runs."""
    x, card = pixels(1, 48, 32), lens(layers).card
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClipsightWarning)
        if card.methods[name]:
            with pytest.raises(Unsupported, match=rf"has {layers}"):
                run(tower(layers), x, name)
        else:
            assert lens(layers).maps(x, torch.eye(32)[:2], name).isfinite().all()


def test_what_is_off_at_one_block_says_what_was_asked():
    off = {name: why for name, why in lens(1).card.methods.items() if why}
    blind = ("clip_surgery", "gem", "cliper", "cliptrase", "freecp", "rf_clip", "sfp")
    assert set(off) == set(blind)
    assert off["gem"].startswith("it works in 6 blocks, and this tower has 1; clipsight.features.with_depth(")
    assert "blocks 1 to -2 were asked of a tower that has 1" in off["cliper"]


def warned(opened: Lens, ask) -> list[str]:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        ask(opened)
    return [str(one.message) for one in seen if issubclass(one.category, ClipsightWarning)]


def fresh(layers: int = 6) -> Lens:
    return clipsight.load(tiny_clip(layers=layers), device="cpu")


def test_warned_once_for_each_model():
    x = pixels(1)
    opened = fresh()
    assert len(warned(opened, lambda one: one.patch_features(x, "sc_clip"))) == 1
    assert warned(opened, lambda one: one.patch_features(x, "sc_clip")) == []
    assert len(warned(opened, lambda one: one.patch_features(x, "sfp"))) == 1
    assert len(warned(fresh(), lambda one: one.patch_features(x, "sc_clip"))) == 1
    assert warned(fresh(12), lambda one: one.patch_features(x, "sc_clip")) == []


def test_a_recipe_object_before_does_not_silence_the_id():
    opened, x = fresh(24), pixels(1)
    assert warned(opened, lambda one: one.patch_features(x, get_recipe("sfp"))) == []
    assert len(warned(opened, lambda one: one.patch_features(x, "sfp"))) == 1


@pytest.mark.parametrize("method", ["resclip.naclip", "rf_clip.voc21-b16"])
def test_notes_are_in_the_result(method):
    opened, picture = fresh(), make_scene(1, size=64).image
    results = []
    assert len(warned(opened, lambda one: results.append(one.explain(picture, TEXTS, method=method)))) == 1
    assert "untested" in " ".join(results[0].provenance.notes)


@pytest.mark.parametrize("method", ["sc_clip", "sfp", "rf_clip", "dih_clip"])
def test_notes_are_in_the_result_also_of_methods_without_scores_of_their_own(method):
    opened, picture = fresh(), make_scene(1, size=64).image
    results = []
    warned(opened, lambda one: results.append(one.explain(picture, TEXTS, method=method)))
    warned(opened, lambda one: results.extend(one.explain([picture, picture], TEXTS, method=method)))
    assert all("untested" in " ".join(one.provenance.notes) for one in results)
