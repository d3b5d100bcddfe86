"""Stay near what the model was: features of a frozen copy of it, or of one that follows slowly.

L = ‖f(I) − f̄(I)‖² + ‖f(T) − f̄(T)‖² on unit features, summed over the joint space and averaged over the batch, with
teacher weights θ̄ ← m θ̄ + (1 − m) θ after each step; m = 1 is frozen. DeGLA (ACM MM 2025, arXiv 2504.16801) takes
m = 0.9996 and weighs its term by 0.005.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from clipsight.attribution.match import exact
from clipsight.towers.view import TextView
from clipsight.tune.lora import absorb
from clipsight.tune.objectives.objective import BaseObjective, Stage, StepInputs, Terms


def squared_distance(feature: Float[Tensor, "B E"], teacher: Float[Tensor, "B E"]) -> Float[Tensor, " B"]:
    """‖f − f̄‖² of unit features, from 0 to 4, at least in float32."""
    apart = F.normalize(exact(feature), dim=-1) - F.normalize(exact(teacher), dim=-1)
    return apart.square().sum(-1)


class Distill(BaseObjective):
    """The distance to a teacher that starts as the model itself.

    The teacher runs in eval mode, without patch dropout, and takes the weights with their adapters; it stays in memory
    beside the model, and its share of the trained weights is part of what a run keeps.

    Args:
        momentum: m, 1 for a frozen teacher.
        image, text: whether the distance of these features counts.

    Raises:
        ValueError: a momentum outside [0, 1], or nothing that counts.
    """

    name: str = "distill"

    def __init__(self, *, momentum: float = 0.9996, image: bool = True, text: bool = True) -> None:
        if not 0 <= momentum <= 1 or not (image or text):
            raise ValueError(
                f"momentum={momentum}, image={image}, text={text}: momentum is from 0 to 1 (1 freezes the teacher, "
                "0.9996 is published), and at least one of image and text counts."
            )
        self.momentum, self.image, self.text = momentum, image, text
        self._teacher: Any = None
        self._view: TextView | None = None
        self._module: nn.Module | None = None
        self._weights: dict[str, Tensor] = {}
        self._buffers: dict[str, Tensor] = {}

    def setup(self, stage: Stage) -> None:
        """Copy the model; the copy of its view looks at the copy."""
        self._module, self._autocast = stage.module, stage.autocast
        self._teacher, self._view = copy.deepcopy((stage.module, stage.text))
        absorb(self._teacher)
        self._teacher.eval().requires_grad_(False)
        self._weights = {}
        for path, tensor, owner in _trained(self._module):
            twin: Any = self._teacher.get_submodule(path)
            held = (
                twin.parametrizations[tensor].original if _adapters(owner, tensor) else getattr(twin, tensor)
            )
            self._weights[f"{path}.{tensor}".lstrip(".")] = held
        kept = self._teacher.state_dict(keep_vars=True)
        self._buffers = {name: one for name, one in self._teacher.named_buffers() if name in kept}

    def loss(self, given: StepInputs) -> Terms:
        """The sum over the samples."""
        assert self._view is not None  # the trainer calls setup first
        features, total, log = given.features, [], {}
        if self.image:
            with torch.no_grad(), self._autocast():
                before = self._teacher.encode_image(given.batch.images)
            total.append(squared_distance(features.image, before).sum())
            log["image"] = total[-1].detach()
        if self.text:
            with torch.no_grad(), self._autocast():
                before = self._view.encode(given.batch.ids)
            total.append(squared_distance(features.text, before).sum())
            log["text"] = total[-1].detach()
        return Terms(loss=torch.stack(total).sum(), log=log)

    def after_step(self, step: int) -> None:
        """Let the teacher follow; a frozen one stays."""
        if self.momentum == 1 or self._module is None:
            return
        with torch.no_grad():
            for path, tensor, owner in _trained(self._module):
                self._weights[f"{path}.{tensor}".lstrip(".")].lerp_(getattr(owner, tensor), 1 - self.momentum)
            for name, buffer in self._module.named_buffers():
                if name in self._buffers:
                    self._buffers[name].copy_(buffer)

    def state_dict(self) -> dict[str, Any]:
        """The teacher's weights where the model trains, and its running statistics."""
        return {name: value.clone() for name, value in (self._weights | self._buffers).items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take them back; after `setup`.

        Raises:
            ValueError: weights of another model, or of a run that trained other parameters.
        """
        held = self._weights | self._buffers
        if wrong := sorted(held.keys() ^ state.keys()):
            raise ValueError(
                f"the teacher of this run keeps {len(held)} tensors and {len(state)} were given; the first name that "
                f"only one of them has is {wrong[0]}. Go on with the model and the choice of parameters of that run."
            )
        with torch.no_grad():
            for name, value in held.items():
                value.copy_(state[name])

    def export(self) -> Mapping[str, Any]:
        """Its settings."""
        return {"momentum": self.momentum, "image": self.image, "text": self.text}


def _adapters(owner: nn.Module, tensor: str) -> list[nn.Parameter]:
    """The parameters that a parametrized weight is made of, [] for an ordinary one."""
    made: Any = getattr(owner, "parametrizations", {})
    return list(made[tensor].parameters()) if tensor in made else []


def _trained(module: nn.Module) -> Iterator[tuple[str, str, nn.Module]]:
    """(path of the module, name, module) of every weight that trains, by itself or through an adapter."""
    for path, owner in module.named_modules():
        if "parametrizations" in path.split("."):
            continue
        for name, parameter in owner.named_parameters(recurse=False):
            if parameter.requires_grad:
                yield path, name, owner
        for name in getattr(owner, "parametrizations", ()):
            if any(parameter.requires_grad for parameter in _adapters(owner, name)):
                yield path, name, owner
