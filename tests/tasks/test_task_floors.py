"""What the tasks reach on the bundled model: floors a margin below the measured, and methods beside plain CLIP.

`clipsight bench tasks` measures three seeds of 20 to 60 scenes (docs/assets/tasks_bench.json). The tests draw few
scenes of another seed, and have fewer names to segment by: floors lie under what those scenes gave. PAMR's gain and the
order beside plain CLIP hold for every seed of the bench too; a threshold of 0.5 it does not measure.
"""

from functools import cache

import pytest

import clipsight
from clipsight.bench.task import Drawn, draw
from clipsight.bench.tasks.anomaly import anomaly_figures
from clipsight.bench.tasks.points import point_figures
from clipsight.bench.tasks.segment import background_figures, segmentation_figures
from clipsight.bench.tasks.sentence import sentence_figures
from clipsight.bench.tasks.tag import tag_figures
from clipsight.tasks.background import Background

# sc_clip's block numbers are moved to this model's six blocks, and that is said once.
pytestmark = pytest.mark.filterwarnings("ignore:sc_clip is published for:clipsight.errors.ClipsightWarning")


@cache
def lens() -> clipsight.Lens:
    return clipsight.load("clipsight-tiny", device="cpu")


@cache
def drawn() -> Drawn:
    return draw(7, count=14, segmented=10, damaged=10)


def segmented(recipe: str, window: str = "whole", refine: str | None = None) -> float:
    return segmentation_figures(lens(), drawn().few, recipe, window, refine)["miou"]


def test_surgery_names_pixels_and_plain_clip_does_not():
    plain, good = segmented("clip"), segmented("clip_surgery")
    assert good > 0.33
    assert good > plain + 0.2


def test_pamr_helps_clip_surgery():
    assert segmented("clip_surgery", refine="pamr") > max(0.42, segmented("clip_surgery") + 0.02)


def test_windows_name_pixels_too():
    assert segmented("clip_surgery", "windows") > 0.28
    assert segmented("sc_clip", "windows") > 0.4


@pytest.mark.parametrize(("recipe", "floor"), [("clip_surgery", 0.75), ("sc_clip", 0.6)])
def test_a_threshold_finds_the_background_and_costs_objects(recipe, floor):
    everywhere = background_figures(lens(), drawn().few, recipe, Background())
    some = background_figures(lens(), drawn().few, recipe, Background(threshold=0.5))
    assert everywhere["background"] == 0
    assert some["background"] > floor
    assert some["objects"] < everywhere["objects"]


@pytest.mark.slow
def test_tags_order_pictures_and_nouns_far_above_chance():
    rows = {settings["by"]: figures for settings, figures in tag_figures(lens(), drawn().mixed)}
    assert rows["presence"]["map"] > 0.7
    assert rows["score"]["map"] > 0.65
    assert rows["presence"]["map_by_picture"] > 0.7
    assert rows["chance"]["map"] < 0.3
    assert rows["presence"]["precision"] > 0.6
    assert rows["presence"]["recall"] > 0.4


@pytest.mark.slow
def test_points_lie_on_the_object():
    good, plain = (point_figures(lens(), drawn().mixed, one, "labels") for one in ("clip_surgery", "clip"))
    assert good["positives_on"] > 0.45
    assert good["best_on"] > 0.55
    assert good["negatives_off"] > 0.93
    assert plain["positives_on"] < 0.25


def test_damage_is_found_and_plain_features_point_away_from_it():
    good, plain = (anomaly_figures(lens(), drawn().alone, one, "world", "one") for one in ("anoclip", "clip"))
    assert good["image_auroc"] > 0.88
    assert good["inside_auroc"] > 0.8
    assert good["pixel_auroc"] > 0.96
    assert good["pro"] > 0.85
    assert good["inside_pro"] > 0.55
    assert plain["inside_auroc"] < 0.5
    assert plain["image_auroc"] == good["image_auroc"], (
        "the score is of the whole picture, whatever the recipe"
    )


def test_words_point_at_what_they_name():
    good, plain = (sentence_figures(lens(), drawn().mixed, one) for one in ("clip_surgery", "clip"))
    assert good["object_on"] > 0.55
    assert good["own"] > 0.85
    assert plain["object_on"] < 0.3
    assert good["top"] > good["nouns"] + 0.25
