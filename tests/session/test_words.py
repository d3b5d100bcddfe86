"""From a picture and a caption to words: totals kept, the same whichever way it is asked, the model left as found."""

import copy
import dataclasses
import warnings
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from torch.nn import functional as F

import clipsight
from clipsight import ClipsightWarning, Unsupported, WordAttribution
from clipsight.roles.extract import extract_roles
from clipsight.session.lens import Lens
from clipsight.session.word_sanity import CHECK_DRAWS
from clipsight.world import make_scene
from tiny import past_type_checks, tiny_clip

CAPTION = "a red car, left of a hyperparameterized dog"
FOIL = "a blue car, left of a hyperparameterized dog"
NEEDLESS = ("attention", "perturbation", "shapley")


@pytest.fixture(scope="module")
def lens() -> Lens:
    return clipsight.load(tiny_clip(), device="cpu")


@pytest.fixture(scope="module")
def picture():
    return make_scene(1, size=96).image


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    from towers.hf_tiny import save, tiny_hf

    return {
        kind: save(tiny_hf(kind), tmp_path_factory.mktemp(kind)) for kind in ("clip", "siglip", "siglip2")
    }


def total(w: WordAttribution) -> float:
    return sum(one.score for one in (*w.words, *w.marks)) + sum(
        w.kind_score(kind) for kind in ("start", "end", "padding")
    )


@pytest.mark.parametrize("method", clipsight.attributions())
def test_every_method_keeps_its_total_from_tokens_to_words(lens, picture, method):
    options = {"act": "signed"} if method == "gradcam" else {}  # this tower's are all below zero
    w = lens.words(picture, CAPTION, method, **options)
    assert isinstance(w, WordAttribution)
    assert w.method == method
    assert [word.text for word in w.words] == [
        "a",
        "red",
        "car",
        "left",
        "of",
        "a",
        "hyperparameterized",
        "dog",
    ]
    assert [mark.text for mark in w.marks] == [","]
    assert len(w["hyperparameterized"].tokens) > 1
    assert total(w) == pytest.approx(float(w.token_scores.sum()), abs=1e-5)
    assert w.scores.shape == (8,)
    assert w.roles == extract_roles(CAPTION).roles
    assert w.unit
    assert float(w.token_scores.abs().max()) > 0
    assert w.dropped == ""


def test_scores_that_are_all_zero_are_said_to_be(lens, picture):
    w = lens.words(picture, CAPTION, "gradcam")
    assert w.strongest == 0
    assert "Every score is zero" in w.trust[0]
    assert w.top(2)[0].score == 0
    assert w.figure().width == 1440


def test_ids_of_the_methods_are_known_without_a_model():
    assert clipsight.attributions()[:4] == ("attention", "gradcam", "perturbation", "gradient")


def test_the_similarity_is_that_of_the_model(lens, picture):
    x, texts = lens.preprocess(picture), lens.encode_text([CAPTION, FOIL])
    cosines = F.normalize(lens.encode_image(x), dim=-1) @ F.normalize(texts, dim=-1).T
    w = lens.words(picture, CAPTION, against=FOIL)
    assert (w.similarity, *w.against_similarity) == pytest.approx(cosines[0].tolist(), abs=1e-5)
    assert w.against == (FOIL,)


def test_perturbation_is_what_the_similarity_loses_without_the_word(lens, picture):
    without = [
        "red car, left of a hyperparameterized dog",
        "a car, left of a hyperparameterized dog",
        "a red, left of a hyperparameterized dog",
    ]
    cosines = (
        F.normalize(lens.encode_image(lens.preprocess(picture)), dim=-1)
        @ F.normalize(lens.encode_text([CAPTION, *without, "a red car, left of a dog"]), dim=-1).T
    )
    w = lens.words(picture, CAPTION, "perturbation", op="drop")
    drops = (cosines[0, 0] - cosines[0, 1:]).tolist()
    assert [w.words[k].score for k in (0, 1, 2, 6)] == pytest.approx(drops, abs=1e-5)
    tokens = lens.words(picture, CAPTION, "perturbation", op="drop", units="tokens")
    assert tokens["red"].score == pytest.approx(w["red"].score, abs=1e-6)  # one token either way
    assert abs(tokens["hyperparameterized"].score - w["hyperparameterized"].score) > 1e-5


def test_phrases_are_added_up_or_taken_out_whole(lens, picture):
    added = lens.words(picture, CAPTION, "perturbation", spans=["red car", (11, 18)], op="drop")
    assert [one.text for one in added.spans] == ["red car", "left of"]
    assert added.spans[0].score == pytest.approx(added["red"].score + added["car"].score, abs=1e-6)
    whole = lens.words(picture, CAPTION, "perturbation", spans=["red car"], units="spans", op="drop")
    cosines = (
        F.normalize(lens.encode_image(lens.preprocess(picture)), dim=-1)
        @ F.normalize(lens.encode_text([CAPTION, "a, left of a hyperparameterized dog"]), dim=-1).T
    )
    assert whole.spans[0].score == pytest.approx(float(cosines[0, 0] - cosines[0, 1]), abs=1e-5)
    assert whole["dog"].score == pytest.approx(added["dog"].score, abs=1e-6)
    with pytest.raises(ValueError, match="calls of their own"):
        lens.words(picture, CAPTION, "perturbation", spans=["red car", "a red"], units="spans")
    with pytest.raises(ValueError, match="give spans"):
        lens.words(picture, CAPTION, "perturbation", units="spans")


@pytest.mark.parametrize("method", ["perturbation", "gradient", "attention"])
def test_a_list_of_captions_gives_what_each_gives_alone(lens, picture, method):
    captions = [CAPTION, "a dog", "two cats on a mat"]
    seen = lens.see(picture)
    together = seen.words(captions, method)
    for caption, w in zip(captions, together, strict=True):
        alone = lens.words(picture, caption, method)
        torch.testing.assert_close(w.scores, alone.scores, atol=1e-5, rtol=1e-4)
        assert [word.text for word in w.words] == [word.text for word in alone.words]
        assert w.similarity == pytest.approx(alone.similarity, abs=1e-6)


@pytest.mark.parametrize("method", NEEDLESS)
def test_some_methods_need_no_picture(lens, picture, method):
    w = lens.words(None, CAPTION, method)
    assert np.isnan(w.similarity)
    assert w.image is None
    if method == "attention":
        assert torch.equal(w.scores, lens.words(picture, CAPTION, method).scores)
        assert "does not look at the picture" in w.trust[0]
    else:
        assert "text" in w.unit
    assert len(lens.words(None, [CAPTION, "a dog"], method)) == 2
    with pytest.raises(ValueError, match="give one, or leave against out"):
        lens.words(None, CAPTION, method, against=FOIL)


def test_the_others_say_that_they_need_one(lens):
    with pytest.raises(ValueError, match="picture"):
        lens.words(None, CAPTION, "gradient")


def test_against_itself_nothing_decides(lens, picture):
    for method in ("perturbation", "integrated_gradients"):
        w = lens.words(picture, CAPTION, method, against=CAPTION)
        assert w.scores.abs().max() < 1e-5


def test_against_a_foil_the_words_that_differ_are_told(lens, picture):
    w = lens.words(picture, CAPTION, "perturbation", against=FOIL)
    assert [one.text for one in w.against_words[0]] == ["blue"]
    plain, foil = (lens.words(picture, text, "perturbation") for text in (CAPTION, FOIL))
    assert w["red"].score == pytest.approx(plain["red"].score, abs=1e-6)
    assert w["dog"].score == pytest.approx(plain["dog"].score - foil["dog"].score, abs=1e-6)
    assert w.against_words[0][0].score == pytest.approx(-foil["blue"].score, abs=1e-6)
    assert w.provenance.contrast_texts == (FOIL,)
    assert w.unit.endswith("against the foils")


def test_several_foils_are_a_softmax_with_the_models_own_scale(lens, picture):
    w = lens.words(picture, CAPTION, "perturbation", against=[FOIL, "a dog"])
    assert w.settings["scale"] == pytest.approx(lens.logit_scale)
    assert w.unit == "log-probability lost without the word, against the foils"
    plain = lens.words(picture, CAPTION, "perturbation", against=[FOIL, "a dog"], contrast="difference")
    assert plain.settings["scale"] == 1


def test_roles_come_from_whoever_is_asked(lens, picture):
    assert lens.words(picture, CAPTION, roles=None).by_role == {}
    assert lens.words(picture, CAPTION, roles="none").roles == ("",) * 8
    own = extract_roles(CAPTION, "column", spans=[(2, 5, "attribute"), (6, 9, "object")])
    w = lens.words(picture, CAPTION, roles=own)
    assert w.roles[:4] == ("other", "attribute", "object", "other")
    assert w.roles_by.startswith("column")
    with pytest.raises(ValueError, match="not asked about"):
        lens.words(picture, "a dog", roles=own)
    with pytest.raises(ValueError, match="rules"):
        lens.words(picture, "a dog", roles="verbs")


def test_what_the_context_cuts_off_is_said_and_not_scored(lens, picture):
    caption = "a red dog left of a car and " * 12 + "the very last words"
    with pytest.warns(ClipsightWarning, match="its end is not seen"):
        w = lens.words(picture, caption)
    assert w.dropped.endswith("the very last words")
    assert len(w.words) == len(w.roles) == 75
    assert total(w) == pytest.approx(float(w.token_scores.sum()), abs=1e-5)
    assert any("Not seen" in note for note in w.provenance.notes)
    assert "the very last words" in w.to_html()
    with pytest.warns(ClipsightWarning), pytest.raises(ValueError, match="beyond the 77 tokens"):
        lens.words(picture, caption, spans=["very last"])


def test_the_mean_of_a_words_tokens_is_an_option(lens, picture):
    w, mean = (lens.words(picture, CAPTION, "gradient", merge=how) for how in ("sum", "mean"))
    count = len(w["hyperparameterized"].tokens)
    assert mean["hyperparameterized"].score == pytest.approx(w["hyperparameterized"].score / count, rel=1e-5)
    assert mean["dog"].score == w["dog"].score
    assert mean.merge == "mean"


def test_options_are_the_methods_own(lens, picture):
    w = lens.words(picture, CAPTION, layers="all", heads="max")
    assert (w.settings["layers"], w.settings["heads"]) == ("all", "max")
    assert not torch.allclose(w.scores, lens.words(picture, CAPTION).scores)


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        ({"method": "gradcan"}, ValueError, "did you mean 'gradcam'"),
        ({"layer": 3}, TypeError, "'layers'"),
        ({"spans": ["blue"]}, ValueError, "as they stand there"),
        ({"units": "letters"}, ValueError, '"tokens"'),
        ({"against": []}, ValueError, "at least one"),
        ({"against": " "}, ValueError, "no word"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(lens, picture, arguments, error, hint):
    with past_type_checks(), pytest.raises(error, match=hint):
        lens.words(picture, CAPTION, **arguments)
    with past_type_checks(), pytest.raises(TypeError, match="strings"):
        lens.words(picture, [3])


def test_a_check_measures_sanity(lens, picture):
    w = lens.words(picture, CAPTION, "gradient", check=True)
    assert set(w.checks) == {
        "rank correlation with random towers",
        "agreement with perturbation (zero_emb)",
    }
    assert all(-1 <= value <= 1 for value in w.checks.values())
    assert sum(line.startswith("Sanity") for line in w.trust) == 2
    assert f"({CHECK_DRAWS} draws)" in " ".join(w.trust)
    own = lens.words(picture, CAPTION, "perturbation", check=True)
    assert "agreement with perturbation (drop)" in own.checks
    few = lens.words(picture, "a dog", check=True)
    assert np.isnan(few.checks["rank correlation with random towers"])
    assert "too few" in few.trust[-1]


def test_scores_that_ignore_the_weights_are_called_suspicious(lens, picture, monkeypatch):
    """A method that scores words by their place has nothing to say of the model, and the check says so."""
    from clipsight.attribution import attention, registry

    known = dict(registry._ATTRIBUTIONS)
    monkeypatch.setattr(registry, "_ATTRIBUTIONS", known)

    @registry.attribution(
        "by_place", summary="Later is more.", side="text", unit="place", image=False, gradients=False, inside="ids",
        signed=False, linear=False, spans=False, sources=(),
    )  # fmt: skip
    def by_place(question):
        places = torch.arange(question.ids.shape[1]).float()
        return attention.Answer(scores=places.expand(question.ids.shape))

    w = lens.words(picture, CAPTION, "by_place", check=True)
    assert w.checks["rank correlation with random towers"] == pytest.approx(1)
    assert "say little of what the model has learnt" in " ".join(w.trust)


def test_the_model_is_left_as_found(picture):
    module = tiny_clip(seed=4)
    lens = clipsight.load(module, device="cpu")
    before = copy.deepcopy(module.state_dict())

    def marks():
        return (
            [(p.requires_grad, p.grad is None, p._version) for p in module.parameters()],
            [(m.training, len(m._forward_hooks), len(m._backward_hooks)) for m in module.modules()],
        )

    found = marks()
    for method in clipsight.attributions():
        lens.words(picture, CAPTION, method, check=method == "gradient")
    with pytest.raises(ValueError, match="did you mean"):
        lens.words(picture, CAPTION, "atention")
    assert marks() == found
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_it_works_in_inference_mode_and_in_half_precision(lens, picture):
    with torch.inference_mode():
        w = lens.words(picture, CAPTION, "gradient")
    torch.testing.assert_close(
        w.scores, lens.words(picture, CAPTION, "gradient").scores, atol=1e-5, rtol=1e-4
    )
    half = clipsight.load(tiny_clip(), device="cpu", dtype="bfloat16").words(picture, CAPTION, "perturbation")
    assert half.token_scores.dtype == torch.float32
    assert bool(half.token_scores.isfinite().all())


@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2"])
def test_other_tokenizers_and_towers_that_pool_elsewhere(folders, picture, kind):
    lens = clipsight.load(f"hf:{folders[kind]}", device="cpu")
    w = lens.words(picture, "a red dog.", "perturbation")
    assert [word.text for word in w.words] == ["a", "red", "dog"]
    assert w.roles == ("other", "attribute", "object")
    assert total(w) == pytest.approx(float(w.token_scores.sum()), abs=1e-5)
    attention = lens.words(picture, "a red dog.")
    said = " ".join(attention.trust)
    if kind == "clip":
        assert "taken at the end token" in said
        assert attention.start_score > 0
    else:
        assert "padding position" in said
        assert "Every position sees every other" in said
        assert attention.start_score == 0
        assert attention.kind_score("padding") > 0
    assert lens.faithfulness(picture, w).words == 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClipsightWarning)  # cut, so that no padding is left
        full = lens.words(picture, "a red dog and a small car " * 30, "perturbation", check=True)
    assert full.dropped
    assert f"agreement with perturbation ({'drop' if kind == 'clip' else 'mask_token'})" in full.checks


def test_a_model_without_a_tokenizer_is_refused(picture):
    lens = clipsight.load(tiny_clip(text={"vocab_size": 100}), device="cpu")
    with pytest.raises(Unsupported, match="no tokenizer"):
        lens.words(picture, CAPTION)


def test_faithfulness_is_of_the_same_words(lens, picture, folders):
    w = lens.words(picture, CAPTION, "perturbation")
    found = lens.faithfulness(picture, w)
    assert (found.words, found.removal, found.leave_one_out) == (8, "zero_emb", pytest.approx(1))
    assert lens.faithfulness(picture, w, "drop").removal == "drop"
    other = dataclasses.replace(w, words=w.words[1:])
    with pytest.raises(ValueError, match="make it with this model"):
        lens.faithfulness(picture, other)


def test_words_of_a_picture_are_asked_with_one_pass(lens, picture, monkeypatch):
    seen, calls = lens.see(picture), []
    embed = type(lens._engine.vision).embed
    monkeypatch.setattr(type(lens._engine.vision), "embed", lambda *a: calls.append(1) or embed(*a))
    seen.words(CAPTION)
    seen.words([FOIL, "a dog"], "perturbation")
    assert len(calls) == 1


def test_open_clips_own_tokenizer_is_not_asked_to_change(lens, picture):
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    before = tokenizer(["a dog"])
    lens.words(picture, CAPTION)
    assert torch.equal(tokenizer(["a dog"]), before)
