"""Test-time adaptation against its formulas, and that pictures, modes and the model leave no traces."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from clipsight.language.states import Poles
from clipsight.tasks.adapt import Adaptation, PatchAdapter, adaptation_loss


def poles(width: int = 8, prompts: int = 10, seed: int = 0) -> Poles:
    random = torch.Generator().manual_seed(seed)
    draw = [F.normalize(torch.randn(n, width, generator=random), dim=-1) for n in (2, prompts)]
    return Poles(pair=draw[0], prompts=draw[1])


def patches(batch: int = 1, h: int = 3, w: int = 5, width: int = 8, seed: int = 1) -> torch.Tensor:
    return torch.randn(batch, h, w, width, generator=torch.Generator().manual_seed(seed))


def by_hand(tokens: torch.Tensor, two: Poles, setting: Adaptation) -> tuple[torch.Tensor, list[float]]:
    """The same with torch's own layer, the loss written out patch by patch."""
    random = torch.Generator().manual_seed(setting.seed)
    width = tokens.shape[-1]
    layer = nn.Linear(width, len(two.prompts) if setting.basis == "text" else width)
    with torch.no_grad():
        for parameter in (layer.weight, layer.bias):
            parameter.copy_((torch.rand(parameter.shape, generator=random) * 2 - 1) / width**0.5)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=setting.rate)

    def adapted(x: torch.Tensor) -> torch.Tensor:
        answer = layer(x / x.norm(dim=-1, keepdim=True))
        if setting.basis == "text":
            answer = answer.tanh() @ two.prompts
        return (1 - setting.residual) * x + setting.residual * answer

    losses = []
    for _ in range(setting.steps):
        noisy = tokens + setting.noise * torch.randn(tokens.shape, generator=random)
        total = torch.zeros(())
        for one, other in zip(adapted(tokens).flatten(0, 1), adapted(noisy).flatten(0, 1), strict=True):
            p = (F.normalize(one, dim=-1) @ two.pair.T).softmax(-1)
            q = (F.normalize(other, dim=-1) @ two.pair.T).softmax(-1)
            total = total - (p * p.log()).sum() - 0.5 * (q[1].log() + p[0].log())
        loss = total / tokens[..., 0].numel()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return adapted(tokens).detach(), losses


@pytest.mark.parametrize(
    "setting", [Adaptation(steps=3), Adaptation(steps=2, basis="linear", residual=0.3, noise=0.5, seed=4)]
)
def test_the_steps_are_the_definition(setting):
    two, tokens = poles(), patches()
    ours, (losses,) = PatchAdapter(two, setting)(tokens)
    theirs, wanted = by_hand(tokens[0], two, setting)
    torch.testing.assert_close(ours[0], theirs, atol=1e-5, rtol=1e-4)
    assert losses == pytest.approx(wanted, abs=1e-5)


def test_the_loss_falls():
    _, (losses,) = PatchAdapter(poles(), Adaptation(steps=30, rate=0.02, noise=0.2))(0.1 * patches())
    assert losses[-1] < losses[0] - 0.03


def test_no_steps_are_no_layer():
    tokens = patches(2)
    adapted, losses = PatchAdapter(poles())(tokens)
    assert torch.equal(adapted, tokens)
    assert losses == ((), ())


def test_a_batch_is_a_loop_and_order_does_not_matter():
    tokens, setting = patches(3), Adaptation(steps=3)
    whole, _ = PatchAdapter(poles(), setting)(tokens)
    adapter = PatchAdapter(poles(), setting)
    for index in (2, 0, 1):
        assert torch.equal(adapter(tokens[index : index + 1])[0][0], whole[index])


def test_the_released_carry_over_depends_on_the_pictures_before():
    tokens, setting = patches(2), Adaptation(steps=3, carry_optimizer=True)
    fresh = PatchAdapter(poles(), Adaptation(steps=3))
    carried = PatchAdapter(poles(), setting)
    assert torch.equal(carried(tokens[:1])[0], fresh(tokens[:1])[0])
    assert not torch.allclose(carried(tokens[1:])[0], fresh(tokens[1:])[0], atol=1e-5)


def test_seeds_decide_and_the_global_random_state_is_left_alone():
    tokens, state = patches(), torch.get_rng_state()
    one, again, other = (PatchAdapter(poles(), Adaptation(steps=2, seed=s))(tokens)[0] for s in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_runs_where_autograd_is_off_and_leaves_the_poles_alone(mode):
    tokens, setting = patches(), Adaptation(steps=2)
    wanted, _ = PatchAdapter(poles(), setting)(tokens)
    with mode():
        two, copied = poles(), patches()
        before = copy.deepcopy(two.prompts), copy.deepcopy(two.pair)
        adapted, _ = PatchAdapter(two, setting)(copied)
        assert torch.equal(two.prompts, before[0])
        assert torch.equal(two.pair, before[1])
    assert torch.equal(adapted, wanted)
    assert not adapted.requires_grad
    assert torch.equal(copied, tokens)


def test_a_zero_patch_gives_numbers():
    adapted, (losses,) = PatchAdapter(poles(), Adaptation(steps=2))(torch.zeros(1, 2, 3, 8))
    assert adapted.isfinite().all()
    assert all(loss == loss for loss in losses)


def test_the_loss_of_undecided_patches_is_known():
    half = torch.full((4, 2), 0.5).log()
    assert float(adaptation_loss(half, half)) == pytest.approx(2 * 0.6931472, abs=1e-6)


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"rate": 0.0}, {"noise": -0.1}, {"residual": 1.5}])
def test_what_cannot_be_run_is_said(wrong):
    with pytest.raises(ValueError, match="steps=5"):
        Adaptation(**wrong)
