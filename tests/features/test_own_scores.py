"""Methods with scores of their own, and every recipe through the session: batches, gradients, threads, the model."""

import threading
import warnings
import weakref
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

import clipsight
from clipsight import ClipsightWarning
from clipsight.features import Accumulate, ImagePass, get_recipe, recipe_ids, run, second_pass
from clipsight.features.own_scores import fed_features, own_scores
from clipsight.features.steps import KeySmoothing, PromptDenoising, ScoreStep
from clipsight.refine import feedback_map
from clipsight.scoring import contrast_maps, similarity_maps
from clipsight.scoring.denoising import key_smoothing
from clipsight.scoring.text_adjust import adjust_texts, mix_class
from clipsight.session.lens import Lens
from clipsight.towers.open_clip_vit import OpenClipVision
from clipsight.world import make_scene
from tiny import pixels, tiny_clip

WITH_SCORES = (
    "maskclip.refined",
    "resclip.naclip",
    "resclip.sclip",
    "resclip.clip",
    "rf_clip.voc20-b16",
    "freecp",
    "freecp.clearclip",
    "cliper.levels",
)
"""One recipe of each kind of scoring and host; data sets differ in numbers alone."""
OTHERS = ("gem.iter2", "pearl.svd", "sfp.l2", "sfp.lof", "rf_clip.refocus", "naclip.nonly", "maskclip.mmseg")
EVERY = (*recipe_ids(), *(name for name in (*WITH_SCORES, *OTHERS) if name not in recipe_ids()))
TEXTS = ("a dog", "a cat", "a red car", "a tree")


@pytest.fixture(autouse=True)
def _untested_settings() -> Iterator[None]:
    """These towers have depths and widths that nobody published; the warnings are tested in `test_fit.py`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClipsightWarning)
        yield


@cache
def model() -> torch.nn.Module:
    return tiny_clip(seed=5)


@cache
def lens() -> Lens:
    return clipsight.load(model(), device="cpu")


@cache
def view() -> OpenClipVision:
    return OpenClipVision(model().visual)


def texts(count: int = 4, seed: int = 3) -> Tensor:
    return torch.randn(count, 32, generator=torch.Generator().manual_seed(seed))


def images(batch: int = 3) -> Tensor:
    return pixels(batch, 64, 96)


def maps(name: str, x: Tensor, t: Tensor, **options) -> Tensor:
    return lens().maps(x, t, name, **options)


def close(a: Tensor, b: Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(a, b, atol=atol, rtol=1e-5)


def scored(name: str, x: Tensor, t: Tensor, **options) -> Tensor:
    """Through a pass of one's own, positions as the recipe has them."""
    with torch.no_grad():
        return own_scores(ImagePass(view(), x, name), x, t, logit_scale=lens().logit_scale, **options)[0]


@pytest.mark.parametrize("name", EVERY)
def test_maps_of_a_batch_are_the_maps_of_each(name):
    x, t = images(), texts()
    together = maps(name, x, t)
    assert together.shape == (3, 4, 4, 6)
    assert together.dtype == torch.float32
    assert together.isfinite().all()
    # FreeCP stretches a nearly even affinity to [0, 1], and rounding with it.
    atol = 1e-3 if name.startswith("freecp") else 1e-5
    for one, made in zip(x.split(1), together.split(1), strict=True):
        close(maps(name, one, t), made, atol)


@pytest.mark.parametrize("name", EVERY)
def test_gradients_are_finite_and_reach_the_pixels(name):
    x, t = images(2).requires_grad_(), texts()
    lens().maps(x, t, name).square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert (x.grad.abs().sum((1, 2, 3)) > 0).all()
    assert not lens().maps(images(2), t, name).requires_grad
    model().zero_grad(set_to_none=True)


def state(module: torch.nn.Module) -> tuple:
    return (
        {name: (p.data_ptr(), p._version, p.requires_grad) for name, p in module.named_parameters()},
        {name: (b.data_ptr(), b._version) for name, b in module.named_buffers()},
        [
            (name, m.training, len(m._forward_hooks), len(m._forward_pre_hooks))
            for name, m in module.named_modules()
        ],
        sorted(vars(module)),
        torch.backends.cuda.flash_sdp_enabled(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
    )


@pytest.mark.parametrize("name", EVERY)
def test_the_model_is_left_as_found(name):
    before, kept = state(model()), {k: v.clone() for k, v in model().state_dict().items()}
    maps(name, images(1), texts(2))
    assert state(model()) == before
    assert all(torch.equal(kept[k], v) for k, v in model().state_dict().items())


@pytest.mark.parametrize("name", WITH_SCORES)
@pytest.mark.parametrize("at", [0, 5])
def test_the_model_is_left_as_found_after_an_exception(name, at):
    """The exception comes from within a block, early in the trunk and in the head's."""
    before = state(model())

    def fail(*_: object) -> None:
        raise RuntimeError("from within")

    handle = model().visual.transformer.resblocks[at].ln_1.register_forward_pre_hook(fail)
    try:
        with pytest.raises(RuntimeError, match="from within"):
            maps(name, images(1), texts(2))
    finally:
        handle.remove()
    assert state(model()) == before
    assert maps(name, images(1), texts(2)).isfinite().all()


def test_all_options_of_all_methods_run():
    """Every registered id, the data sets too: one small pass each."""
    x, t = pixels(1, 32, 48), texts(3)
    for name in recipe_ids(variants=True):
        made = lens().maps(x, t, name)
        assert made.shape == (1, 3, 2, 3), name
        assert made.isfinite().all(), name


FREE_OF_ORDER = tuple(name for name in WITH_SCORES if not name.startswith("resclip"))


def rounding(name: str) -> float:
    """FreeCP stretches maps that its affinity made nearly even, and rounding with them."""
    return 1e-3 if name.startswith("freecp") else 1e-5


@pytest.mark.parametrize("name", FREE_OF_ORDER)
def test_permuted_texts_give_permuted_maps(name):
    t, order = texts(6), [4, 0, 5, 2, 1, 3]
    close(maps(name, images(2), t[order]), maps(name, images(2), t)[:, order], rounding(name))


@pytest.mark.parametrize("name", ["resclip.naclip", "resclip.sclip"])
def test_feedback_knows_the_first_text_from_the_others(name):
    """Unsure pixels count as the first text: order matters for that one alone, and not without a threshold."""
    x, t, order = images(2), texts(6), [0, 4, 5, 2, 1, 3]
    close(maps(name, x, t[order]), maps(name, x, t)[:, order])
    (step,) = get_recipe(name).scoring
    sure = replace(lens()._engine.recipe(name), scoring=(replace(step, threshold=0.0),))
    other = [4, 0, 5, 2, 1, 3]
    close(lens().maps(x, t[other], sure), lens().maps(x, t, sure)[:, other])


@pytest.mark.parametrize("name", WITH_SCORES)
@pytest.mark.parametrize("factor", [0.01, 100.0])
def test_lengths_of_texts_do_not_matter(name, factor):
    close(maps(name, images(2), factor * texts()), maps(name, images(2), texts()), 10 * rounding(name))


@pytest.mark.parametrize("name", WITH_SCORES)
def test_one_text_is_enough(name):
    made = maps(name, images(2), texts(1))
    assert made.shape == (2, 1, 4, 6)
    assert made.isfinite().all()


@pytest.mark.parametrize("name", WITH_SCORES)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_pictures_have_finite_scores(name, value):
    assert maps(name, torch.full((1, 3, 48, 64), value), texts()).isfinite().all()


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("size", [(16, 16), (16, 32), (496, 16)], ids=["N=1", "N=2", "N=31"])
def test_few_patches_have_finite_scores(name, size):
    made = maps(name, pixels(1, *size), texts(3))
    assert made.shape[2:] == (size[0] // 16, size[1] // 16)
    assert made.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", WITH_SCORES)
def test_half_precision_has_finite_scores(name, dtype):
    half = clipsight.load(tiny_clip(seed=5), device="cpu", dtype=dtype)
    x = images(2).to(dtype)
    for t in (texts(), texts().to(dtype)):
        made = half.maps(x, t, name)
        assert made.dtype == torch.float32
        assert made.isfinite().all()


def test_levels_with_distractors():
    made = maps("cliper.levels", images(2), texts(), contrast=["a fox", "a tree", "a boat"])
    assert made.shape == (2, 4, 4, 6)


@pytest.mark.parametrize(
    ("name", "contrast"),
    [
        (name, contrast)
        for name in WITH_SCORES
        for contrast in (None, "labels", "empty", ["a fox", "a tree", "a boat"])
        if (name, type(contrast)) != ("cliper.levels", list)
    ],
    ids=str,
)
def test_contrasts(name, contrast):
    made = maps(name, images(2), texts(), contrast=contrast)
    assert made.shape == (2, 4, 4, 6)
    assert made.isfinite().all()
    own, plain = get_recipe(name).has_own_scores, maps(name, images(2), texts())
    same = torch.allclose(made, plain, atol=1e-6)
    if isinstance(contrast, list) and name != "rf_clip.voc20-b16":
        assert not same  # distractors take part in the softmax over texts
    if contrast in ("labels", "empty"):
        assert same == own


def test_distractors_are_texts_that_are_not_returned():
    """A score among texts and distractors is the score among all of them as texts."""
    t, others = texts(3), texts(4, seed=9)
    for name in ("maskclip.refined", "freecp", "rf_clip.voc20-b16"):
        among = scored(name, images(2), t, kind="names", contrast_texts=others)
        close(among, scored(name, images(2), torch.cat([t, others]))[:, :3])


@torch.no_grad()
def test_feedback_by_hand():
    """The second pass is the recipe with the semantic map, made of the labels of the first."""
    x, t, recipe = images(2), texts(), lens()._engine.recipe("resclip.naclip")
    (step,) = recipe.scoring
    first = run(view(), x, recipe)
    _, together = feedback_map(
        similarity_maps(first.patches, t), x, logit_scale=step.logit_scale, threshold=step.threshold
    )
    semantic = together / together.amax((1, 2), keepdim=True)
    second = run(view(), x, second_pass(recipe, step), {"semantic": semantic[:, None]})
    for kind in ("none", "labels"):
        expected = contrast_maps(second.patches, second.pooled, t, kind=kind)
        close(own_scores(ImagePass(view(), x, recipe), x, t, logit_scale=100.0, kind=kind)[0], expected)
    close(fed_features(ImagePass(view(), x, recipe), x, t).patches, second.patches)
    close(lens().features(x, "resclip.naclip", t).patches, second.patches)
    close(lens().features(x, "resclip.naclip").patches, first.patches)
    assert not torch.allclose(first.patches, second.patches, atol=1e-4)


@torch.no_grad()
def test_text_adjustment_by_hand():
    x, t = images(2), texts(5)
    t[1] = t[0] + 0.1 * texts(1, seed=8)[0]
    features = run(view(), x, lens()._engine.recipe("rf_clip.voc20-b16"))
    rows = features.patches.flatten(1, 2)
    moved = adjust_texts(t, rows, features.pooled, move=0.02, cut=0.10)
    expected = torch.stack([similarity_maps(features.patches[i : i + 1], moved[i])[0] for i in range(2)])
    expected = mix_class(expected, features.pooled, t, share=0.4)
    close(scored("rf_clip.voc20-b16", x, t), expected)


@torch.no_grad()
def test_key_smoothing_by_hand():
    x, t = images(2), texts()
    made = ImagePass(view(), x, replace(get_recipe("maskclip"), scoring=(KeySmoothing(threshold=0.9),)))
    last = view().blocks[-1]
    _, k, _ = last.qkv(last.norm1(made.entered))
    keys = k[:, :, 1:].transpose(1, 2).flatten(2)
    expected = key_smoothing(similarity_maps(made.features().patches, t), keys, threshold=0.9)
    close(own_scores(made, x, t, logit_scale=100.0)[0], expected)


@torch.no_grad()
def test_key_smoothing_in_compat_mode_takes_projected_keys():
    x, t = images(1), texts()
    step = KeySmoothing(threshold=0.9, mode="compat")
    made = ImagePass(view(), x, replace(get_recipe("maskclip"), scoring=(step,)))
    last = view().blocks[-1]
    keys = last.merge(made.keys())
    expected = key_smoothing(similarity_maps(made.features().patches, t), keys, threshold=0.9, mode="compat")
    close(own_scores(made, x, t, logit_scale=100.0)[0], expected)


def test_prompt_denoising_is_decided_on_cosines():
    kinds = [type(step) for step in get_recipe("maskclip.refined").scoring]
    assert kinds.index(PromptDenoising) < kinds.index(KeySmoothing)


@torch.no_grad()
def test_every_level_is_the_same_when_it_is_asked_for_again():
    made = ImagePass(view(), images(2), "cliper.levels")
    close(made.features().levels, made.features().levels, atol=0.0)


@torch.no_grad()
def test_features_are_the_same_when_they_are_asked_for_again():
    for name in (name for name in EVERY if name != "cliper.levels"):
        made = ImagePass(view(), images(2), name)
        first = made.features()
        if not isinstance(made.recipe.path, Accumulate):
            made.weights()
        again = made.features()
        assert torch.equal(first.patches, again.patches), name
        assert torch.equal(first.pooled, again.pooled), name


def picture():
    return make_scene(1, size=96).image


@pytest.mark.parametrize(
    "name", [*(name for name in WITH_SCORES if name != "cliper.levels"), "cliper.levels"]
)
def test_seen_once_asked_often(name, monkeypatch):
    """One pass for each recipe, whatever the texts; other texts do not change what the first were answered."""
    passes, begin = [], ImagePass.__init__
    monkeypatch.setattr(ImagePass, "__init__", lambda *a, **k: passes.append(1) or begin(*a, **k))
    seen = lens().see(picture())
    first = seen.explain(TEXTS, method=name).maps
    seen.explain(["a bird", "a boat"], method=name)
    again = seen.explain(TEXTS, method=name).maps
    assert len(passes) == 1
    assert torch.equal(first, again)
    assert torch.equal(lens().explain(picture(), TEXTS, method=name).maps, first)


@pytest.mark.parametrize("name", ["resclip.naclip", "freecp", "rf_clip.voc20-b16", "cliper.levels"])
def test_threads_that_share_a_picture_get_their_own_texts(name):
    questions = [
        ("a dog", "a cat", "a boat"),
        ("a red car", "a tree"),
        ("a bird", "a fox", "a sheep", "a cow"),
    ]
    alone = [lens().explain(picture(), question, method=name).maps for question in questions]
    seen, wrong = lens().see(picture()), []

    def ask(number: int) -> None:
        for turn in range(3):
            which = (number + turn) % len(questions)
            try:
                same = torch.allclose(
                    seen.explain(questions[which], method=name).maps, alone[which], atol=1e-6
                )
                wrong.extend([] if same else [which])
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("name", WITH_SCORES)
def test_a_list_of_pictures_gives_what_a_loop_gives(name):
    scenes = [make_scene(number, size=96).image for number in (1, 2)]
    together = lens().explain(scenes, TEXTS, method=name)
    for scene, made in zip(scenes, together, strict=True):
        close(lens().explain(scene, TEXTS, method=name).maps, made.maps)


@pytest.mark.parametrize("name", [name for name in WITH_SCORES if not name.startswith("resclip")])
@pytest.mark.parametrize("contrast", ["labels", "empty"])
def test_the_result_does_not_claim_a_contrast_that_was_not_made(name, contrast):
    made = lens().explain(picture(), TEXTS, method=name, contrast=contrast)
    raw = lens().explain(picture(), TEXTS, method=name, contrast=None)
    assert torch.equal(made.maps, raw.maps)
    assert made.provenance.contrast == "none"
    assert "contrasted with" not in made.trust[0]
    assert "contrasted among" not in made.trust[0]


def test_a_step_that_cannot_run_itself_is_refused():
    class Other(ScoreStep):
        pass

    recipe = replace(get_recipe("clip"), scoring=(Other(),))
    with pytest.raises(TypeError, match="Other is not a step"):
        lens().maps(images(1), texts(), recipe)


def test_a_step_of_ones_own_is_run_where_it_stands():
    class Halved(ScoreStep):
        def apply(self, scores, features, asked):
            assert asked.count == len(texts())
            return scores / 2

    recipe = replace(
        get_recipe("clip"), id="mine", scoring=(Halved(), PromptDenoising(threshold=0.0), Halved())
    )
    expected = lens().maps(images(1), texts(), "clip", None) / 4
    close(lens().maps(images(1), texts(), recipe), expected)


def test_a_list_does_not_hold_the_pass_of_every_picture(monkeypatch):
    """A pass keeps maps of patches by patches: a long list would fill the memory."""
    passes, alive, begin = [], [], ImagePass.__init__

    def counted(self, *args, **options) -> None:
        begin(self, *args, **options)
        passes.append(weakref.ref(self))
        alive.append(sum(one() is not None for one in passes))

    monkeypatch.setattr(ImagePass, "__init__", counted)
    lens().explain([make_scene(number, size=64).image for number in range(4)], TEXTS, method="freecp")
    assert max(alive) <= 2
