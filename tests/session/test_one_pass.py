"""One pass of the image tower serves all questions about a picture: what is counted is which blocks run."""

import itertools
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import clipsight
from clipsight import Seen
from clipsight.features import ImagePass, Trunk, get_recipe, recipe_ids
from clipsight.features.adapt_to_depth import adapt_to_depth, why_not
from clipsight.towers.families import towers_of
from clipsight.towers.view import BlockView
from clipsight.world import make_scene
from tiny import pixels, tiny_clip

DEPTH = 12
NAMES = ["a dog", "a red car", "two cats"]
ASK: dict[str, Callable[[Seen], torch.Tensor]] = {
    "explain": lambda seen: seen.explain(NAMES, contrast="none").maps,
    "classify": lambda seen: seen.classify(NAMES).similarity,
    "tag": lambda seen: seen.tag(NAMES).similarity,
    "segment": lambda seen: seen.segment(NAMES, window="whole").scores,
    "words": lambda seen: seen.words("a red car", "gradient", kind="norm").scores,
    "sentence": lambda seen: seen.sentence("a red car").maps,
}


@pytest.fixture(scope="module")
def lens():
    return clipsight.load(tiny_clip(layers=DEPTH), device="cpu")


@pytest.fixture(scope="module")
def picture():
    return make_scene(3, size=64).image


@pytest.fixture
def runs(lens, monkeypatch):
    """How often each block, from 1, took more than the class token through its network, whole or in parts."""
    blocks, counted = list(lens._engine.vision.blocks), Counter()
    kind = type(blocks[0])
    whole, network = kind.__call__, kind.ffn

    def count(block: BlockView, tokens: torch.Tensor) -> None:
        if block in blocks and tokens.shape[1] > 1:
            counted[blocks.index(block) + 1] += 1

    monkeypatch.setattr(kind, "__call__", lambda self, x, *rest: count(self, x) or whole(self, x, *rest))
    monkeypatch.setattr(kind, "ffn", lambda self, x: count(self, x) or network(self, x))
    return counted


@pytest.mark.parametrize("first", ASK)
def test_all_questions_run_each_block_once(lens, picture, runs, first):
    order = [first, *(name for name in ASK if name != first)]
    alone = {name: ASK[name](lens.see(picture)) for name in order}
    seen = lens.see(picture)
    runs.clear()
    for name in order:
        torch.testing.assert_close(ASK[name](seen), alone[name], atol=1e-5, rtol=1e-4)
    assert all(runs[number] == 1 for number in range(1, DEPTH)), runs
    assert not runs[DEPTH]  # the class token alone is read there


def test_threads_that_share_a_picture_get_what_one_gets(lens, picture, runs):
    alone = {name: ask(lens.see(picture)) for name, ask in ASK.items()}
    seen = lens.see(picture)
    runs.clear()
    with ThreadPoolExecutor(8) as pool:
        asked = {name: pool.submit(ask, seen) for name, ask in ASK.items()}
        for name, answer in asked.items():
            torch.testing.assert_close(answer.result(), alone[name], atol=1e-5, rtol=1e-4)
    assert all(runs[number] == 1 for number in range(1, DEPTH)), runs


def test_one_shot_questions_run_as_often_as_they_are_asked(lens, picture, runs):
    lens.explain(picture, NAMES)
    lens.classify(picture, NAMES)
    assert runs[1] == runs[DEPTH - 1] == 2


def test_nothing_outlives_the_weights_it_was_made_with(picture):
    lens = clipsight.load(tiny_clip(), device="cpu")
    seen = lens.see(picture)
    before = seen.explain(NAMES)
    with torch.no_grad():
        lens.module.visual.conv1.weight.mul_(1.5)
    after = seen.explain(NAMES)
    assert after.provenance.fingerprint != before.provenance.fingerprint
    assert torch.equal(after.maps, lens.explain(picture, NAMES).maps)
    assert not torch.allclose(after.maps, before.maps)


@pytest.mark.parametrize("keep", [0, 40_000, 2**26])
@torch.inference_mode()
def test_recipes_on_a_shared_trunk_equal_recipes_alone(keep):
    view, images = towers_of(tiny_clip(layers=DEPTH)).vision, pixels(1, 64, 64)
    assert view is not None
    recipes = [adapt_to_depth(get_recipe(name), view).recipe for name in recipe_ids()]
    recipes = [one for one in recipes if not why_not(one, view)]
    alone = {one: ImagePass(view, images, one).features() for one in recipes}
    assert len(recipes) > 12
    trunk = Trunk(view, images, "bilinear", keep)
    for recipe in itertools.chain(recipes, reversed(recipes)):
        found = ImagePass(view, images, recipe, None, trunk).features()
        torch.testing.assert_close(found.patches, alone[recipe].patches, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(found.pooled, alone[recipe].pooled, atol=2e-5, rtol=1e-4)


@torch.inference_mode()
def test_a_trunk_keeps_no_more_than_it_may():
    view, images = towers_of(tiny_clip(layers=DEPTH)).vision, pixels(1, 64, 64)
    size = view.embed(images).numel() * 4
    trunk = Trunk(view, images, "bilinear", keep=3 * size)
    last = trunk.entering(DEPTH + 1)
    assert [number for number in range(1, DEPTH + 2) if number in trunk] == [DEPTH - 1, DEPTH, DEPTH + 1]
    torch.testing.assert_close(trunk.entering(3), Trunk(view, images, "bilinear").entering(3))
    assert DEPTH in trunk  # what is asked for in between does not push out the later ones
    assert torch.equal(trunk.entering(DEPTH + 1), last)


@torch.inference_mode()
def test_other_positions_have_a_trunk_of_their_own():
    view, images = towers_of(tiny_clip()).vision, pixels(1, 64, 96)
    trunk = Trunk(view, images, "bilinear", 2**20)
    assert trunk.serves("bilinear")
    assert not trunk.serves("dino_bicubic")
    with pytest.raises(ValueError, match="give one of its own"):
        ImagePass(view, images, "naclip", None, trunk)
