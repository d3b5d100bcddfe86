"""Test-time adaptation of AnoCLIP: a small layer trained for a few steps on the patches of one picture.

    A(p) = (1 - r) p + r · Eᵀ tanh(U p/|p| + b),   E the unit features of all prompts (frozen), U and b learned,
    loss = mean over patches of  entropy(P(p)) - ½ (log P_abnormal(p + noise) + log P_normal(p)),

with P the softmax of the raw cosines of A(·) with the two poles. Source: arXiv 2308.15939, hq-deng/AnoVL at 3a70bfd.
The model is not touched: patches come in detached. The released program sets the layer anew for every picture but keeps
the moments of its optimiser, so that a picture's map depends on the pictures before it; here every picture has its own,
unless `carry_optimizer` asks for theirs.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from clipsight.language.states import Poles

Basis = Literal["text", "linear"]


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """How to adapt; the defaults are the paper's but for `steps`, which is 0: no layer at all.

    Attributes:
        steps: of AdamW, 5 in the paper.
        rate: its learning rate.
        noise: standard deviation of what is added to patch features (not L2-normalised ones) to stand for damage.
        residual: r above, the share of the layer's answer.
        basis: "text" as above; "linear" a plain layer, Eᵀ tanh(·) left out, as released for VisA.
        seed: of the first weights and the noise, the same for every picture.
        carry_optimizer: keep AdamW's moments from picture to picture, as released.

    Raises:
        ValueError: negative steps or noise, a rate that is not above 0, a residual outside [0, 1], an unknown basis.
    """

    steps: int = 0
    rate: float | int = 1e-3
    noise: float | int = 0.055
    residual: float | int = 0.5
    basis: Basis = "text"
    seed: int = 0
    carry_optimizer: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if self.steps < 0 or self.noise < 0 or not self.rate > 0 or not 0 <= self.residual <= 1:
            raise ValueError(
                f"adaptation with steps={self.steps}, rate={self.rate}, noise={self.noise}, residual={self.residual} "
                "cannot be run: steps and noise are 0 or more, the rate is above 0, the residual in [0, 1]. The "
                "paper's are steps=5, rate=1e-3, noise=0.055, residual=0.5."
            )
        if self.basis not in ("text", "linear"):
            raise ValueError(f"basis={self.basis!r} is unknown; give 'text' or 'linear'.")


class PatchAdapter:
    """Adapts the patches of each picture in turn, independently unless `carry_optimizer` is on.

    Args:
        poles: text features of both states.
        setting: see `Adaptation`.
    """

    def __init__(self, poles: Poles, setting: Adaptation | None = None) -> None:
        self.setting = setting or Adaptation()
        # Copies made outside inference mode may take part in a graph, whatever mode they were made in.
        with torch.inference_mode(False):
            self._pair, self._prompts = poles.pair.detach().clone(), poles.prompts.detach().clone()
        self._kept: tuple[nn.Parameter, nn.Parameter, torch.optim.Optimizer] | None = None

    def __call__(
        self, patches: Float[Tensor, "B h w E"]
    ) -> tuple[Float[Tensor, "B h w E"], tuple[tuple[float, ...], ...]]:
        """Adapted patch features, float32 and not L2-normalised, and the loss before each step, by picture.

        With no steps the features are given back as they are. Autograd is on inside and off for the result; the
        global random state is neither used nor changed.
        """
        if not self.setting.steps:
            return patches.float(), tuple(() for _ in patches)
        with torch.inference_mode(False), torch.enable_grad():
            done = [self._adapt(one.detach().clone().float()) for one in patches]
        return torch.stack([features for features, _ in done]), tuple(losses for _, losses in done)

    def _adapt(self, patches: Float[Tensor, "h w E"]) -> tuple[Float[Tensor, "h w E"], tuple[float, ...]]:
        random = torch.Generator().manual_seed(self.setting.seed)
        weight, bias, optimizer = self._start(random, patches.device)
        losses = []
        for _ in range(self.setting.steps):
            noise = self.setting.noise * torch.randn(patches.shape, generator=random).to(patches)
            clean, noisy = (self._shares(self._forward(x, weight, bias)) for x in (patches, patches + noise))
            loss = adaptation_loss(clean, noisy)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        return self._forward(patches, weight, bias).detach(), tuple(losses)

    def _start(
        self, random: torch.Generator, device: torch.device
    ) -> tuple[nn.Parameter, nn.Parameter, torch.optim.Optimizer]:
        """First weights as torch's `nn.Linear` draws them, and the optimiser."""
        width = self._pair.shape[1]
        rows = len(self._prompts) if self.setting.basis == "text" else width
        first = [
            (2 * torch.rand(shape, generator=random) - 1) / math.sqrt(width)
            for shape in ((rows, width), (rows,))
        ]
        if self._kept is not None:
            with torch.no_grad():
                for parameter, value in zip(self._kept[:2], first, strict=True):
                    parameter.copy_(value)
            return self._kept
        weight, bias = (nn.Parameter(value.to(device)) for value in first)
        made = weight, bias, torch.optim.AdamW([weight, bias], lr=float(self.setting.rate))
        if self.setting.carry_optimizer:
            self._kept = made
        return made

    def _forward(self, x: Float[Tensor, "h w E"], weight: Tensor, bias: Tensor) -> Float[Tensor, "h w E"]:
        answer = F.linear(F.normalize(x, dim=-1), weight, bias)
        if self.setting.basis == "text":
            answer = torch.tanh(answer) @ self._prompts
        return (1 - self.setting.residual) * x + self.setting.residual * answer

    def _shares(self, x: Float[Tensor, "h w E"]) -> Float[Tensor, "h w 2"]:
        return torch.log_softmax(F.normalize(x, dim=-1) @ self._pair.T, dim=-1)


def adaptation_loss(
    clean: Float[Tensor, "*patches 2"], noisy: Float[Tensor, "*patches 2"]
) -> Float[Tensor, ""]:
    """The loss above, from log shares (normal, abnormal) of patches and of the same patches with noise."""
    entropy = -(clean.exp() * clean).sum(-1)
    return (entropy - (noisy[..., 1] + clean[..., 0]) / 2).mean()
