"""What a training loss is to the trainer: what it needs, what it gives, and what it leaves behind.

Losses come in two scopes. "features" losses compare all pictures and texts of the global batch, all processes and
pieces together. "samples" losses ask each text for itself, inside its pass, and are averaged over the samples that
count, all processes and pieces together.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from clipsight.attribution import Question
from clipsight.towers.view import TextView
from clipsight.tune.data.batch import Batch

Scope = Literal["features", "samples"]


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What an objective needs of a step.

    Attributes:
        trace: what the text pass keeps, kind -> block numbers, as `clipsight.attribution.passes.Trace` takes it.
        explicit: attention written out in full precision, so that the pass can be differentiated twice.
        exact: the text pass in full precision, for losses that subtract its features.
        roles: whether token roles are read. foils: how many false captions of each example are encoded.
        foil_kinds: what they are, see `clipsight.tune.foils`.
    """

    trace: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    explicit: bool = False
    exact: bool = False
    roles: bool = False
    foils: int = 0
    foil_kinds: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Stage:
    """What an objective is set up with.

    Attributes:
        module: the model that is trained. text: its text tower as clipsight sees it.
        device: where it lives. seed: of the run. steps: how many there will be.
        autocast: what the towers run under, for objectives that run towers of their own.
    """

    module: nn.Module
    text: TextView
    device: torch.device
    seed: int
    steps: int
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext


@dataclass(frozen=True, kw_only=True, eq=False)
class StepFeatures:
    """Features of a batch, as the towers give them, not L2-normalised.

    Attributes:
        foils: features of false captions. foil_valid: which of them are there.
        scale: the factor on cosines, exp of the model's logit scale, a scalar with its graph.
        bias: what is added to the scaled cosines, for models of the sigmoid loss.
    """

    image: Float[Tensor, "B E"]
    text: Float[Tensor, "B E"]
    scale: Float[Tensor, ""]
    foils: Float[Tensor, "B k E"] | None = None
    foil_valid: Bool[Tensor, "B k"] | None = None
    bias: Float[Tensor, ""] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class StepInputs:
    """What a step hands to objectives of the scope "samples": one process's piece of the batch, run through the towers.

    Attributes:
        question: the texts with the pass that was run, as attributions take it; its `match` holds the pictures. None
            for text towers that run in one piece; `needs` refuses what cannot do without.
    """

    module: nn.Module
    batch: Batch
    features: StepFeatures
    question: Question | None
    step: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Terms:
    """A loss with its graph, and numbers to log.

    Attributes:
        loss: scope "features": the loss; "samples": its *sum* over the samples that count.
        log: scalars by name, detached; of the scope "samples" again sums over the samples that count.
    """

    loss: Float[Tensor, ""]
    log: Mapping[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class Objective(Protocol):
    """One term of the loss.

    Attributes:
        name: what it is called in the log. scope: see the head of this file.
    """

    name: str
    scope: Scope

    def needs(self, view: TextView) -> Needs:
        """What it needs of a step; raises `Unsupported` with the reason where the tower cannot give it."""
        ...

    def setup(self, stage: Stage) -> None:
        """Called once before the first step, also when a run goes on."""
        ...

    def param_groups(self) -> list[dict[str, Any]]:
        """Parameters of its own, as torch's optimizers take them; [] for none."""
        ...

    def counts(self, batch: Batch) -> Bool[Tensor, " B"]:
        """Which samples count; asked of the scope "samples"."""
        ...

    def loss(self, given: Any) -> Terms:
        """The loss of `StepFeatures` (scope "features") or of a `StepInputs` (scope "samples")."""
        ...

    def after_step(self, step: int) -> None:
        """Called after every optimizer step."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What must be kept for a run to go on exactly; {} for nothing."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        ...

    def export(self) -> Mapping[str, Any]:
        """Plain data about it for the model card."""
        ...


class BaseObjective:
    """An objective's usual answers: nothing needed, nothing of its own, everything counts."""

    scope: Scope = "samples"

    def needs(self, view: TextView) -> Needs:
        """Nothing."""
        return Needs()

    def setup(self, stage: Stage) -> None:
        """Nothing to do."""

    def param_groups(self) -> list[dict[str, Any]]:
        """None of its own."""
        return []

    def counts(self, batch: Batch) -> Bool[Tensor, " B"]:
        """All."""
        return torch.ones(len(batch), dtype=torch.bool, device=batch.ids.device)

    def after_step(self, step: int) -> None:
        """Nothing to do."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to take back."""

    def export(self) -> Mapping[str, Any]:
        """Nothing to say."""
        return {}
