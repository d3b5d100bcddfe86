"""LoRA: small trained changes of frozen weights, seen by everything that reads the weights.

W becomes W + (α/r) B A, with A (r, in) drawn and B (out, r) zero at the start (Hu et al., ICLR 2022, arXiv 2106.09685).
Attributions read the weights of a block instead of calling its attention, so the change is made where a weight is read
(`torch.nn.utils.parametrize`), never in a forward pass. Queries, keys and values that lie in one matrix share one A, as
in peft. The sum is made in at least float32, also under autocast: what is merged at the end is what was trained.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.utils import parametrize

from clipsight.errors import Unsupported
from clipsight.tune.tower_of_parameter import require_sides, tower_of_parameter

Target = Literal["q", "k", "v", "out", "mlp"]
TARGETS: tuple[Target, ...] = ("q", "k", "v", "out", "mlp")
_IN_BLOCK = r"(?:^|\.)(?:resblocks|blocks)\.\d+\."
_JOINT = re.compile(_IN_BLOCK + r"attn\.(?:in_proj_weight|qkv\.weight)$")
_SINGLE = re.compile(_IN_BLOCK + r"attn\.([qkv])_proj\.weight$")
_OUT = re.compile(_IN_BLOCK + r"attn\.(?:out_proj|proj)\.weight$")
_MLP = re.compile(_IN_BLOCK + r"mlp\.(?:c_fc|c_proj|fc1|fc1_g|fc1_x|fc2)\.weight$")


@dataclass(frozen=True, kw_only=True)
class LoraPlan:
    """Which weights get an adapter, and of what size.

    Attributes:
        rank: r. alpha: α, None for r, so that the factor α/r is 1.
        targets: of the blocks' queries, keys, values, output projection and feed-forward network. Without q and k no
            attention changes, and a loss on attention has nothing to train.
        towers: "text", "vision" or both.
        seed: of the A.

    Raises:
        ValueError: a rank below 1, an unknown target or tower, or none.
    """

    rank: int = 4
    alpha: float | None = None
    targets: tuple[Target, ...] = TARGETS
    towers: tuple[Literal["text", "vision"], ...] = ("text", "vision")
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"a LoRA of rank {self.rank} was asked for; ranks start at 1, and 4 is usual.")
        for what, given, known in (
            ("targets", self.targets, TARGETS),
            ("towers", self.towers, ("text", "vision")),
        ):
            if not given or not set(given) <= set(known):
                raise ValueError(f"LoRA {what} are {given!r}; name some of {', '.join(known)}.")

    @property
    def factor(self) -> float:
        """α/r."""
        return 1.0 if self.alpha is None else self.alpha / self.rank


class LowRank(nn.Module):
    """The parametrization of one weight.

    Args:
        weight: the weight, for shape, number type and device.
        thirds: of a matrix of queries, keys and values: which of the three change, such as "qv"; "" for the whole.
        rank, factor: r and α/r. generator: what A is drawn with.
    """

    def __init__(
        self, weight: Tensor, thirds: str, rank: int, factor: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.thirds, self.factor = thirds, factor
        dtype = torch.promote_types(weight.dtype, torch.float32)
        bound = columns**-0.5  # of torch's own linear layers, as LoRA's authors and peft draw it
        drawn = torch.empty(rank, columns, dtype=dtype).uniform_(-bound, bound, generator=generator)
        self.lora_A = nn.Parameter(drawn.to(weight.device))
        height = rows // 3 * len(thirds) if thirds else rows
        self.lora_B = nn.Parameter(torch.zeros(height, rank, dtype=dtype, device=weight.device))

    def whole_b(self) -> Float[Tensor, "out r"]:
        """B with rows of zeros for thirds that do not change."""
        if not self.thirds:
            return self.lora_B
        pieces = dict(zip(self.thirds, self.lora_B.chunk(len(self.thirds)), strict=True))
        blank = torch.zeros_like(next(iter(pieces.values())))
        return torch.cat([pieces.get(letter, blank) for letter in "qkv"])

    def forward(self, weight: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
        """The weight with its change."""
        with torch.autocast(weight.device.type, enabled=False):
            change = self.factor * (self.whole_b() @ self.lora_A)
            return (weight.to(change.dtype) + change).to(weight.dtype)


@dataclass(frozen=True, eq=False)
class _Place:
    """One adapted weight: path of its module, its name there, its adapter, the order of the module's parameters."""

    path: str
    owner: nn.Module
    tensor: str
    low_rank: LowRank
    order: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the weight in the model without adapters."""
        return f"{self.path}.{self.tensor}"

    @property
    def target(self) -> str:
        """The module that peft wraps: of torch's attention the whole, its output projection with it."""
        inside = isinstance(self.owner, NonDynamicallyQuantizableLinear)
        return self.path.removesuffix(".out_proj") if inside else self.path

    @property
    def peft_path(self) -> str:
        """Where peft keeps the same adapter."""
        inside = self.path.removeprefix(self.target)
        return f"base_model.model.{self.target}{'.base_layer' if inside else ''}{inside}"


class LoraAdapter:
    """The adapters of a model, trained in place; `attach` makes it.

    A deep copy of the model shares the adapted modules' classes with it: after `merge` or `remove` the copy's weights
    cannot be read any more.
    """

    def __init__(
        self, module: nn.Module, plan: LoraPlan, places: Sequence[_Place], order: Sequence[str]
    ) -> None:
        self._module, self.plan, self._places, self._order = module, plan, list(places), tuple(order)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the adapted weights."""
        return tuple(place.name for place in self._places)

    def named_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """Every A and B, named by its weight."""
        return [
            (f"{place.name}.{name}", parameter)
            for place in self._places
            for name, parameter in place.low_rank.named_parameters()
        ]

    def merged_state(self) -> dict[str, Tensor]:
        """The state of the model as if merged, names and order of the model without adapters; nothing is changed."""
        state = self._module.state_dict()
        with torch.no_grad():
            for place in self._places:
                state[place.name] = getattr(place.owner, place.tensor).detach()
        return {name: state[name] for name in self._order}

    def merge(self) -> None:
        """Put the changes into the weights, which are ordinary parameters again; the adapters are gone."""
        self._take_off(keep=True)

    def remove(self) -> None:
        """Take the adapters off; the weights are what they were."""
        self._take_off(keep=False)

    def state_dict(self) -> dict[str, Tensor]:
        """A and B by peft's names, as `adapter_model.safetensors` holds them."""
        found = {}
        for place in self._places:
            found[f"{place.peft_path}.lora_A.weight"] = place.low_rank.lora_A.detach()
            found[f"{place.peft_path}.lora_B.weight"] = place.low_rank.whole_b().detach()
        return found

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state_dict` gave, or what peft saved for the same weights.

        Raises:
            ValueError: other names or shapes than this adapter has, or changes to queries, keys or values that its
                targets leave alone; nothing is loaded then.
        """
        own = self.state_dict()
        if wrong := sorted(own.keys() ^ state.keys()):
            raise ValueError(
                f"an adapter of {len(state)} tensors was to be loaded into one of {len(own)}; the first name that only "
                f"one of them has is {wrong[0]}. Give the plan (targets, towers) that it was trained with."
            )
        for name, value in own.items():
            if state[name].shape != value.shape:
                raise ValueError(
                    f"{name} has shape {tuple(state[name].shape)}, and {tuple(value.shape)} is needed; "
                    f"this adapter has rank {self.plan.rank}. Give the plan that it was trained with."
                )
        pairs = [
            (place, self._own_b(place, state[f"{place.peft_path}.lora_B.weight"])) for place in self._places
        ]
        with torch.no_grad():
            for place, rows in pairs:
                place.low_rank.lora_A.copy_(state[f"{place.peft_path}.lora_A.weight"])
                place.low_rank.lora_B.copy_(rows)

    def peft_config(self) -> dict[str, Any]:
        """What peft writes beside the tensors as `adapter_config.json`."""
        targets = dict.fromkeys(place.target for place in self._places)
        alpha = self.plan.rank if self.plan.alpha is None else self.plan.alpha
        return {
            "peft_type": "LORA",
            "r": self.plan.rank,
            "lora_alpha": alpha,
            "lora_dropout": 0.0,
            "bias": "none",
            "target_modules": list(targets),
        }

    def _own_b(self, place: _Place, whole: Tensor) -> Tensor:
        thirds = place.low_rank.thirds
        if not thirds:
            return whole
        pieces = dict(zip("qkv", whole.chunk(3), strict=True))
        if extra := [letter for letter, rows in pieces.items() if letter not in thirds and rows.any()]:
            raise ValueError(
                f"the adapter changes {', '.join(extra)} of {place.name}, and the targets here are "
                f"{', '.join(self.plan.targets)}; give the plan that it was trained with."
            )
        return torch.cat([pieces[letter] for letter in thirds])

    def _take_off(self, *, keep: bool) -> None:
        while self._places:
            _detach(self._places.pop(), keep=keep)


def attach(module: nn.Module, plan: LoraPlan) -> LoraAdapter:
    """Give weights of a model adapters that change nothing yet; which parameters train is not touched.

    Raises:
        Unsupported: the model has no such weights, or they have adapters already. The model is as it was then.
    """
    require_sides(module)
    chosen = tuple(_chosen(module, plan))
    if not chosen:
        raise Unsupported(
            f"LoRA was asked for {', '.join(plan.targets)} of the {' and '.join(plan.towers)} tower, and no such "
            f"weight was found in this {type(module).__name__}. Towers of transformer blocks have them (open_clip's "
            'own and most of timm); a ResNet has none: use towers=("text",), or layernorm or full training.'
        )
    order = list(module.state_dict())
    generator = torch.Generator().manual_seed(plan.seed)
    places: list[_Place] = []
    try:
        for path, owner, tensor, thirds in chosen:
            weight = getattr(owner, tensor)
            low_rank = LowRank(weight, thirds, plan.rank, plan.factor, generator)
            place = _Place(path, owner, tensor, low_rank, tuple(owner._parameters))
            parametrize.register_parametrization(owner, tensor, low_rank)
            places.append(place)
    except BaseException:
        LoraAdapter(module, plan, places, order).remove()
        raise
    return LoraAdapter(module, plan, places, order)


def absorb(module: nn.Module) -> None:
    """Put every adapter's change into its weight and leave an adapter that changes nothing: the same function.

    For copies of a model that is in training, whose adapters cannot be taken off (see `LoraAdapter`).
    """
    with torch.no_grad():
        for one in module.modules():
            for tensor in getattr(one, "parametrizations", {}):
                kept: Any = one.get_submodule(f"parametrizations.{tensor}")
                if isinstance(kept[0], LowRank):
                    kept.original.copy_(getattr(one, tensor))
                    kept[0].lora_B.zero_()


def _chosen(module: nn.Module, plan: LoraPlan) -> Iterator[tuple[str, nn.Module, str, str]]:
    """(path of the module, module, name of the weight, thirds) of every weight of the plan."""
    for name, weight in module.named_parameters():
        if ".parametrizations." in name:
            raise Unsupported(
                f"LoRA was asked for a model that has adapters already, at {name}; merge or remove them first."
            )
        if tower_of_parameter(name) not in plan.towers or weight.ndim != 2:
            continue
        thirds = _thirds(name, plan)
        if thirds is not None:
            path, _, tensor = name.rpartition(".")
            yield path, module.get_submodule(path), tensor, thirds


def _thirds(name: str, plan: LoraPlan) -> str | None:
    """Which thirds of a weight change, "" for the whole of it, None when it is not asked for."""
    if _JOINT.search(name):
        wanted = "".join(letter for letter in "qkv" if letter in plan.targets)
        return wanted or None
    single = _SINGLE.search(name)
    asked = (
        (single is not None and single[1] in plan.targets)
        or ("out" in plan.targets and _OUT.search(name))
        or ("mlp" in plan.targets and _MLP.search(name))
    )
    return "" if asked else None


def _detach(place: _Place, *, keep: bool) -> None:
    parametrize.remove_parametrizations(place.owner, place.tensor, leave_parametrized=keep)
    # torch puts the weight back at the end of its module's parameters; names are listed in their old order again.
    parameters = place.owner._parameters
    for name in place.order:
        parameters[name] = parameters.pop(name)
