"""Staying near the model that was: the formula, the teacher's weights, and runs that go on exactly."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tests.tiny import pixels, tiny_clip
from torch import nn
from torch.nn import functional as F

from clipsight.towers.open_clip_text import OpenClipText
from clipsight.tune.data.batch import Batch
from clipsight.tune.encode import TrainingTowers, patch_dropout
from clipsight.tune.lora import LoraPlan
from clipsight.tune.objectives.distill import Distill, squared_distance
from clipsight.tune.objectives.objective import Needs, Objective, Stage, StepInputs
from clipsight.tune.tuned import Which, choose_parameters

IDS = torch.tensor([[49406, 320, 736, 1125, 49407] + [0] * 72, [49406, 1125, 49407] + [0] * 74])


def batch(seed: int = 1) -> Batch:
    return Batch(
        images=pixels(2, seed=seed),
        ids=IDS,
        content=(IDS > 0) & (IDS < 49406),
        roles=torch.zeros_like(IDS, dtype=torch.uint8),
        index=torch.arange(2),
    )


def stage(module: nn.Module) -> Stage:
    return Stage(module=module, text=OpenClipText(module), device=torch.device("cpu"), seed=0, steps=9)


def passed(module: nn.Module, given: Batch | None = None) -> StepInputs:
    given = given or batch()
    features, question = TrainingTowers(module, OpenClipText(module), Needs())(given)
    assert question is not None
    return StepInputs(module=module, batch=given, features=features, question=question, step=0)


def shaken(module: nn.Module, seed: int = 4, by: float = 0.05) -> None:
    """Move every parameter that trains."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(by * torch.randn(parameter.shape, generator=generator))


def effective(module: nn.Module) -> dict[str, torch.Tensor]:
    """Every weight as it is read, adapters included, without adapters of its own."""
    found = {}
    for path, one in module.named_modules():
        if "parametrizations" in path.split("."):
            continue
        names = (*one._parameters, *getattr(one, "parametrizations", ()))
        values = {name: getattr(one, name) for name in names}
        found |= {
            f"{path}.{name}".lstrip("."): v.detach().clone() for name, v in values.items() if v is not None
        }
    return found


def test_it_is_an_objective():
    objective = Distill()
    assert isinstance(objective, Objective)
    assert objective.scope == "samples"
    assert objective.needs(OpenClipText(tiny_clip())) == Needs()
    assert objective.counts(batch()).all()
    assert objective.export()["momentum"] == 0.9996


def test_the_distance_is_that_of_unit_features():
    one = torch.tensor([[3.0, 0.0], [0.0, 2.0], [1.0, 1.0]], dtype=torch.float64)
    two = torch.tensor([[7.0, 0.0], [5.0, 0.0], [-4.0, -4.0]], dtype=torch.float64)
    torch.testing.assert_close(squared_distance(one, two), torch.tensor([0.0, 2.0, 4.0], dtype=torch.float64))
    one.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: squared_distance(x, two.flip(0)), (one,))


def test_at_the_start_the_distance_is_nothing():
    module = tiny_clip()
    objective = Distill(momentum=1.0)
    objective.setup(stage(module))
    terms = objective.loss(passed(module))
    assert terms.loss.item() == pytest.approx(0, abs=1e-9)
    assert terms.loss.requires_grad


@pytest.mark.parametrize("momentum", [1.0, 0.9])
def test_the_loss_is_the_formula(momentum: float):
    module, before = tiny_clip(), tiny_clip()
    objective = Distill(momentum=momentum)
    objective.setup(stage(module))
    shaken(module)
    given = passed(module)
    with torch.no_grad():
        unit = [F.normalize(one, dim=-1) for one in (module.encode_image(pixels()), module.encode_text(IDS))]
        was = [F.normalize(one, dim=-1) for one in (before.encode_image(pixels()), before.encode_text(IDS))]
        image, text = (((one - two) ** 2).sum() for one, two in zip(unit, was, strict=True))
    terms = objective.loss(given)
    assert image > 0.01
    torch.testing.assert_close(terms.loss.detach(), image + text, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(terms.log["image"], image, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(terms.log["text"], text, rtol=1e-4, atol=1e-6)
    only = Distill(momentum=momentum, image=False)
    only.setup(stage(before))
    assert set(only.loss(passed(module)).log) == {"text"}


@pytest.mark.parametrize("which", ["full", "text", "lora"])
def test_the_teacher_follows_the_weights_as_they_are_read(which: Which):
    module = tiny_clip().double()
    tuned = choose_parameters(module, which)
    shaken(module)
    start = effective(module)
    objective = Distill(momentum=0.75)
    objective.setup(stage(module))
    shaken(module, 5)
    middle = effective(module)
    objective.after_step(0)
    shaken(module, 6)
    end = effective(module)
    objective.after_step(1)
    found = effective(objective._teacher)
    changed = {name for name in start if not torch.equal(start[name], end[name])}
    assert changed
    for name, value in found.items():
        if name in changed:
            follows = 0.75 * (0.75 * start[name] + 0.25 * middle[name]) + 0.25 * end[name]
            torch.testing.assert_close(value, follows)
        else:
            assert torch.equal(value, start[name])
    assert not any(one.requires_grad for one in objective._teacher.parameters())
    tuned.restore()


def test_a_frozen_teacher_stays():
    module = tiny_clip()
    objective = Distill(momentum=1.0)
    objective.setup(stage(module))
    before = copy.deepcopy(objective._teacher.state_dict())
    shaken(module)
    objective.after_step(0)
    assert all(torch.equal(value, before[name]) for name, value in objective._teacher.state_dict().items())


def test_running_statistics_follow_too():
    module = tiny_clip(layers=[1, 1, 1, 1], width=8, head_width=8)
    objective = Distill(momentum=0.5)
    objective.setup(stage(module))
    module.train()
    with torch.no_grad():
        module.encode_image(pixels())
    objective.after_step(0)
    assert torch.equal(objective._teacher.visual.bn1.running_mean, module.visual.bn1.running_mean)
    assert module.visual.bn1.running_mean.any()
    assert "visual.bn1.running_mean" in objective.state_dict()


def test_the_teacher_sees_whole_pictures():
    module = tiny_clip()
    objective = Distill(momentum=1.0, text=False)
    objective.setup(stage(module))
    module.train()
    with patch_dropout(module, 0.75):
        torch.manual_seed(0)
        dropped = passed(module)
    assert objective.loss(dropped).loss > 1e-3
    assert objective.loss(passed(module)).loss < 1e-6
    with patch_dropout(module, 0.75):
        late = Distill(momentum=1.0, text=False)
        late.setup(stage(module))
        assert late._teacher.visual.patch_dropout.training is False
    assert late.loss(passed(module)).loss < 1e-6


@pytest.mark.parametrize("which", ["full", "lora"])
def test_gradients_reach_the_model_and_not_the_teacher(which: Which):
    module = tiny_clip()
    tuned = choose_parameters(module, which, lora=LoraPlan(rank=2) if which == "lora" else None)
    objective = Distill()
    objective.setup(stage(module))
    shaken(module)
    objective.loss(passed(module)).loss.backward()
    towers = [one for name, one in tuned.named if name != "logit_scale"]
    assert all(one.grad is not None and one.grad.any() for one in towers)
    assert all(one.grad is None for one in objective._teacher.parameters())


def training(
    module: nn.Module, objective: Distill, named: list, steps: range, state: Any = None
) -> Iterator[Any]:
    """Steps of a small run; yields the states after each."""
    optimizer = torch.optim.AdamW(named, lr=1e-3)
    if state is not None:
        optimizer.load_state_dict(copy.deepcopy(state))
    for step in steps:
        torch.manual_seed(step)
        given = passed(module, batch(seed=step))
        logits = F.normalize(given.features.image, dim=-1) @ F.normalize(given.features.text, dim=-1).T
        loss = F.cross_entropy(10 * logits, torch.arange(2)) + objective.loss(given).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        objective.after_step(step)
        yield copy.deepcopy((module.state_dict(), objective.state_dict(), optimizer.state_dict()))


@pytest.mark.parametrize("which", ["text", "lora"])
@pytest.mark.parametrize("momentum", [0.9, 1.0])
def test_a_run_that_goes_on_is_the_run_that_was_not_stopped(which: Which, momentum: float):
    def fresh() -> tuple[nn.Module, list, Distill]:
        module = tiny_clip()
        tuned = choose_parameters(module, which)
        return module, [one for _, one in tuned.named], Distill(momentum=momentum)

    module, named, objective = fresh()
    objective.setup(stage(module))
    states = list(training(module, objective, named, range(4)))
    for loaded_first in (
        True,
        False,
    ):  # the teacher starts as the model does, whichever weights that has by then
        again, named, objective = fresh()
        if loaded_first:
            again.load_state_dict(states[1][0])
        objective.setup(stage(again))
        again.load_state_dict(states[1][0])
        objective.load_state_dict(states[1][1])
        *_, last = training(again, objective, named, range(2, 4), states[1][2])
        for one, two in zip(last[:2], states[3][:2], strict=True):
            assert one.keys() == two.keys()
            assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_nearer_teacher_holds_the_model_nearer():
    apart = {}
    for weight in (0.0, 30.0):
        module = tiny_clip()
        before = copy.deepcopy(module)
        tuned = choose_parameters(module, "text")
        objective = Distill(momentum=1.0)
        objective.setup(stage(module))
        optimizer = torch.optim.SGD([one for _, one in tuned.named], lr=2e-3)
        for _ in range(12):
            given = passed(module)
            logits = F.normalize(given.features.image, dim=-1) @ F.normalize(given.features.text, dim=-1).T
            loss = (
                F.cross_entropy(10 * logits, torch.arange(2).flip(0))
                + weight * objective.loss(given).loss / 2
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            apart[weight] = squared_distance(module.encode_text(IDS), before.encode_text(IDS)).sum().item()
    assert apart[30.0] < apart[0.0] / 3


def test_states_of_other_runs_are_refused():
    module, other = tiny_clip(), tiny_clip()
    choose_parameters(other, "text")
    one, two = Distill(), Distill()
    one.setup(stage(module))
    two.setup(stage(other))
    with pytest.raises(ValueError, match="choice of parameters"):
        two.load_state_dict(one.state_dict())


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="freezes"):
        Distill(momentum=1.5)
    with pytest.raises(ValueError, match="at least one"):
        Distill(image=False, text=False)
