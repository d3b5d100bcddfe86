"""The session: set once, ask many; the same numbers whichever way they are asked for; the model left as found."""

import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import clipsight
from clipsight import ClipsightWarning, Unsupported
from clipsight.features import ImageFeatures, ImagePass, get_recipe, with_depth
from clipsight.scoring import feature_surgery
from clipsight.session.lens import Lens
from clipsight.world import make_scene, nouns
from tiny import past_type_checks, tiny_clip

TEXTS = ["a dog", "a cat", "a red car"]


@pytest.fixture(scope="module")
def lens() -> Lens:
    return clipsight.load(tiny_clip(), device="cpu")


@pytest.fixture
def picture() -> Image.Image:
    return make_scene(1, size=96).image


def _state(module: torch.nn.Module) -> tuple:
    return (
        {
            name: (value.data_ptr(), value._version, value.requires_grad)
            for name, value in module.named_parameters()
        },
        {name: (value.data_ptr(), value._version) for name, value in module.named_buffers()},
        [
            (name, m.training, len(m._forward_hooks), len(m._forward_pre_hooks))
            for name, m in module.named_modules()
        ],
        sorted(vars(module)),
    )


def test_the_model_is_left_as_found_also_after_an_error(lens: Lens, picture):
    before, kept = _state(lens.module), {k: v.clone() for k, v in lens.module.state_dict().items()}
    lens.explain(picture, TEXTS, resolution=(96, 64))
    lens.classify(picture, TEXTS)
    with pytest.raises(ValueError, match="no recipe"):
        lens.explain(picture, TEXTS, method="grad_camp")
    with pytest.raises(ValueError, match="does not divide into patches"):
        lens.maps(torch.zeros(1, 3, 50, 64), lens.encode_text(TEXTS))
    assert _state(lens.module) == before
    assert all(torch.equal(kept[k], v) for k, v in lens.module.state_dict().items())


def test_encoding_is_the_librarys_own(lens: Lens, picture):
    x = lens.preprocess(picture, "square")
    with torch.no_grad():
        assert torch.allclose(lens.encode_image(x), lens.module.encode_image(x), atol=1e-5)
        tokens = open_clip.get_tokenizer("ViT-B-32")(TEXTS)
        assert torch.allclose(lens.encode_text(TEXTS), lens.module.encode_text(tokens), atol=1e-5)
        assert torch.allclose(lens.encode_text(tokens), lens.module.encode_text(tokens), atol=1e-5)


def test_one_question_and_many_agree(lens: Lens, picture):
    seen = lens.see(picture)
    once = lens.explain(picture, TEXTS)
    again = seen.explain(TEXTS)
    assert torch.equal(once.maps, again.maps)
    x, t = lens.preprocess(picture), lens.encode_text(TEXTS)
    assert torch.allclose(lens.maps(x, t, contrast="empty")[0], again.maps, atol=1e-6)
    assert again.provenance.contrast == "empty"
    assert torch.allclose(again.similarity, F.cosine_similarity(lens.encode_image(x), t), atol=1e-5)


def test_a_list_gives_what_a_loop_gives(lens: Lens, picture):
    pictures = [picture, picture.resize((150, 60)), picture.rotate(90), picture.resize((60, 150))]
    together = lens.explain(pictures, TEXTS, batch=2)
    assert isinstance(together, list)
    for one, result in zip(pictures, together, strict=True):
        alone = lens.explain(one, TEXTS)
        assert torch.allclose(alone.maps, result.maps, atol=1e-5)
        assert alone.provenance.grid == result.provenance.grid


def test_encoded_once(lens: Lens, picture, monkeypatch):
    passes = []
    begin = ImagePass.__init__
    monkeypatch.setattr(ImagePass, "__init__", lambda *a: passes.append(1) or begin(*a))
    seen = lens.see(picture)
    for texts in (TEXTS, ["a bird"], TEXTS):
        seen.explain(texts)
    seen.classify(TEXTS)
    assert len(passes) == 1
    seen.explain(TEXTS, method="clip")
    assert len(passes) == 2


@pytest.mark.parametrize(
    ("contrast", "count", "kind"),
    [
        ("auto", 3, "empty"),
        ("auto", 8, "labels"),
        (None, 3, "none"),
        ("none", 3, "none"),
        ("labels", 3, "labels"),
        ("empty", 3, "empty"),
        (["a fox", "a tree"], 3, "names"),
    ],
)
def test_contrast_is_chosen_as_promised_and_recorded(lens: Lens, picture, contrast, count, kind):
    texts = [f"a {noun}" for noun in nouns()[:count]]
    ex = lens.explain(picture, texts, contrast=contrast)
    assert ex.provenance.contrast == kind
    assert ex.provenance.contrast_texts == (("a fox", "a tree") if kind == "names" else ())


def test_a_contrast_vocabulary_is_used_below_eight_texts(picture):
    lens = clipsight.load(tiny_clip(), device="cpu")
    lens._engine.card = replace(
        lens.card, contrast_vocabulary=nouns()[:30], templates=("{}", "a photo of {}")
    )
    ex = lens.explain(picture, ["a dog"])
    assert ex.provenance.contrast == "names"
    assert "dog" not in ex.provenance.contrast_texts, "the text itself is no distractor"
    assert len(ex.provenance.contrast_texts) == 29
    assert ex.provenance.templates == ("{}", "a photo of {}")
    assert 0 <= float(ex.presence[0]) <= 1
    union = lens.encode_text(["a dog", *ex.provenance.contrast_texts], lens.card.templates)
    features = lens.see(picture).features()
    assert torch.allclose(
        feature_surgery(features.patches, features.pooled, union)[0, :1], ex.maps, atol=1e-5
    )


def test_what_contrast_cannot_be(lens: Lens, picture):
    with pytest.raises(ValueError, match="at least two"):
        lens.explain(picture, ["a dog"], contrast="labels")
    with pytest.raises(ValueError, match="a list of names such as"):
        lens.explain(picture, ["a dog"], contrast="background")
    with pytest.raises(ValueError, match="differs from the texts"):
        lens.explain(picture, ["a dog"], contrast=["dog"])


def test_permuted_and_repeated_texts(lens: Lens, picture):
    seen = lens.see(picture)
    for contrast in ("none", "labels", "empty"):
        plain = seen.explain(TEXTS, contrast=contrast)
        turned = seen.explain(TEXTS[::-1], contrast=contrast)
        assert torch.allclose(plain.maps, turned.maps.flip(0), atol=1e-6)
    double = seen.explain(["a dog", "a dog"], contrast="empty")
    assert torch.equal(double.maps[0], double.maps[1])
    two = seen.explain(TEXTS[:2], contrast="labels")
    assert torch.allclose(two.maps[0], -two.maps[1], atol=1e-6)
    assert "minus the other" in two.trust[0]


def test_presence_is_nan_with_a_reason(lens: Lens, picture):
    ex = lens.explain(picture, TEXTS)
    assert ex.presence.isnan().all()
    assert "no contrast vocabulary" in ex.presence_reason
    few = lens.explain(picture, TEXTS, contrast=["a fox", "a tree"])
    assert "too few" in few.presence_reason


@pytest.mark.parametrize(
    ("size", "seen", "grid"),
    [
        ((1, 1), (64, 64), (4, 4)),
        ((64, 64), (64, 64), (4, 4)),
        ((200, 100), (64, 128), (4, 8)),
        ((100, 250), (160, 64), (10, 4)),
        ((6000, 200), (64, 1920), (4, 120)),
        ((30000, 20), (64, 16384), (4, 1024)),
    ],
)
def test_any_shape_of_picture(lens: Lens, size, seen, grid):
    one = lens.see(Image.new("RGB", size, (200, 30, 90)))
    assert one.size == seen
    ex = one.explain(["a dog"], contrast="empty")
    assert ex.maps.shape[1:] == grid
    assert torch.isfinite(ex.maps).all()
    assert bool(one.notes) == (size[0] > 10_000)
    assert ex.provenance.notes[: len(one.notes)] == one.notes


def test_resolutions(lens: Lens, picture):
    assert lens.preprocess(picture, 128).shape == (1, 3, 128, 128)
    assert lens.preprocess(picture.resize((50, 25)), "square").shape == (1, 3, 64, 64)
    assert lens.preprocess(picture, (32, 80)).shape == (1, 3, 32, 80)
    for bad, words in (
        ((30, 80), "nearest"),
        (8, "smaller than a patch"),
        ("tiny", "unknown"),
        ((64,), "height, width"),
    ):
        with past_type_checks(), pytest.raises(ValueError, match=words):
            lens.preprocess(picture, bad)


def test_a_constant_map_is_said(lens: Lens, picture, monkeypatch):
    flat = ImageFeatures(patches=torch.ones(1, 4, 4, 32), pooled=torch.ones(1, 32))
    monkeypatch.setattr(ImagePass, "features", lambda _: flat)
    ex = lens.explain(picture, TEXTS)
    assert torch.isfinite(ex.maps).all()
    assert all("same everywhere" in line for line in ex.trust)


def test_out_of_memory_halves_the_batch_and_says_so(lens: Lens, picture, monkeypatch):
    begin = ImagePass.__init__

    def small_card(self, view, x, *rest):
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        begin(self, view, x, *rest)

    monkeypatch.setattr(ImagePass, "__init__", small_card)
    with pytest.warns(ClipsightWarning, match="went on with"):
        results = lens.explain([picture] * 5, TEXTS, batch=5)
    assert len(results) == 5
    assert all("went on with 2" in " ".join(ex.provenance.notes) for ex in results)
    monkeypatch.undo()
    assert torch.allclose(results[3].maps, lens.explain(picture, TEXTS).maps, atol=1e-5)


def test_many_threads_get_what_one_gets(lens: Lens, picture):
    seen = lens.see(picture)
    wanted = [lens.see(picture).explain([text], contrast="empty").maps for text in TEXTS]
    fresh, got, errors = clipsight.load(lens.module), {}, []

    def ask(number: int) -> None:
        try:
            for step in range(4):
                which = (number + step) % len(TEXTS)
                got[number, step] = (
                    which,
                    (seen if step % 2 else fresh.see(picture)).explain([TEXTS[which]], contrast="empty").maps,
                )
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert all(torch.allclose(maps, wanted[which], atol=1e-6) for which, maps in got.values())


def test_gradients_flow_only_when_asked_for(lens: Lens, picture):
    x, t = lens.preprocess(picture), lens.encode_text(TEXTS)
    assert not lens.maps(x, t).requires_grad
    x.requires_grad_()
    lens.maps(x, t).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    lens.module.zero_grad(set_to_none=True)


def test_a_recipe_of_ones_own(lens: Lens, picture):
    shallow = with_depth(get_recipe("clip_surgery"), 2)
    assert not torch.allclose(
        lens.explain(picture, TEXTS, method=shallow).maps, lens.explain(picture, TEXTS).maps
    )
    with pytest.raises(Unsupported, match="this tower has 6"):
        lens.explain(picture, TEXTS, method=with_depth(shallow, 7))


def test_the_cards_depth_is_used_by_id(picture):
    lens = clipsight.load(tiny_clip(layers=3), device="cpu")
    assert lens.card.methods["clip_surgery"]
    with pytest.raises(Unsupported, match="this tower has 3"):
        lens.explain(picture, TEXTS)


def test_classify(lens: Lens, picture):
    result = lens.classify(picture, TEXTS, templates=None)
    x = lens.preprocess(picture)
    cosines = F.cosine_similarity(lens.encode_image(x), lens.encode_text(TEXTS))
    wanted = (lens.module.logit_scale.exp() * cosines).softmax(0).detach()
    assert torch.allclose(result.probabilities, wanted, atol=1e-5)
    assert result.top(1)[0][0] == TEXTS[int(wanted.argmax())]


def test_bad_texts_are_refused_in_words(lens: Lens, picture):
    seen = lens.see(picture)
    for bad, error, words in (
        ([], ValueError, "empty"),
        ([" "], ValueError, "no word"),
        (["a", 3], TypeError, "int"),
    ):
        with past_type_checks(), pytest.raises(error, match=words):
            seen.explain(bad)
    with pytest.raises(TypeError, match="list of texts"):
        seen.explain("a dog")


def test_a_tower_without_patches_still_classifies(picture):
    module = tiny_clip(
        attentional_pool="parallel", attn_pooler_heads=2, width=32, head_width=16, embed_dim=32
    )
    module.visual.forward = lambda x: x.mean((2, 3)) @ torch.ones(3, 32)
    lens = clipsight.load(module, device="cpu")
    assert all("attention pools" in reason for reason in lens.card.methods.values())
    assert lens.classify(picture, TEXTS).probabilities.sum() == pytest.approx(1)
    with pytest.raises(Unsupported, match="still work"):
        lens.explain(picture, TEXTS)


def test_public_names_are_there_and_import_is_light():
    assert all(hasattr(clipsight, name) for name in clipsight.__all__)
    assert {"clip", "clip_surgery"} <= set(clipsight.recipes())
    assert clipsight.models()[0] == "clipsight-tiny"
    assert "ViT-B-16" in clipsight.models()
    code = "import sys, clipsight; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'matplotlib')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_uint8_arrays_are_pictures(lens: Lens, picture):
    assert torch.equal(lens.explain(np.asarray(picture), TEXTS).maps, lens.explain(picture, TEXTS).maps)


def test_weights_that_change_are_noticed(picture):
    module = tiny_clip()
    lens = clipsight.load(module, device="cpu")
    before = lens.explain(picture, TEXTS)
    with torch.no_grad():
        module.token_embedding.weight.mul_(1.5)
    after = lens.explain(picture, TEXTS)
    assert not torch.allclose(before.similarity, after.similarity)
    assert before.provenance.fingerprint != after.provenance.fingerprint
    fresh = clipsight.load(module, device="cpu").explain(picture, TEXTS)
    assert torch.equal(fresh.maps, after.maps)
    assert fresh.provenance.fingerprint == after.provenance.fingerprint


def test_scores_that_are_not_finite_are_said(picture):
    module = tiny_clip()
    with torch.no_grad():
        module.visual.conv1.weight[0, 0, 0, 0] = torch.nan
    lens = clipsight.load(module, device="cpu")
    with pytest.warns(ClipsightWarning, match="not finite"):
        ex = lens.explain(picture, TEXTS)
    assert "not finite" in ex.trust[0]
    assert any("not finite" in note for note in ex.provenance.notes)
    with pytest.warns(ClipsightWarning, match="not finite"):
        lens.classify(picture, TEXTS)


def test_a_cut_text_is_in_the_notes_every_time(lens: Lens, picture):
    long = "a dog and " * 60 + "a tree"
    with pytest.warns(ClipsightWarning, match="dropped"):
        first = lens.explain(picture, [long])
    again = lens.explain(picture, [long])
    for ex in (first, again):
        assert any("the end of a text" in note and "a tree" in note for note in ex.provenance.notes)


def test_few_distractors_do_not_switch_presence_off(picture):
    lens = clipsight.load(tiny_clip(), device="cpu")
    lens._engine.card = replace(lens.card, contrast_vocabulary=nouns()[:30])
    ex = lens.explain(picture, ["a dog"], contrast=["tree", "car"])
    assert ex.provenance.contrast_texts == ("tree", "car")
    assert not ex.presence.isnan().any()


def test_a_list_refuses_before_it_encodes(lens: Lens, picture, monkeypatch):
    monkeypatch.setattr(
        ImagePass, "__init__", lambda *_: pytest.fail("encoded before the question was checked")
    )
    with pytest.raises(ValueError, match="unknown"):
        lens.explain([picture] * 3, TEXTS, contrast="background")
    with pytest.raises(ValueError, match="empty"):
        lens.explain([], [])
    with past_type_checks(), pytest.raises(TypeError, match="int"):
        lens.explain(picture, TEXTS, contrast=["a tree", 3])
