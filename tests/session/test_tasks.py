"""What the tasks give through the lens: pictures and names in, results out, and what a user gets wrong."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import clipsight
from clipsight.errors import ClipsightWarning, Unsupported
from clipsight.tasks import Background, Refinement
from clipsight.tasks.adapt import Adaptation
from clipsight.world import make_scene, make_scenes
from tiny import past_type_checks, tiny_clip


@pytest.fixture(scope="module")
def lens():
    return clipsight.load("clipsight-tiny", device="cpu")


@pytest.fixture(scope="module")
def scene():
    return next(s for s in make_scenes(20, 4, "heldout", objects=3))


def named(scene) -> list[str]:
    return list(dict.fromkeys(one.name for one in scene.objects))


def test_segmentation_finds_the_objects_and_says_how(lens, scene):
    seg = lens.segment(scene.image, named(scene), recipe="clip_surgery", window="whole")
    raw = lens.segment(scene.image, named(scene), recipe="clip", window="whole")
    right = {
        made: np.mean([made.mask(name).numpy()[scene.mask(name)].mean() for name in named(scene)])
        for made in (seg, raw)
    }
    assert right[seg] > 0.6
    assert right[seg] > right[raw]
    assert seg.labels.shape == (112, 112)
    assert float(seg.areas.sum()) == pytest.approx(1)
    assert seg.provenance.method == "clip_surgery"
    assert seg.provenance.settings["window"] == {"short_side": 112, "crop": 0, "stride": 0}
    assert seg.provenance.settings["logit_scale"] == pytest.approx(0.4 * lens.logit_scale)


@pytest.mark.parametrize("size", [(37, 300), (9, 5), (120, 90), (401, 113)])
@pytest.mark.parametrize("window", ["auto", "whole", 56, (56, 40)])
def test_every_pixel_of_every_shape_gets_a_label(lens, scene, size, window):
    picture = scene.image.resize((size[1], size[0]))
    seg = lens.segment(picture, named(scene), recipe="naclip", window=window)
    assert seg.labels.shape == size
    assert int(seg.labels.min()) >= 0
    assert seg.probability.isfinite().all()


def test_a_data_set_variant_brings_its_settings_and_arguments_override_them(lens, scene):
    own = lens.segment(scene.image, named(scene), recipe="naclip.city-b16").provenance.settings
    assert own["window"] == {"short_side": 560, "crop": 224, "stride": 112}
    assert own["logit_scale"] == 40
    with_threshold = lens.segment(scene.image, named(scene), recipe="naclip.voc21-b16")
    assert with_threshold.provenance.settings["background"]["threshold"] == 0.1
    changed = lens.segment(
        scene.image, named(scene), recipe="naclip.city-b16", short_side=112, window="whole"
    )
    assert changed.provenance.settings["window"] == {"short_side": 112, "crop": 0, "stride": 0}


def test_background_policies(lens, scene):
    names = named(scene)
    absent = "guitar" if "guitar" not in names else "whale"
    every = lens.segment(scene.image, [*names, absent], recipe="naclip", window="whole")
    present = lens.segment(
        scene.image, [*names, absent], recipe="naclip", window="whole", background="presence"
    )
    assert int(present.mask(absent).sum()) == 0
    assert any(absent in note for note in present.notes)
    unsure = lens.segment(scene.image, names, recipe="naclip", window="whole", background=0.9)
    assert (unsure.labels < 0).sum() > (every.labels < 0).sum()
    words = lens.segment(scene.image, names, recipe="naclip", window="whole", background=["grass", "sky"])
    assert words.classes[0] == "background"
    both = Background(words=("grass",), threshold=0.99)
    assert (
        lens.segment(scene.image, names, recipe="naclip", background=both).labels == 0
    ).float().mean() > 0.5


@pytest.mark.parametrize("refine", ["pamr", "guided", "propagation"])
def test_refinements_change_the_labels_and_are_recorded(lens, scene, refine):
    options = {"recipe": "clip_surgery", "window": "whole"}
    plain = lens.segment(scene.image, named(scene), **options)
    better = lens.segment(scene.image, named(scene), refine=refine, **options)
    assert better.provenance.settings["refine"] == refine
    assert (plain.labels != better.labels).any()


def test_a_refinement_that_fails_says_so(lens, scene):
    broken = Refinement(function=lambda maps: maps * torch.nan, name="broken")
    with pytest.raises(RuntimeError, match="broken was given scores"):
        lens.segment(scene.image, named(scene), refine=broken)
    with pytest.raises(ValueError, match="refine='crf' is unknown"):
        lens.segment(scene.image, named(scene), refine="crf")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "empty"),
        (["cat", "Cat"], "given twice"),
        (["cat", "  "], "no word in it"),
        ("cat", "list|string"),
        (["cat", "person: man,"], "blank word"),
    ],
)
def test_names_that_cannot_be_told_apart_are_refused(lens, scene, names, message):
    with past_type_checks(), pytest.raises((TypeError, ValueError), match=message):
        lens.segment(scene.image, names)


def test_two_thousand_names_are_no_matter(lens, scene):
    names = [*named(scene), *(f"thing {number}" for number in range(2000))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClipsightWarning)
        seg = lens.segment(scene.image, names, recipe="naclip", window="whole")
    assert len(seg.classes) == len(names)


def test_methods_with_a_second_pass_run_in_every_window(lens, scene):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClipsightWarning)
        seg = lens.segment(scene.image, named(scene), recipe="resclip.naclip")
        plain = lens.segment(scene.image, named(scene), recipe="naclip")
    assert (seg.probability - plain.probability).abs().max() > 1e-3
    assert any("untested" in note for note in seg.notes)


def test_progress_counts_windows(lens, scene):
    seen = []
    larger = scene.image.resize((168, 168))
    lens.segment(larger, named(scene), recipe="naclip", batch=2, progress=lambda *step: seen.append(step))
    assert seen[-1][0] == seen[-1][1] == 4


def test_a_small_picture_is_seen_whole_and_a_larger_one_through_windows(lens, scene):
    small = lens.segment(scene.image, named(scene), recipe="naclip")
    large = lens.segment(scene.image.resize((200, 130)), named(scene), recipe="naclip")
    assert small.provenance.settings["window"]["crop"] == 0
    assert large.provenance.settings["window"] == {"short_side": 168, "crop": 112, "stride": 56}


def test_tags_tell_present_from_absent(lens, scene):
    names = named(scene)
    absent = [name for name in ("guitar", "whale", "anchor", "cactus") if name not in names]
    tags = lens.tag(scene.image, [*absent, *names])
    assert {tag.label for tag in tags.top(len(names))} & set(names)
    assert min(tags[name].presence for name in names) > max(tags[name].presence for name in absent) - 0.5
    assert tags.provenance.contrast == "names"


def test_damage_is_marked_higher_than_what_is_whole(lens):
    damaged = next(s for s in make_scenes(200, 3, "heldout", objects=1) if s.objects[0].damaged)
    name = damaged.objects[0].name
    whole = next(
        s
        for s in make_scenes(4000, 5, "heldout", objects=1)
        if s.objects[0].name == name and not s.objects[0].damaged
    )
    scores = [lens.anomaly(one.image, name).score for one in (damaged, whole)]
    assert scores[0] > scores[1]
    found = lens.anomaly(damaged.image, name, adaptation=Adaptation(steps=2), views="all", temperature=0.03)
    assert not found.rank_only
    assert len(found.views) == 22
    assert len(found.losses) == 2
    assert found.map.shape == (112, 112)


def test_a_sentences_words_have_maps(lens, scene):
    name = named(scene)[0]
    view = lens.sentence(scene.image, f"a photo of a {name}")
    assert [word.text for word in view.words][:2] == ["a", "photo"]
    assert view.maps.shape == (len(view.words), 14, 14)


def test_towers_without_patches_say_why():
    blind = clipsight.load(
        tiny_clip(attentional_pool="parallel", attn_pooler_heads=2, width=32, head_width=16), device="cpu"
    )
    for ask in (lambda x: blind.segment(x, ["a", "b"]), lambda x: blind.anomaly(x, "a")):
        with pytest.raises(Unsupported, match="attention pools"):
            ask(Image.new("RGB", (64, 64)))
    assert make_scene(0) is not None


def test_what_was_noticed_while_reading_is_in_the_notes(lens, tmp_path):
    frames = [make_scene(i, size=64).image for i in range(2)]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    for result in (
        lens.segment(tmp_path / "two.gif", ["dog", "car"], recipe="naclip"),
        lens.tag(tmp_path / "two.gif", ["dog", "car"]),
        lens.anomaly(tmp_path / "two.gif", "bottle"),
    ):
        assert any("first" in note for note in result.provenance.notes)
