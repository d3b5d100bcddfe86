"""CAE as a loss of a model: attributions written out one caption at a time, and what training on it does."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from clipsight.attribution.attribute import attribute
from clipsight.attribution.passes import Trace, run
from clipsight.errors import Unsupported
from clipsight.towers.open_clip_text import OpenClipText
from clipsight.tune.data.batch import Batch
from clipsight.tune.objectives.cae import Cae, CaeOptions
from clipsight.tune.objectives.objective import Objective
from tiny import past_type_checks
from tune.training import passed, picked, toy_batch, toy_model, toy_trainer, weighted

EPS = 1e-8
VALID = (0, 1, 3, 4, 7)  # rows of the toy batch that have objects and composition
OBJECT, ATTRIBUTE, RELATION = 1, 2, 3

CASES: dict[str, dict[str, Any]] = {
    "ab": {},
    "ab all layers": {"layers": "all"},
    "ab max": {"heads": "max", "layers": "ends"},
    "ab per head": {"heads": "per_head", "layers": "all"},
    "ab rollout": {"rollout": True},
    "ab detached": {"object_side": "detach", "loss": "ratio"},
    "ab split": {"split_rt": True},
    "ab rho": {"rho": 3.0},
    "ab share": {"loss": "share"},
    "ab linear over all": {"loss": "linear", "normalise": "all"},
    "ab margin of raw sums": {"loss": "margin", "margin": 0.05, "normalise": "none", "reduce": "sum"},
    "ab kl": {"loss": "kl"},
    "gcb": {},
    "gcb first block": {"layer": 0, "act": "abs", "loss": "ratio"},
    "gcb elementwise": {"layer": 0, "elementwise": True, "act": "relu", "loss": "ratio"},
    "gcb second order": {"alpha_grad": True, "object_side": "live"},
    "pb": {},
    "pb mask_token": {"pb_op": "mask_token"},
    "pb drop": {"pb_op": "drop"},
    "pb key_block": {"pb_op": "key_block"},
    "pb text": {"pb_score": "text", "act": "relu", "loss": "ratio"},
    "pb live words": {"granularity": "words", "object_side": "live"},
    "pb split": {"split_rt": True, "act": "abs", "loss": "ratio"},
    "gb": {"loss": "ratio"},
    "gb input_abs": {"gb": "input_abs"},
    "gb input_pos": {"gb": "input_pos", "loss": "ratio"},
    "gb fd": {"gb": "fd"},
    "gb fd live": {"gb": "fd", "eta": 0.3, "object_side": "live", "loss": "kl"},
}  # fmt: skip


def options(name: str, **more: Any) -> CaeOptions:
    return CaeOptions(variant=name.split()[0], **{**CASES[name], **more})


def loss_of(module: Any, chosen: CaeOptions, batch: Batch, step: int = 0, **towers: Any) -> Tensor:
    objective = Cae(chosen)
    return objective.loss(passed(module, batch, objective.needs(OpenClipText(module)), step, **towers)).loss


def text_gradients(module: Any, loss: Tensor) -> dict[str, Tensor]:
    named = {name: one for name, one in module.named_parameters() if not name.startswith("visual.")}
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {
        name: torch.zeros_like(one) if slope is None else slope
        for (name, one), slope in zip(named.items(), found, strict=True)
    }


def slow(module: Any, chosen: CaeOptions, batch: Batch) -> Tensor:
    """The sum over captions, each put to the attribution alone, and the formulas written out."""
    view, total = OpenClipText(module), torch.zeros((), dtype=torch.float64)
    for row in range(len(batch)):
        ids, roles = batch.ids[row : row + 1], batch.roles[row].tolist()
        at = {role: [place for place, one in enumerate(roles) if one == role] for role in (0, 1, 2, 3)}
        composition = sorted(at[ATTRIBUTE] + at[RELATION])
        if not composition or not at[OBJECT]:
            continue
        image = module.encode_image(batch.images[row : row + 1]).detach()
        groups = [at[RELATION], at[ATTRIBUTE]] if chosen.split_rt else [composition]
        sheets = [
            sheet.double() for sheet in scores_of(view, chosen, ids, image, [*groups, at[OBJECT]], roles)
        ]
        content = batch.content[row].nonzero()[:, 0].tolist()
        for sheet in sheets:
            parts = [formula(chosen, sheet, group, at[OBJECT], content) for group in groups]
            total = total + sum(parts) / len(parts) / len(sheets)
    return total


def scores_of(
    view: Any, chosen: CaeOptions, ids: Tensor, image: Tensor, groups: list[list[int]], roles: list[int]
) -> list[Tensor]:
    def asked(method: str, **more: Any) -> Tensor:
        return attribute(view, ids, image, method=method, differentiable=True, **more).scores[0]

    if chosen.variant == "ab" and chosen.heads == "per_head":
        layers = range(len(view.blocks))
        trace = Trace(weights=layers)
        run(view.parts(), ids, trace=trace)
        end = int(ids.argmax())
        maps = torch.stack([trace["weights", layer][0] for layer in layers]).mean(0)
        return [maps[head, end] for head in range(len(maps))]
    if chosen.variant == "ab":
        return [asked("attention", layers=chosen.layers, heads=chosen.heads, rollout=chosen.rollout)]
    if chosen.variant == "gcb":
        return [
            asked(
                "gradcam", layer=chosen.layer, elementwise=chosen.elementwise, act=chosen.act or "softplus",
                alpha_grad=chosen.alpha_grad,
            )
        ]  # fmt: skip
    if chosen.variant == "gb" and chosen.gb != "fd":
        return [asked("gradient", kind=chosen.gb)]
    spans = [group for group in groups if group]
    if chosen.granularity == "words":
        spans = [[place] for group in spans for place in group]
    if chosen.variant == "gb":
        lost = asked("gradient", kind="fd", eta=chosen.eta, spans=[spans])
    else:
        lost = asked("perturbation", op=chosen.pb_op, measure=chosen.pb_score, spans=[spans])
    words = torch.tensor([role > 0 for role in roles])
    act = chosen.act or "softplus"
    if act == "softplus":
        width = lost[words].std(correction=0).detach()
        made = torch.log1p(torch.exp(lost / width)) * width
    else:
        made = lost.abs() if act == "abs" else lost.clamp(min=0)
    return [made * words]


def formula(
    chosen: CaeOptions, r: Tensor, composition: list[int], objects: list[int], content: list[int]
) -> Tensor:
    if not composition or not objects:
        return r.sum() * 0
    if chosen.side == "detach":
        r = torch.stack([one.detach() if place in objects else one for place, one in enumerate(r)])
    if chosen.normalise != "none":
        r = r / (
            sum(r[place] for place in (content if chosen.normalise == "content" else range(len(r)))) + EPS
        )
    c, o = (sum(r[place] for place in group) for group in (composition, objects))
    mean_c, mean_o = c / len(composition), o / len(objects)
    if chosen.reduce == "sum":
        mean_c, mean_o = c, o
    if chosen.loss == "parity":
        return (((mean_o + EPS) / (mean_c + EPS)).log() + math.log(chosen.rho)).clamp(min=0)
    if chosen.loss == "ratio":
        return -((mean_c + EPS) / (mean_c + mean_o + EPS)).log()
    if chosen.loss == "share":
        return -(c + EPS).log()
    if chosen.loss == "linear":
        return 1 - c
    if chosen.loss == "margin":
        return (chosen.margin + mean_o - mean_c).clamp(min=0)
    both = composition + objects
    return sum(-math.log(len(both)) - (r[place] / (c + o + EPS) + EPS).log() for place in both) / len(both)


@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient_are_the_attribution_written_out(case):
    module, batch, chosen = toy_model(seed=2), toy_batch(seed=3), options(case)
    made, expected = loss_of(module, chosen, batch), slow(module, chosen, batch)
    assert expected.item() > 0.05
    torch.testing.assert_close(made, expected, atol=2e-4 if chosen.gb == "fd" else 2e-5, rtol=0)
    one, two = text_gradients(module, made), text_gradients(module, expected)
    length = math.sqrt(sum(float(value.square().sum()) for value in two.values()))
    apart = math.sqrt(sum(float((one[name] - two[name]).square().sum()) for name in two))
    assert length > 1e-3
    assert apart < length * (5e-3 if chosen.gb == "fd" else 1e-4)


DIFFERENTIABLE = {
    "ab": {"layers": "all", "heads": "per_head"},
    "ab rollout": {},
    "pb": {"act": "abs", "object_side": "live"},
    "gb": {"object_side": "live"},
    "gb input_abs": {"object_side": "live"},
    "gb fd": {"act": "abs", "object_side": "live"},
    "gcb second order": {"act": "abs", "layer": 0},
}


@pytest.mark.parametrize("case", DIFFERENTIABLE)
def test_the_gradient_is_that_of_finite_differences(case):
    # live, and without the deviation that softplus takes as a number: the loss is a plain function of the weights
    module, batch = toy_model(seed=2), toy_batch(seed=3)
    chosen = options(case, **{"loss": "ratio", **DIFFERENTIABLE[case]})
    slopes = text_gradients(module, loss_of(module, chosen, batch))
    draw = torch.Generator().manual_seed(0)
    named = dict(module.named_parameters())
    along = {name: torch.randn(named[name].shape, generator=draw, dtype=torch.float64) for name in slopes}
    step, values = 1e-6, []
    for sign in (1, -2):
        with torch.no_grad():
            for name, direction in along.items():
                named[name].add_(sign * step * direction)
        values.append(loss_of(module, chosen, batch).item())
    expected = sum(float((slopes[name] * along[name]).sum()) for name in slopes)
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("case", ["ab", "gcb", "pb", "gb", "gb fd", "pb text"])
def test_captions_without_a_group_are_an_exact_zero_and_change_nothing(case):
    module, batch, chosen = toy_model(), toy_batch(), options(case)
    objective = Cae(chosen)
    assert objective.counts(batch).nonzero()[:, 0].tolist() == list(VALID)
    whole, counted = loss_of(module, chosen, batch), loss_of(module, chosen, picked(batch, VALID))
    one, two = text_gradients(module, whole), text_gradients(module, counted)
    # Sums over fewer rows round otherwise. The loss divides by scores of about a thousandth, so of float64's 2e-16 it
    # keeps 1e-12, of its slopes the same share; and a finite difference has 1/η of the error of what it subtracts.
    slack = 1e-12 / (chosen.eta if chosen.gb == "fd" else 1)
    largest = max(float(slope.abs().max()) for slope in two.values())
    torch.testing.assert_close(whole, counted, atol=slack, rtol=0)
    assert all(torch.allclose(one[name], two[name], atol=slack * largest, rtol=0) for name in one)
    none = loss_of(module, chosen, picked(batch, (2, 5, 6)))
    assert none.item() == 0
    assert none.requires_grad
    assert not any(slope.any() for slope in text_gradients(module, none).values())


@pytest.mark.parametrize("case", [*CASES, "word_sample", "shuffled"])
def test_the_order_of_the_batch_does_not_matter(case):
    more = {"word_sample": {"granularity": "word_sample"}, "shuffled": {"shuffled": True}}
    chosen = CaeOptions(variant="pb", **more[case]) if case in more else options(case)
    module, batch = toy_model(), toy_batch(seed=1)
    turned = picked(batch, (4, 0, 6, 7, 2, 1, 5, 3))
    torch.testing.assert_close(
        loss_of(module, chosen, turned), loss_of(module, chosen, batch), atol=1e-11, rtol=0
    )


@pytest.mark.parametrize("variant", ["ab", "gcb", "pb", "gb"])
def test_what_the_log_says_are_the_groups_shares(variant):
    module, batch, chosen = (
        toy_model(),
        toy_batch(),
        CaeOptions(variant=variant, act="abs" if variant == "pb" else None),
    )
    objective = Cae(chosen)
    log = objective.loss(passed(module, batch, objective.needs(OpenClipText(module)))).log
    assert not any(value.requires_grad for value in log.values())
    view, expected, gamma = OpenClipText(module), torch.zeros(3, dtype=torch.float64), 0.0
    for row in VALID:
        roles = batch.roles[row]
        at = [(roles == role).nonzero()[:, 0].tolist() for role in (1, 2, 3)]
        image = module.encode_image(batch.images[row : row + 1]).detach()
        groups = [sorted(at[1] + at[2]), at[0]]
        (r,) = scores_of(view, chosen, batch.ids[row : row + 1], image, groups, roles.tolist())
        p = (r / (r[batch.content[row]].sum() + EPS)).detach().double()
        expected += torch.stack([p[places].mean() if places else p.new_zeros(()) for places in at])
        gamma += float(((p[at[0]].mean() + EPS) / (p[groups[0]].mean() + EPS)).log())
    found = torch.stack([log[f"s_{role}"] for role in ("object", "attribute", "relation")])
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)
    assert log["log_gamma"].item() == pytest.approx(gamma, abs=1e-4)


def test_dead_words_are_counted():
    module, batch = toy_model(), toy_batch()
    chosen = CaeOptions(variant="gcb", act="relu")
    objective = Cae(chosen)
    given = passed(module, batch, objective.needs(OpenClipText(module)))
    shares = []
    for row in VALID:
        image = module.encode_image(batch.images[row : row + 1])
        r = attribute(OpenClipText(module), batch.ids[row : row + 1], image, method="gradcam").scores[0]
        shares.append((r[batch.roles[row] >= ATTRIBUTE] == 0).float().mean())
    assert 0 < sum(shares) < len(shares)
    assert objective.loss(given).log["dead_words"].item() == pytest.approx(float(sum(shares)))


def rounding(module: Any, chosen: CaeOptions, batch: Batch) -> float:
    """How far rounding may move a "ratio" of differences that are taken as they are, or as their size.

    A match, at most 1, is exact to a few units of float64's last place, here 8; the difference of two, divided by η, to
    1/η of that; and the loss is logarithms of group scores, which divide by the score.
    """
    units = 0.0
    for row in range(len(batch)):
        roles = batch.roles[row].tolist()
        at = [[place for place, one in enumerate(roles) if one in which] for which in ((OBJECT,), (2, 3))]
        image = module.encode_image(batch.images[row : row + 1]).detach()
        (r,) = scores_of(OpenClipText(module), chosen, batch.ids[row : row + 1], image, at, roles)
        units += sum(1 / float(r[group].detach().sum()) for group in at)
    return 8 * torch.finfo(torch.float64).eps / (chosen.eta if chosen.variant == "gb" else 1) * units


@pytest.mark.parametrize("variant", ["pb", "gb"])
def test_sampled_tokens_depend_on_seed_step_and_example_alone(variant):
    chosen = CaeOptions(variant=variant, gb="fd", granularity="word_sample", act="abs", loss="ratio")
    module, batch = toy_model(), picked(toy_batch(((3, 2, 2), (2, 2, 2), (3, 1, 3))), (0, 1, 2))
    losses = {
        (seed, step): loss_of(module, replace(chosen, seed=seed), batch, step).item()
        for seed in (0, 1)
        for step in (0, 1, 2)
    }
    assert len(set(losses.values())) == 6
    for (seed, step), value in losses.items():
        one = replace(chosen, seed=seed)
        apart = sum(loss_of(module, one, picked(batch, [row]), step) for row in range(3))
        drawn = replace(batch, roles=Cae(one)._drawn(batch, batch.roles, step))
        slack = rounding(module, one, drawn)
        assert slack < 1e-7
        assert apart.item() == pytest.approx(value, abs=slack)


def test_a_sampled_token_stands_for_its_group():
    module, batch = toy_model(), toy_batch(((3, 0, 2), (2, 2, 0)))
    chosen = CaeOptions(variant="pb", granularity="word_sample", act="abs", loss="ratio")
    found = loss_of(module, chosen, batch, step=5).item()
    possible: list[set[float]] = []
    for row in range(2):
        roles = batch.roles[row].tolist()
        objects = [place for place, role in enumerate(roles) if role == OBJECT]
        others = [place for place, role in enumerate(roles) if role > OBJECT]
        mine = set()
        for o in objects:
            for c in others:
                one = picked(batch, [row])
                kept = torch.zeros_like(one.roles)
                kept[0, o], kept[0, c] = OBJECT, roles[c]
                group = replace(chosen, granularity="group")
                mine.add(loss_of(module, group, replace(one, roles=kept)).item())
        possible.append(mine)
    assert any(found == pytest.approx(a + b, abs=1e-10) for a in possible[0] for b in possible[1])


def test_the_control_deals_the_roles_out_anew():
    module, batch = toy_model(), toy_batch(((2, 1, 1), (2, 2, 1)))
    chosen = CaeOptions(variant="ab", loss="ratio", shuffled=True)
    objective = Cae(chosen)
    assert objective.name == "cae_ab_shuffled"
    for step in range(5):
        dealt = objective._shuffled(batch, step)
        assert torch.equal(dealt.sort(-1).values, batch.roles.sort(-1).values)
        assert not dealt[~batch.content].any()
        assert torch.equal(dealt, objective._shuffled(batch, step))
    losses = {loss_of(module, chosen, batch, step).item() for step in range(5)}
    assert len(losses) > 3


@pytest.mark.parametrize("case", ["pb", "gb", "gcb second order", "ab"])
def test_the_pictures_feature_moves_only_where_that_is_asked_for(case):
    for asked in (False, True):
        module = toy_model()
        loss_of(module, options(case, image_grad=asked, loss="ratio"), toy_batch()).backward()
        visual = [one.grad for name, one in module.named_parameters() if name.startswith("visual.")]
        moved = any(slope is not None and slope.abs().max() > 1e-6 for slope in visual)
        assert moved == (asked and case != "ab")  # attention never looks at the picture
        assert module.logit_scale.grad is None


def rounded(seed: int) -> Any:
    """The toy model, each weight moved at random by up to half a unit of bfloat16's last place."""
    module, draw = toy_model(dtype=torch.float32), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for one in module.parameters():
            one.mul_(1 + 2**-8 * (2 * torch.rand(one.shape, generator=draw) - 1))
    return module


@pytest.mark.parametrize("case", ["ab", "gcb", "pb", "gb", "gb fd"])
def test_under_autocast_losses_are_those_of_full_precision(case):
    module, batch = toy_model(dtype=torch.float32), toy_batch(dtype=torch.float32)
    chosen = options(
        case, loss="ratio", act="abs"
    )  # of softplus, values far below zero are sensitive themselves
    half = loss_of(module, chosen, batch, autocast=lambda: torch.autocast("cpu", torch.bfloat16))
    full = loss_of(module, chosen, batch)
    assert half.dtype == torch.float32
    # What full precision makes of weights rounded to bfloat16's eight digits shows how the loss takes rounding. Besides
    # the weights, autocast rounds what enters and what leaves each product, forwards and backwards: about seven
    # roundings instead of one, √7 times the deviation; three deviations are allowed.
    moved = torch.tensor([loss_of(rounded(seed), chosen, batch).item() - full.item() for seed in range(12)])
    slack = 3 * math.sqrt(7) * moved.square().mean().sqrt().item()
    assert slack < 0.2 * full.item()
    assert half.item() == pytest.approx(full.item(), abs=slack)
    half.backward()
    assert all(one.grad is None or one.grad.isfinite().all() for one in module.parameters())


def test_needs_are_what_the_variant_reads():
    view = OpenClipText(toy_model())
    assert isinstance(Cae(options("ab")), Objective)
    needs = {case: Cae(options(case)).needs(view) for case in CASES}
    assert all(one.roles and not one.foils for one in needs.values())
    assert needs["ab"].trace == {"rows": (1,)}
    assert needs["ab rollout"].trace == {"weights": (0, 1)}
    assert needs["gcb first block"].trace == {"normed": (0,)}
    assert needs["gb"].trace == {"entered": (0,)}
    assert {case for case, one in needs.items() if one.explicit} == {
        "gb", "gb input_abs", "gb input_pos", "gcb second order"
    }  # fmt: skip
    said = Cae(options("pb")).export()
    assert said["variant"] == "pb"
    assert "reconstructed" in said["what"]


def test_what_cannot_be_trained_is_refused():
    with past_type_checks(), pytest.raises(ValueError, match="ab, gcb, pb, gb"):
        CaeOptions(variant="xb")
    with pytest.raises(ValueError, match="per_head"):
        CaeOptions(variant="ab", heads="per_head", rollout=True)

    class Whole(OpenClipText):
        def parts(self):
            raise Unsupported("whole texts alone.")

    for variant in ("ab", "gcb", "pb", "gb"):
        with pytest.raises(Unsupported, match=f"CAE {variant} cannot train"):
            Cae(CaeOptions(variant=variant)).needs(Whole(toy_model()))


EFFECT = {"ab": {"layers": "all"}, "gcb": {}, "pb": {"act": "abs"}, "gb": {}}
WORDS = ((2, 1, 1), (2, 2, 1), (1, 1, 2), (2, 0, 2), (2, 2, 0), (1, 1, 1), (2, 1, 2), (1, 2, 1))


def gamma_after(variant: str, *, shuffled: bool, steps: int) -> list[float]:
    """Mean log S_O / S_C of the true roles, before each step and at the end of a run with that loss alone."""
    module, batch = toy_model(seed=6), toy_batch(WORDS, seed=7)
    chosen = CaeOptions(variant=variant, loss="ratio", object_side="live", **EFFECT[variant])
    watch, seen = Cae(chosen), []

    def look(step: int) -> None:
        given = passed(module, batch, watch.needs(OpenClipText(module)))
        seen.append(watch.loss(given).log["log_gamma"].item() / len(batch))

    trainer = toy_trainer(
        module,
        [weighted(objective=Cae(replace(chosen, shuffled=shuffled)))],
        batches=lambda first: iter([batch] * (steps - first)),
        loop={"steps": steps, "log_every": steps},
        before_step=look,
        lr=1e-4 if variant == "gcb" else 1e-3,
    )
    trainer.run()
    look(steps)
    return seen


@pytest.mark.parametrize("variant", EFFECT)
def test_training_on_it_alone_brings_composition_up_and_the_control_does_not(variant):
    steps = 24
    true = gamma_after(variant, shuffled=False, steps=steps)
    smooth = [sum(true[k : k + 6]) / 6 for k in range(0, steps, 6)]
    assert smooth == sorted(smooth, reverse=True)
    fall = true[0] - true[-1]
    assert fall > 0.2
    control = gamma_after(variant, shuffled=True, steps=steps)
    assert control[0] == true[0]
    assert control[0] - control[-1] < 0.4 * fall
