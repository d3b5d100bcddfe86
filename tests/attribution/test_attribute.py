"""The front door: what is refused and how, notes, contrasts, and calls from anywhere."""

import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import clipsight
from attribution.small import FAMILIES, ONE_PIECE, custom, family, picture
from clipsight.attribution import attribute, attribution_ids, get_attribution, reading, registry, why_not
from clipsight.attribution.registry import attribution
from clipsight.attribution.variants import Removal
from clipsight.errors import Unsupported
from clipsight.towers.open_clip_text import OpenClipText
from clipsight.world import make_scene
from tiny import past_type_checks


@pytest.fixture
def clip():
    _, view, ids = family("clip")
    return view, ids, picture(view)


def test_the_register():
    ids = attribution_ids()
    assert ids[:4] == ("attention", "gradcam", "perturbation", "gradient")
    assert set(ids[4:]) == {"integrated_gradients", "chefer", "exact", "grad_eclip", "legrad", "shapley"}
    for name in ids:
        facts = get_attribution(name)
        assert facts.sources[0].title
        assert facts.summary.endswith(".")
        assert facts.summary.startswith("Reconstructed") == (name in ids[:4])
        assert "question" not in facts.options
    with pytest.raises(ValueError, match="did you mean 'gradient'"):
        get_attribution("gradiant")
    with pytest.raises(ValueError, match="registered already"):
        attribution("shapley")(get_attribution("shapley").function)


def test_a_new_attribution_is_one_file(tmp_path, monkeypatch):
    """The file says everything: its scores have a unit and a trust line without anybody else knowing it."""
    (tmp_path / "toy_places.py").write_text(
        '''"""Later is more."""
import torch
from clipsight.attribution.question import Answer
from clipsight.attribution import registry
from clipsight.attribution.registry import attribution

@attribution(
    "places", summary="Where a token stands.", side="text", unit=lambda made: "place" + "s" * made.options["more"],
    image=False, gradients=False, inside="ids", signed=False, linear=False, spans=False, sources=(),
    trust="Places say nothing of the model.",
)
def places(question, *, more=0):
    return Answer(scores=torch.arange(question.ids.shape[1]).float().expand(question.ids.shape))
'''
    )
    monkeypatch.setattr(registry, "_ATTRIBUTIONS", dict(registry._ATTRIBUTIONS))
    monkeypatch.setattr("clipsight.attribution.__path__", [*clipsight.attribution.__path__, str(tmp_path)])
    registry.find("clipsight.attribution", [str(tmp_path)])
    sys.modules.pop("clipsight.attribution.toy_places")
    assert "places" in clipsight.attributions()
    lens = clipsight.load("clipsight-tiny", device="cpu")
    w = lens.words(make_scene(0).image, "a red dog", "places", more=1)
    assert w.unit == "places"
    assert w.trust[0] == "Places say nothing of the model."
    with pytest.raises(TypeError, match="unit"):
        attribution("unitless", summary="No.", side="text", sources=())(lambda question: None)


def test_every_unit_and_trust_line_is_said_by_the_method_itself(clip):
    view, ids, image = clip
    for name in attribution_ids():
        made = attribute(view, ids, image, method=name)
        facts = get_attribution(name)
        assert facts.unit_of(made)
        assert bool(facts.trust_of(made)) == (name == "attention" or not facts.is_signed(made.settings))
    units = {
        kind: attribute(view, ids, image, method="gradient", kind=kind) for kind in ("norm", "input", "fd")
    }
    facts = get_attribution("gradient")
    assert [facts.unit_of(made) for made in units.values()] == [
        "length of the gradient",
        "gradient × input",
        "slope of the cosine",
    ]
    assert [facts.takes_groups({"kind": kind}) for kind in units] == [False, False, True]


def test_which_tower_can_be_asked_what():
    for name in FAMILIES:
        assert not any(why_not(method, family(name)[1]) for method in attribution_ids())
    view, ids = family(ONE_PIECE[0])[1:]
    able = {method for method in attribution_ids() if not why_not(method, view)}
    assert able == {"exact", "perturbation", "gradient", "integrated_gradients", "shapley"}
    with pytest.raises(Unsupported, match="Nearest: gradient, integrated_gradients, perturbation or shapley"):
        attribute(view, ids, picture(view), method="chefer")


class Foreign(nn.Module):
    """A text tower of nobody's making: ids in, features out."""

    def __init__(self):
        super().__init__()
        self.text = nn.EmbeddingBag(50, 8)
        self.context_length = 6

    def encode_text(self, ids, normalize=False):
        return self.text(ids)


def test_a_tower_that_cannot_be_opened_can_still_lose_words():
    view = OpenClipText(Foreign())
    view.embed_dim = 8
    ids, image = torch.tensor([[3, 4, 5, 0, 0, 0]]), torch.randn(8)
    with pytest.raises(Unsupported, match="its text side is a EmbeddingBag"):
        attribute(view, ids, image, method="perturbation")
    with pytest.raises(Unsupported, match='perturbation or shapley with op="mask_token"'):
        attribute(view, ids, image, method="gradient")
    for op, other in (("mask_token", [3, 0, 5, 0, 0, 0]), ("drop", [3, 5, 0, 0, 0, 0])):
        found = attribute(view, ids, image, method="perturbation", op=op)
        with torch.no_grad():
            before, after = view.encode(ids), view.encode(torch.tensor([other]))
        expected = F.cosine_similarity(before, image[None]) - F.cosine_similarity(after, image[None])
        torch.testing.assert_close(found.scores[:, 1], expected)
        assert found.content.tolist() == [[True] * 3 + [False] * 3]


def test_what_attention_means_is_said():
    said = {name: reading(family(name)[1]) for name in FAMILIES}
    assert said["clip"].startswith("The feature is taken at the end token")
    assert "class token" in said["class token"]
    assert "padding position" in said["transformers SigLIP"]
    assert "Every position sees every other" in said["both ways, first, padding hidden"]
    assert "first token alone" in reading(OpenClipText(custom(pool_type="first")))
    assert "one piece" in reading(family(ONE_PIECE[0])[1])
    view, ids = family("transformers SigLIP")[1:]
    assert said["transformers SigLIP"] in attribute(view, ids, method="attention").notes


def test_single_head_grad_eclip_says_what_it_explains(clip):
    view, ids, image = clip
    published = attribute(view, ids, image, method="grad_eclip", scale=100.0)
    assert any("one head" in note for note in published.notes)
    assert (published.extras["explained"] - 100 * published.similarity).abs().max() > 1e-3
    own = attribute(view, ids, image, method="grad_eclip", heads="own")
    assert not any("one head" in note for note in own.notes)
    torch.testing.assert_close(own.extras["explained"], own.similarity, atol=1e-6, rtol=1e-4)


def test_settings_are_plain_and_whole(clip):
    view, ids, image = clip
    found = attribute(view, ids, image, method="gradcam", layer=0)
    assert found.method == "gradcam"
    assert found.settings["layer"] == 0
    assert found.settings["act"] == "relu"
    assert found.settings["similarity"] == "cosine"
    assert found.settings["spans"] == "tokens"
    assert attribute(view, ids, image, method="shapley").settings["measure"] == "similarity"
    assert attribute(view, ids, method="perturbation").settings["measure"] == "text"


@pytest.mark.parametrize("method", attribution_ids())
def test_calls_from_no_grad_and_inference_mode(clip, method):
    view, ids, image = clip
    expected = attribute(view, ids, image, method=method).scores
    with torch.no_grad():
        assert torch.equal(attribute(view, ids, image, method=method).scores, expected)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        made = attribute(view, ids.clone(), 1.0 * image, method=method)
        torch.testing.assert_close(made.scores, expected, atol=1e-6, rtol=1e-5)
        assert torch.is_inference_mode_enabled()


@pytest.mark.parametrize("method", ["attention", "perturbation", "gradient", "gradcam"])
def test_autocast(clip, method):
    view, ids, image = clip
    with torch.autocast("cpu", torch.bfloat16):
        found = attribute(view, ids, image, method=method, differentiable=True)
    assert found.scores.dtype == torch.float32
    plain = attribute(view, ids, image, method=method)
    words = plain.content
    together = torch.stack([found.scores.detach()[words], plain.scores[words]])
    assert torch.corrcoef(together)[0, 1] > 0.95


def test_pictures_one_for_all_or_one_each(clip):
    view, ids, _ = clip
    images = torch.stack([picture(view, seed) for seed in range(4)])
    each = attribute(view, ids, images, method="perturbation").scores
    for text in range(4):
        alone = attribute(view, ids[[text]], images[text], method="perturbation").scores[0]
        torch.testing.assert_close(each[text], alone, atol=1e-6, rtol=1e-4)
    live = images.clone().requires_grad_()
    frozen = attribute(view, ids, live, method="perturbation", differentiable=True)
    assert torch.autograd.grad(frozen.scores.sum(), live, allow_unused=True) == (None,)
    moving = attribute(view, ids, live, method="perturbation", differentiable=True, image_grad=True)
    assert torch.autograd.grad(moving.scores.square().sum(), live)[0].abs().max() > 0


def test_content_told_by_the_tokenizer():
    view, ids = family("transformers SigLIP")[1:]
    guessed = attribute(view, ids, picture(view), method="perturbation")
    content = torch.zeros_like(ids, dtype=torch.bool)
    content[:, 1:2] = True
    told = attribute(view, ids, picture(view), method="perturbation", content=content)
    assert torch.equal(told.content, content)
    assert told.start[:, 0].all()
    assert told.end[:, 2].all()
    torch.testing.assert_close(told.scores[:, 1], guessed.scores[:, 1], atol=1e-6, rtol=1e-4)
    assert not told.scores[:, 2:].any()


def test_without_a_picture(clip):
    view, ids, _ = clip
    text = attribute(view, ids, method="perturbation")
    assert text.similarity.isnan().all()
    assert (text.scores[text.content] > 0).all()
    with torch.no_grad():
        shorter = ids.clone()
        shorter[1, 3] = 7
        expected = 1 - F.cosine_similarity(view.encode(ids[[1]]), view.encode(shorter[[1]]))
    made = attribute(view, ids, method="perturbation", op="mask_token", mask_id=7, measure="text")
    torch.testing.assert_close(made.scores[1, 3], expected[0], atol=1e-6, rtol=1e-3)
    for method in ("gradient", "gradcam", "chefer", "legrad", "grad_eclip", "integrated_gradients"):
        with pytest.raises(ValueError, match="give image_features"):
            attribute(view, ids, method=method)
    with pytest.raises(ValueError, match="a contrast asks"):
        attribute(view, ids, method="perturbation", against=ids[:1])


def test_contrast_is_the_attribution_of_the_difference():
    """For removal: taking a shared word out of both captions changes s(text) - s(foil) by the word's score."""
    view = OpenClipText(custom())
    text, foil = [48, 9, 11, 13, 15, 49], [48, 9, 12, 13, 49, 0]
    ids, foils = (torch.tensor([[*row, *[0] * 6]]) for row in (text, foil))
    image = picture(view)
    found = attribute(view, ids, image, method="perturbation", op="drop", against=foils)
    assert found.settings["contrast"] == "difference"

    def difference(one, other):
        with torch.no_grad():
            pair = [view.encode(torch.tensor([[*row, *[0] * (12 - len(row))]])) for row in (one, other)]
        return F.cosine_similarity(pair[0], image[None]) - F.cosine_similarity(pair[1], image[None])

    whole = difference(text, foil)
    torch.testing.assert_close(found.extras["contrast"], whole, atol=1e-6, rtol=1e-4)
    for token in (9, 11, 13, 15):
        left = [[t for t in row if t != token] for row in (text, foil)]
        torch.testing.assert_close(
            found.scores[0, text.index(token)], (whole - difference(*left))[0], atol=1e-6, rtol=1e-4
        )
    alone = found.extras["foil_scores"][0, 0]
    assert alone.nonzero().flatten().tolist() == [2]
    torch.testing.assert_close(alone[2], (whole - difference(text, [48, 9, 13, 49]))[0], atol=1e-6, rtol=1e-4)


def test_contrast_of_integrated_gradients_is_complete(clip):
    view, ids, image = clip
    found = attribute(view, ids, image, method="integrated_gradients", baseline="pad", against=ids[[1]])
    same = attribute(view, ids, image, method="integrated_gradients", baseline="pad")
    total = found.scores.sum(-1) + found.extras["foil_scores"].sum((1, 2))
    expected = (same.similarity - same.extras["baseline"]) - (same.similarity - same.extras["baseline"])[1]
    torch.testing.assert_close(total, expected, atol=1e-4, rtol=1e-3)
    assert found.scores[1].abs().max() < 1e-6


def test_contrast_with_several_candidates(clip):
    view, ids, image = clip
    found = attribute(view, ids[:2], image, method="perturbation", against=ids[2:], scale=100.0)
    assert found.settings["contrast"] == "log_softmax"
    with torch.no_grad():
        s = 100 * F.cosine_similarity(view.encode(ids), image[None])
    p = torch.stack([s[[0, 2, 3]], s[[1, 2, 3]]]).softmax(-1)
    torch.testing.assert_close(found.extras["contrast"], p[:, 0].log(), atol=1e-4, rtol=1e-4)
    plain = attribute(view, ids, image, method="perturbation", scale=100.0).scores
    red = (ids[1] == ids[1, 6]).nonzero()[0]  # a word that neither candidate has
    torch.testing.assert_close(found.scores[1, red], (1 - p[1, 0]) * plain[1, red], atol=1e-4, rtol=1e-3)
    mean = attribute(view, ids[:2], image, method="perturbation", against=ids[2:], contrast="difference")
    torch.testing.assert_close(100 * mean.scores[1, red], plain[1, red], atol=1e-4, rtol=1e-3)


def test_foils_given_as_features_shift_and_stretch(clip):
    view, ids, image = clip
    with torch.no_grad():
        foils = view.encode(ids[2:])
    plain = attribute(view, ids, image, method="gradient", kind="input", scale=10.0)
    one = attribute(view, ids, image, method="gradient", kind="input", against=foils[:1], scale=10.0)
    torch.testing.assert_close(one.scores, plain.scores)
    assert any("their words cannot answer" in note for note in one.notes)
    several = attribute(view, ids, image, method="gradient", kind="input", against=foils, scale=10.0)
    s = 10 * plain.similarity
    p = torch.stack([s, s[2].expand(4), s[3].expand(4)], -1).softmax(-1)[:, :1]
    torch.testing.assert_close(several.scores, (1 - p) * plain.scores, atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(several.extras["contrast"], p[:, 0].log(), atol=1e-4, rtol=1e-4)


def test_contrast_keeps_its_graph_and_says_when_it_is_rough(clip):
    view, ids, image = clip
    live = attribute(view, ids, image, method="gradcam", against=ids[[1]], differentiable=True)
    assert live.scores.requires_grad
    assert any("not linear" in note for note in live.notes)
    exact = attribute(view, ids, image, method="perturbation", against=ids[[1]])
    assert not any("not linear" in note for note in exact.notes)


def test_contrast_of_spans():
    view = OpenClipText(custom())
    ids, foils = (
        torch.tensor([[*row, *[0] * 6]]) for row in ([48, 9, 11, 13, 15, 49], [48, 9, 12, 13, 15, 49])
    )
    given = {"method": "perturbation", "against": foils, "spans": [[[1, 2], [3, 4]]]}
    found = attribute(view, ids, picture(view), **given, against_spans=[[[[1, 2], [3, 4]]]])
    mine = attribute(view, ids, picture(view), method="perturbation", spans=given["spans"]).scores
    theirs = attribute(view, foils, picture(view), method="perturbation", spans=given["spans"]).scores
    torch.testing.assert_close(found.scores[0, 3:5], (mine - theirs)[0, 3:5])
    torch.testing.assert_close(found.scores[0, 2], mine[0, 2])
    with pytest.raises(ValueError, match="go together"):
        attribute(view, ids, picture(view), **given)
    with pytest.raises(ValueError, match="against_spans were given for"):
        attribute(view, ids, picture(view), **given, against_spans=[[]])


def test_a_text_without_words(clip):
    view, _, image = clip
    ids = torch.tensor([[49406, 49407, *[0] * 75], [49406, 320, 49407, *[0] * 74]])
    for method in attribution_ids():
        found = attribute(view, ids, image, method=method)
        assert found.scores.isfinite().all()
        assert not found.content[0].any()


def test_what_is_refused(clip):
    view, ids, image = clip
    with past_type_checks():
        for error, message, given in (
            (ValueError, "no attribution is called 'lime'", {"method": "lime"}),
            (TypeError, "no option 'layer'; did you mean 'layers'", {"method": "attention", "layer": 1}),
            (ValueError, "attribution 'gradient' asks", {"method": "gradient", "image_features": None}),
            (ValueError, r"shape \(2, 32\); with 4 texts", {"image_features": torch.ones(2, 32)}),
            (ValueError, "NaN or infinite", {"image_features": torch.full((32,), torch.inf)}),
            (TypeError, "ids are integers", {"ids": torch.ones(2, 3)}),
            (ValueError, "no texts", {"ids": ids[:0]}),
            (ValueError, "batch is 0", {"batch": 0}),
            (ValueError, 'similarity is .*"dot"', {"similarity": "euclid"}),
            (ValueError, 'contrast is .*"log_softmax"', {"contrast": "ratio", "against": ids[:1]}),
            (ValueError, r"against has shape \(77,\)", {"against": ids[0]}),
            (ValueError, "spans were given for 1 texts", {"spans": [[[1]]]}),
            (ValueError, "text 0 has spans at .0., where no word is", {"spans": [[[0]], [], [], []]}),
            (ValueError, "share a position", {"spans": [[[1], [1]], [], [], []]}),
            (ValueError, "without a position", {"spans": [[[]], [], [], []]}),
            (ValueError, "samples is 0", {"samples": 0}),
            (ValueError, "measure is", {"measure": "both"}),
            (ValueError, "needs a picture", {"measure": "similarity", "image_features": None}),
            (ValueError, 'op is .*"key_block"', {"op": "erase"}),
            (ValueError, "heads is 7", {"method": "attention", "heads": 7}),
            (ValueError, "layers is", {"method": "attention", "layers": "first"}),
            (ValueError, "act is", {"method": "gradcam", "act": "gelu"}),
            (ValueError, "over is", {"method": "gradcam", "over": "words"}),
            (ValueError, "kind is", {"method": "gradient", "kind": "l1"}),
            (ValueError, "eta is 0", {"method": "gradient", "kind": "fd", "eta": 0}),
            (ValueError, "baseline is", {"method": "integrated_gradients", "baseline": "mean"}),
            (
                ValueError,
                "the baseline has shape",
                {"method": "integrated_gradients", "baseline": torch.ones(3)},
            ),
            (ValueError, "rule is", {"method": "integrated_gradients", "rule": "simpson"}),
            (ValueError, "steps is 0", {"method": "integrated_gradients", "steps": 0}),
            (ValueError, "rows is", {"method": "legrad", "rows": "first"}),
            (ValueError, "version is", {"method": "grad_eclip", "version": "paper"}),
            (ValueError, "last is 0", {"method": "grad_eclip", "last": 0}),
            (ValueError, "permutations is 0", {"method": "shapley", "exact_to": 0, "permutations": 0}),
        ):
            call = {"ids": ids, "image_features": image, "method": "perturbation", **given}
            with pytest.raises(error, match=message):
                attribute(view, **call)
        with pytest.raises(ValueError, match="mask_id"):
            Removal(op="mask_token", mask_id="pad")  # pyright: ignore
