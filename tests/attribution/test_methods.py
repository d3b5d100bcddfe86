"""What holds for every method: named properties of the reference note, kept graphs, batches, loops, cuts."""

import copy

import pytest
import torch
from torch.nn import functional as F

from attribution.small import FAMILIES, ONE_PIECE, custom, family, picture
from clipsight.attribution import attribute, attribution_ids
from clipsight.attribution.asking import AttributionRunner
from clipsight.attribution.match import Match
from clipsight.attribution.passes import Trace, run
from clipsight.attribution.registry import get_attribution
from clipsight.towers.open_clip_text import OpenClipText

METHODS = attribution_ids()
SETTINGS = [
    *((name, {}) for name in METHODS),
    ("attention", {"layers": "all", "heads": "max"}),
    ("attention", {"layers": "ends", "heads": 1}),
    ("attention", {"rollout": True}),
    ("gradcam", {"layer": 0, "act": "signed", "alpha_grad": True}),
    ("gradcam", {"at": "input", "over": "content", "act": "softplus"}),
    ("gradcam", {"elementwise": True, "act": "abs", "alpha_grad": True}),
    ("perturbation", {"op": "key_block", "relu": True}),
    ("perturbation", {"op": "drop", "measure": "text"}),
    ("perturbation", {"op": "mask_token", "mask_id": "mean", "samples": 2}),
    ("gradient", {"kind": "input"}),
    ("gradient", {"kind": "fd"}),
    ("integrated_gradients", {"baseline": "pad", "steps": 3}),
    ("integrated_gradients", {"baseline": "zero_words", "steps": 3, "rule": "right", "states": 40}),
    ("chefer", {"start_layer": 0}),
    ("legrad", {"rows": "all"}),
    ("grad_eclip", {"heads": "own", "over": "seen", "relu": False}),
    ("grad_eclip", {"version": "script", "loosened": False, "last": 1}),
    ("shapley", {"exact_to": 2, "permutations": 4}),
]
NAMES = [f"{name} {' '.join(map(str, options.values()))}" for name, options in SETTINGS]
settings = pytest.mark.parametrize(("method", "options"), SETTINGS, ids=NAMES)


def cases(*every_setting):
    """Every method on every family; on the named families with every setting. Left out: what `why_not` refuses."""
    chosen = [
        (name, method, options)
        for name in (*FAMILIES, *ONE_PIECE[:2])
        for method, options in SETTINGS
        if (name in every_setting or not options)
        and (name in FAMILIES or get_attribution(method).inside != "blocks")
    ]
    names = [f"{name}: {method} {' '.join(map(str, options.values()))}" for name, method, options in chosen]
    return pytest.mark.parametrize(("name", "method", "options"), chosen, ids=names)


def asked(view, ids, method, options, **more):
    return attribute(view, ids, picture(view), method=method, **options, **more)


@cases("eos", "class token", "both ways, last", ONE_PIECE[0])
def test_a_batch_is_a_loop(name, method, options):
    _, view, ids = family(name)
    whole = asked(view, ids, method, options)
    assert whole.scores.dtype == torch.float32
    assert whole.scores.isfinite().all()
    assert not whole.scores.requires_grad
    assert whole.scores.abs().max() > 0
    loop = torch.cat([asked(view, row[None], method, options).scores for row in ids])
    close = {"atol": 1e-4 if options.get("kind") == "fd" else 5e-6, "rtol": 1e-3}  # rounding, divided by eta
    torch.testing.assert_close(whole.scores, loop, **close)
    few = asked(view, ids, method, options, batch=2)
    torch.testing.assert_close(few.scores, whole.scores, **close)
    for key, values in whole.extras.items():
        torch.testing.assert_close(few.extras[key], values, **close)
    with torch.no_grad():
        expected = F.cosine_similarity(view.encode(ids), picture(view)[None], dim=-1)
    torch.testing.assert_close(whole.similarity, expected, atol=1e-5, rtol=1e-4)


@settings
def test_what_is_behind_the_end_token_changes_nothing(method, options):
    """Property (b)."""
    for name in ("eos", "transformers CLIP"):
        _, view, ids = family(name)
        before = asked(view, ids, method, options)
        noise = torch.where(before.padding, 4, ids)
        after = asked(view, noise, method, options)
        shorter = asked(view, ids[:, : int(before.end.int().argmax(-1).max()) + 1], method, options)
        if method == "grad_eclip" and options.get("over") != "seen" and options.get("loosened", True):
            # As published, λ runs from the least to the greatest cosine of all keys, those of the padding too.
            assert not torch.equal(before.scores, after.scores)
            continue
        torch.testing.assert_close(after.scores, before.scores, atol=2e-6, rtol=1e-4)
        width = shorter.scores.shape[1]
        torch.testing.assert_close(shorter.scores, before.scores[:, :width], atol=2e-6, rtol=1e-4)
        assert not before.scores[:, width:].any()


@cases("eos", "class token", "transformers SigLIP", ONE_PIECE[0])
def test_a_kept_graph_has_the_same_values_and_finite_gradients(name, method, options):
    module, view, ids = family(name)
    plain = asked(view, ids[:3], method, options)
    live = asked(view, ids[:3], method, options, differentiable=True)
    torch.testing.assert_close(live.scores.detach(), plain.scores, atol=5e-6, rtol=1e-3)
    loss = (live.scores * torch.linspace(0.5, 1.5, ids.shape[1])).square().sum()
    parameters = [p for p in module.parameters() if p.requires_grad]
    slopes = [g for g in torch.autograd.grad(loss, parameters, allow_unused=True) if g is not None]
    assert all(slope.isfinite().all() for slope in slopes)
    assert max(slope.abs().max() for slope in slopes) > 0
    assert all(p.grad is None for p in module.parameters())


def two_blocks():
    """Two blocks of width 16 in float64, as the reference note asks."""
    model = custom(width=16, heads=2, layers=2).double()
    return model, OpenClipText(model), torch.tensor([[48, 9, 11, 13, 49, *[0] * 7]])


def scores_in_double(view, ids, method, options):
    """The function alone, without the float32 of results."""
    chosen = get_attribution(method)
    image = F.normalize(picture(view).double(), dim=0)[None]
    seen = {}

    def spy(question, **given):
        seen["scores"] = chosen.function(question, **given).scores
        return chosen.function(question, **given)

    import dataclasses

    asker = AttributionRunner(
        view=view, parts=view.parts(), method=dataclasses.replace(chosen, function=spy),
        options=chosen.checked(options), live=True, batch=64,
    )  # fmt: skip
    asker.ask(ids, Match(image=image))
    return seen["scores"]


SECOND_ORDER = [
    ("gradient", {"kind": "norm"}),
    ("gradient", {"kind": "input"}),
    ("gradcam", {"act": "signed", "alpha_grad": True}),
    ("gradcam", {"act": "signed", "layer": 0, "elementwise": True, "alpha_grad": True}),
    ("chefer", {"start_layer": 0}),
    ("legrad", {}),
    ("grad_eclip", {"heads": "own", "relu": False}),
    ("integrated_gradients", {"steps": 2}),
    ("attention", {"layers": "all"}),
    ("attention", {"rollout": True}),
    ("perturbation", {}),
    ("perturbation", {"op": "key_block"}),
    ("shapley", {}),
]


@pytest.mark.parametrize(("method", "options"), SECOND_ORDER, ids=str)
def test_gradients_of_scores_equal_finite_differences(method, options):
    """Property (d): along a random direction in the space of all weights of the text tower."""
    model, view, ids = two_blocks()
    weights = [p for name, p in model.text.named_parameters() if "token_embedding" not in name]
    draw = torch.Generator().manual_seed(4)
    along = [torch.randn(p.shape, generator=draw, dtype=p.dtype) for p in weights]
    mix = torch.randn(ids.shape[1], generator=draw, dtype=torch.float64)

    def total():
        scores = scores_in_double(view, ids, method, options)
        return (scores[0] * mix[: scores.shape[1]]).sum()

    slopes = torch.autograd.grad(total(), weights, allow_unused=True)
    made = sum((g * a).sum() for g, a in zip(slopes, along, strict=True) if g is not None)
    values, step = [], 1e-5
    for sign in (1, -1):
        with torch.no_grad():
            for p, a in zip(weights, along, strict=True):
                p.add_(sign * step * a)
        values.append(total().detach())
        with torch.no_grad():
            for p, a in zip(weights, along, strict=True):
                p.sub_(sign * step * a)
    expected = (values[0] - values[1]) / (2 * step)
    assert expected.abs() > 1e-4
    torch.testing.assert_close(made.detach(), expected, atol=1e-6, rtol=2e-4)


@pytest.mark.parametrize("kind", ["norm", "input"])
def test_gradcheck_of_gradients(kind):
    """Property (d) as torch checks it: every entry of the Jacobian of r, here to a norm that all tokens pass."""
    model, view, ids = two_blocks()
    norm, ids = (
        model.text.transformer.resblocks[0].ln_1,
        ids[:, :5],
    )  # behind the end a norm of 0 has no derivative
    gain = norm.weight.detach().clone().requires_grad_()
    del norm.weight

    def scores(weight):
        norm.weight = weight
        return scores_in_double(view, ids, "gradient", {"kind": kind})

    assert torch.autograd.gradcheck(scores, (gain,))


@torch.no_grad()
def test_attention_rows_sum_to_one_up_to_the_end_token():
    """Property (a)."""
    for name in ("clip", "eos", "custom blocks", "transformers CLIP"):
        _, view, ids = family(name)
        for options in ({}, {"layers": "all"}, {"rollout": True}, {"heads": 0}):
            found = attribute(view, ids, method="attention", **options)
            torch.testing.assert_close(found.scores.sum(-1), torch.ones(len(ids)))
            assert (found.scores[~found.padding] > 0).all()
            assert not found.scores[found.padding].any()
            assert found.similarity.isnan().all()


@torch.no_grad()
def test_attention_of_a_class_token_leaves_out_its_own_share():
    _, view, ids = family("class token")
    found = attribute(view, ids, method="attention")
    assert (found.scores.sum(-1) <= 1 + 1e-6).all()
    full = torch.cat([ids[:1, :4], torch.full((1, 7), 9), torch.tensor([[49]])], -1)
    assert attribute(view, full, method="attention").scores.sum() < 0.99


def test_no_word_has_a_gradient_behind_the_last_block():
    """Property (c), the trap of Grad-CAM: and `gradcam` does not offer that place."""
    _, view, ids = family("clip")
    parts, last = view.parts(), len(view.blocks) - 1
    trace = Trace(left=(last,))
    feature = run(parts, ids, trace=trace)
    z = trace["left", last]
    (slope,) = torch.autograd.grad(
        Match(image=F.normalize(picture(view), dim=0)[None].expand(4, -1))(feature).sum(), z
    )
    at = parts.pooled(ids)
    off = torch.ones_like(ids, dtype=torch.bool).scatter(1, at[:, None], False)
    assert not slope[off].any()
    assert slope[torch.arange(len(ids)), at].abs().max() > 0
    with pytest.raises(ValueError, match="upstream of its token mixing"):
        asked(view, ids, "gradcam", {"at": "output"})
    elementwise = asked(view, ids, "gradcam", {"elementwise": True, "act": "signed"})
    assert elementwise.scores[elementwise.content].abs().min() > 0


def test_grad_cam_with_constant_weights_has_the_gradient_of_a_product():
    """Property (e)."""
    module, view, ids = family("clip")
    weights = [p for name, p in module.named_parameters() if "resblocks.0" in name and "visual" not in name]
    live = asked(view, ids, "gradcam", {"act": "signed"}, differentiable=True)
    made = torch.autograd.grad(live.scores.sum(), weights)
    parts, last = view.parts(), len(view.blocks) - 1
    trace = Trace(normed=(last,))
    feature = run(parts, ids, trace=trace)
    z = trace["normed", last]
    s = F.cosine_similarity(feature, picture(view)[None], dim=-1).sum()
    (slope,) = torch.autograd.grad(s, z, retain_graph=True)
    seen = (torch.arange(77) <= ids.argmax(-1, keepdim=True))[..., None]
    alpha = ((slope * seen).sum(1) / seen.sum(1)).detach()
    words = seen[:, : z.shape[1]]
    expected = torch.autograd.grad(((z * alpha[:, None]).sum(-1) * words[..., 0]).sum(), weights)
    for ours, theirs in zip(made, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-3)


def test_a_finite_difference_is_gradient_times_input_and_at_one_is_removal():
    module, view, ids = family("clip")
    double = OpenClipText(copy.deepcopy(module).double())
    small = asked(double, ids, "gradient", {"kind": "fd", "eta": 1e-4}).scores
    product = asked(double, ids, "gradient", {"kind": "input"})
    torch.testing.assert_close(
        small * product.content, product.scores * product.content, atol=1e-5, rtol=1e-3
    )
    whole = asked(view, ids, "gradient", {"kind": "fd", "eta": 1.0}).scores
    parts, text, place = view.parts(), 1, 3
    entered = parts.entered(parts.tokens(ids[[text]]))
    entered[0, place] = 0
    with torch.no_grad():
        without = F.cosine_similarity(run(parts, ids[[text]], entered=entered), picture(view)[None])
        with_it = F.cosine_similarity(view.encode(ids[[text]]), picture(view)[None])
    torch.testing.assert_close(whole[text, place], (with_it - without)[0], atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize("baseline", ["zero", "zero_words", "pad"])
def test_integrated_gradients_are_complete(baseline):
    for name in ("clip", "class token", "transformers SigLIP", ONE_PIECE[0]):
        _, view, ids = family(name)
        found = asked(view, ids, "integrated_gradients", {"baseline": baseline, "steps": 24})
        total = found.scores.sum(-1) + found.extras["baseline"]
        assert found.extras["residual"].abs().max() < 2e-3
        torch.testing.assert_close(total - found.extras["residual"], found.similarity, atol=1e-5, rtol=1e-4)
        if baseline != "zero":
            assert not found.scores[~found.content].any()


def test_integrated_gradients_from_embeddings_of_ones_own():
    _, view, ids = family("clip")
    zeros = torch.zeros(77, view.width)
    given = asked(view, ids, "integrated_gradients", {"baseline": zeros})
    assert given.settings["baseline"] == "given"
    torch.testing.assert_close(given.scores, asked(view, ids, "integrated_gradients", {}).scores)


def test_shapley_values_of_few_words_and_drawn_ones():
    _, view, ids = family("eos")
    exact = asked(view, ids, "shapley", {})
    assert exact.extras["efficiency"].abs().max() < 1e-6
    assert not exact.extras["error"].any()
    drawn = asked(view, ids, "shapley", {"exact_to": 0, "permutations": 400, "seed": 3})
    assert drawn.extras["efficiency"].abs().max() < 1e-5
    error, off = drawn.extras["error"], (drawn.extras["values"] - exact.extras["values"]).abs()
    assert (off <= 5 * error + 1e-5).all()
    again = asked(view, ids, "shapley", {"exact_to": 0, "permutations": 400, "seed": 3})
    assert torch.equal(again.scores, drawn.scores)
    text = asked(view, ids, "shapley", {"measure": "text"})
    values = torch.zeros(len(ids)).index_add(0, text.extras["owner"], text.extras["values"])
    assert (values > 0).all()


def test_groups_of_words():
    _, view, ids = family("eos")
    spans = [[[1, 3]], [[1]], [[1, 2], [3, 4, 5]], [[2], [4]], []]
    found = asked(view, ids, "perturbation", {}, spans=spans)
    assert found.extras["owner"].tolist() == [0, 1, 2, 2, 3, 3]
    torch.testing.assert_close(found.scores[2, 3:6], found.extras["drops"][3].expand(3) / 3)
    whole = asked(view, ids, "perturbation", {"divide": False}, spans=spans)
    torch.testing.assert_close(whole.scores[0, 1], found.extras["drops"][0])
    players = asked(view, ids, "shapley", {}, spans=spans)
    assert players.extras["owner"].tolist() == found.extras["owner"].tolist()
    torch.testing.assert_close(players.extras["values"][:2], found.extras["drops"][:2], atol=1e-6, rtol=1e-4)
    slopes = asked(view, ids, "gradient", {"kind": "fd"}, spans=spans)
    assert (slopes.scores != 0).sum() == sum(len(group) for groups in spans for group in groups)


def test_samples_are_drawn_by_seed_and_text():
    _, view, ids = family("eos")
    found = asked(view, ids, "perturbation", {"samples": 2})
    assert found.extras["drawn"].sum(-1).tolist() == [2, 1, 2, 2, 2]
    every = asked(view, ids, "perturbation", {})
    taken = found.extras["drawn"]
    torch.testing.assert_close(found.scores[taken], every.scores[taken], atol=1e-6, rtol=1e-4)
    other = asked(view, ids, "perturbation", {"samples": 2, "seed": 1})
    assert not torch.equal(other.extras["drawn"], taken)


def test_scale_and_dot_product():
    _, view, ids = family("clip")
    for method, options in (
        ("perturbation", {}),
        ("gradient", {"kind": "norm"}),
        ("gradcam", {}),
        ("legrad", {}),
    ):
        one, hundred = (asked(view, ids, method, options, scale=scale).scores for scale in (1.0, 100.0))
        torch.testing.assert_close(100 * one, hundred, atol=1e-4, rtol=1e-3)
    dot = asked(view, ids, "perturbation", {}, similarity="dot")
    unit = F.normalize(picture(view), dim=0)
    with torch.no_grad():
        whole = view.encode(ids) @ unit
        zeroed = asked(view, ids, "shapley", {}, similarity="dot", spans=[[[1]]] * 4)
    assert dot.scores.abs().max() > 0
    torch.testing.assert_close(zeroed.scores[:, 1], dot.scores[:, 1], atol=1e-6, rtol=1e-4)
    assert whole.shape == (4,)


@settings
def test_the_model_is_left_as_found(method, options):
    module, view, ids = family("clip")
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    flags = [
        (part.training, dict(part._forward_hooks), dict(part._backward_hooks)) for part in module.modules()
    ]
    asked(view, ids, method, options, differentiable=True)
    with pytest.raises(ValueError, match="infinite"):
        attribute(view, ids, torch.full((view.embed_dim,), torch.nan), method="gradient")
    assert flags == [
        (part.training, dict(part._forward_hooks), dict(part._backward_hooks)) for part in module.modules()
    ]
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in module.parameters())


@settings
def test_half_precision(method, options):
    module, _, ids = family("clip")
    half = OpenClipText(copy.deepcopy(module).bfloat16())
    found = asked(half, ids, method, options)
    assert found.scores.dtype == torch.float32
    assert found.scores.isfinite().all()
    if options.get("kind") == "fd":
        assert any("rounding" in note for note in found.notes)
        return
    full = asked(family("clip")[1], ids, method, options)
    words = full.content
    agreement = torch.corrcoef(torch.stack([found.scores[words], full.scores[words]]))[0, 1]
    assert agreement > 0.9
