"""The weight of a loss by the length of its gradient: λ such that it pulls a share as hard as the rest."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from torch import nn

from clipsight.errors import ClipsightError
from clipsight.tune.data.batch import Batch
from clipsight.tune.objectives.weighted import WeightedObjective
from clipsight.tune.trainer import Trainer

_ROUNDING = 1e-6
"""A gradient this much shorter than another is rounding, such as that of staying near where the model still is."""


def calibrated(
    terms: Sequence[WeightedObjective],
    trainer: Callable[[Sequence[WeightedObjective]], Trainer],
    batches: Iterable[Batch],
    parameters: Sequence[nn.Parameter],
) -> list[WeightedObjective]:
    """The terms with all weights known.

    Args:
        terms: at least one has a weight.
        trainer: makes a trainer of terms; it takes no step here.
        batches: what gradients are measured on, this process's own. parameters: over which they are measured.

    Raises:
        ValueError: no term has a weight.
        ClipsightError: a loss that has no gradient here, so that no weight can be told.
        Unsupported: a loss that depends on nothing that is trained.
    """
    open_ones = [term for term in terms if term.weight is None]
    if not open_ones:
        return list(terms)
    fixed = [replace(term, ramp=0.0) for term in terms if term.weight]
    if not fixed:
        raise ValueError(
            "every weight was left open; one loss at least has a weight, such as the contrastive loss 1."
        )
    alone = [fixed, *([replace(term, weight=1.0, ramp=0.0)] for term in open_ones)]
    trainers = [trainer(some) for some in alone]
    lengths = [0.0] * len(alone)
    for step, batch in enumerate(batches):
        for number, one in enumerate(trainers):
            lengths[number] += _length(one, batch, step, parameters)
    least = _ROUNDING * max(lengths)
    if not least < lengths[0] < math.inf:
        raise ClipsightError(
            f"weights were left open, to be measured beside {', '.join(one.objective.name for one in fixed)}, whose "
            f"gradient before the first step has the length {lengths[0]:g}. Give every weight, or add a loss that "
            "pulls from the start, such as the contrastive one."
        )
    found = dict(zip(map(id, open_ones), lengths[1:], strict=True))
    made = []
    for term in terms:
        weight = term.weight
        if weight is None:
            own = found[id(term)]
            if not least < own < math.inf:
                raise ClipsightError(
                    f"the weight of {term.objective.name} cannot be told: its gradient before the first step has "
                    f"the length {own:g}. Usual cause: all captions are at its aim already, or none has both objects "
                    "and relations or attributes. Give its weight."
                )
            weight = term.ratio * lengths[0] / own
        made.append(replace(term, weight=weight))
    return made


def _length(trainer: Trainer, batch: Batch, step: int, parameters: Sequence[nn.Parameter]) -> float:
    everything = list(trainer.module.parameters())
    trainer.gradients(batch, step)
    found = [one.grad.float().square().sum() for one in parameters if one.grad is not None]
    for one in everything:
        one.grad = None
    return float(torch.stack(found).sum().sqrt()) if found else 0.0
