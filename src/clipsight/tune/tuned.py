"""Which parameters of a model train: all, one tower, the norms, or adapters."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from clipsight.errors import Unsupported
from clipsight.tune.lora import LoraAdapter, LoraPlan, attach
from clipsight.tune.settings import WHICH, Which
from clipsight.tune.tower_of_parameter import require_sides, tower_of_parameter

_NEVER_DECAYED = frozenset(("bias", "logit_scale", "logit_bias", "head_scale"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuned:
    """The parameters that train, and the way back.

    Attributes:
        which: as asked for.
        named: (name, parameter) of all that train; those of adapters are named by their weight.
        adapter: of "lora", else None.
        before: every parameter of the model and whether it asked for gradients.
    """

    which: Which
    named: tuple[tuple[str, nn.Parameter], ...]
    adapter: LoraAdapter | None
    before: tuple[tuple[nn.Parameter, bool], ...]

    @property
    def count(self) -> int:
        """How many numbers train."""
        return sum(parameter.numel() for _, parameter in self.named)

    def restore(self) -> None:
        """Every parameter asks for gradients as it did; adapters that were not merged are taken off."""
        if self.adapter is not None:
            self.adapter.remove()
        for parameter, asked in self.before:
            parameter.requires_grad_(asked)


def choose_parameters(
    module: nn.Module, which: Which = "full", *, logit_scale: bool = True, lora: LoraPlan | None = None
) -> Tuned:
    """Make some parameters of an open_clip model ask for gradients, and no others.

    Args:
        module: the whole model.
        which: "full" both towers; "text", "vision" one; "layernorm" the layer norms of both; "lora" adapters.
        logit_scale: whether the logit scale trains too, and with it the logit bias where there is one.
        lora: the adapters of "lora", None for `LoraPlan()`.

    Returns:
        The parameters, and `restore`, which leaves the model as it was found.

    Raises:
        ValueError: another word, or a plan of adapters without "lora".
        Unsupported: a model of another library, or one without a layer norm or a weight that takes an adapter; nothing
            is changed then.
    """
    if which not in WHICH:
        raise ValueError(f"{which!r} was to be trained; choose one of {', '.join(WHICH)}.")
    if lora is not None and which != "lora":
        raise ValueError(f'a plan of adapters was given for which="{which}"; give which="lora" with it.')
    require_sides(module)
    before = tuple((parameter, parameter.requires_grad) for parameter in module.parameters())
    scales = [(name, one) for name, one in module.named_parameters() if tower_of_parameter(name) == "scale"]
    adapter = None
    if which == "lora":
        adapter = attach(module, lora or LoraPlan())
        named = adapter.named_parameters()
    elif which == "layernorm":
        named = _layer_norms(module)
    else:
        sides = ("text", "vision") if which == "full" else (which,)
        named = [(name, one) for name, one in module.named_parameters() if tower_of_parameter(name) in sides]
    named = [*named, *(scales if logit_scale else ())]
    module.requires_grad_(False)
    for _, parameter in named:
        parameter.requires_grad_(True)
    return Tuned(which=which, named=tuple(named), adapter=adapter, before=before)


def decay_groups(named: Iterable[tuple[str, nn.Parameter]], weight_decay: float) -> list[dict[str, Any]]:
    """Parameters for an optimizer: matrices with weight decay; norms, biases, scales and other vectors without.

    Args:
        named: as `Tuned.named`. weight_decay: of the matrices.

    Returns:
        At most two groups, none of them empty.
    """
    decayed, others = [], []
    for name, parameter in named:
        vector = parameter.ndim < 2 or name.rpartition(".")[2] in _NEVER_DECAYED
        (others if vector else decayed).append(parameter)
    groups = ((decayed, weight_decay), (others, 0.0))
    return [{"params": params, "weight_decay": decay} for params, decay in groups if params]


def _layer_norms(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    found = [
        (f"{path}.{name}", parameter)
        for path, one in module.named_modules()
        if isinstance(one, nn.LayerNorm | nn.RMSNorm) and tower_of_parameter(path) in ("text", "vision")
        for name, parameter in one.named_parameters(recurse=False)
    ]
    if not found:
        raise Unsupported(
            f"the layer norms were to be trained, and this {type(module).__name__} has none; "
            'train which="lora" or one tower instead.'
        )
    return found
