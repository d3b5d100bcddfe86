"""Between two sets of weights and among several: what tuning gained without what it lost.

WiSE-FT (arXiv 2109.01903) walks from the weights before tuning to those after it, θ_α = (1 - α) θ_0 + α θ_tuned; a
model soup (arXiv 2203.05482) is the mean of several tuned from the same start. Every floating-point tensor takes part,
the logit scale too. With LoRA it is the same once the adapters are merged, for then θ_α = θ_0 + α ΔW.
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from clipsight.checkpoints.fit_weights import first_names
from clipsight.towers.card import activation_of

ALPHAS = tuple(step / 10 for step in range(11))
"""The usual steps of a sweep."""

_EQUAL = 1e-9
"""Scores closer than this are equal: 0.60 - 0.59 is a little more than 0.01 in floating point."""

State = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """What the weights of one α score.

    Attributes:
        alpha: 0 is before tuning, 1 after it.
        scores: name -> value, higher is better.
    """

    alpha: float
    scores: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Scores on the way from the weights before tuning to those after it.

    Attributes:
        rows: by rising α.
        chosen: α that `knee` chose, None before.
        why: what decided, one sentence.
    """

    rows: tuple[SweepRow, ...]
    chosen: float | None = None
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As plain data, which JSON holds."""
        rows = [{"alpha": row.alpha, **row.scores} for row in self.rows]
        return {"rows": rows, "chosen": self.chosen, "why": self.why}


def interpolate(zero: State, tuned: State, alpha: float) -> dict[str, Tensor]:
    """(1 - α) · zero + α · tuned, computed in float32 at least; exactly one of the two at α = 0 and 1.

    Args:
        zero: weights before tuning. tuned: after it; device and number types of the result are theirs, and so are
            tensors that hold no floating-point numbers.
        alpha: from 0 to 1.

    Raises:
        ValueError: names or shapes differ, or α is outside [0, 1].
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha} is not between 0, the weights before tuning, and 1, those after it.")
    _check_alike(zero, tuned)
    between = {}
    for name, end in tuned.items():
        if not end.is_floating_point():
            between[name] = end.clone()
            continue
        kind = torch.promote_types(end.dtype, torch.float32)
        start = zero[name].to(end.device, kind)
        between[name] = torch.lerp(start, end.to(kind), alpha).to(end.dtype)
    return between


def soup(states: Iterable[State]) -> dict[str, Tensor]:
    """The mean of several sets of weights, summed in float64; one at a time is held beside the sum.

    Device and number types are those of the first, and so are tensors that hold no floating-point numbers.

    Raises:
        ValueError: none given, or names or shapes differ.
    """
    first: dict[str, Tensor] = {}
    total: dict[str, Tensor] = {}
    count = 0
    for count, state in enumerate(states, 1):
        if count == 1:
            first = dict(state)
            total = {name: t.double() for name, t in first.items() if t.is_floating_point()}
            continue
        _check_alike(first, state)
        total = {name: tensor + state[name].to(tensor.device) for name, tensor in total.items()}
    if not count:
        raise ValueError("a soup of no weights was asked for; give at least one set of them.")
    return {
        name: (total[name] / count).to(tensor.dtype) if name in total else tensor.clone()
        for name, tensor in first.items()
    }


def wise_ft_sweep(
    zero: nn.Module | State,
    tuned: nn.Module,
    evaluate: Callable[[nn.Module], Mapping[str, float]],
    alphas: Sequence[float] = ALPHAS,
) -> Sweep:
    """Score the weights between those before and after tuning.

    Args:
        zero: the model before tuning, or its weights. tuned: the model after it. Neither is changed.
        evaluate: scores of a model in evaluation mode, higher is better, the same names every time. What is to be
            chosen by must be measured on a split kept for that, the guard split, never on the one that is reported.
        alphas: from 0 to 1 each; sorted, and each is scored once.

    Raises:
        ValueError: names, shapes or activations of the two differ, or `evaluate` changes the names of its scores.
    """
    if isinstance(zero, nn.Module):
        before, after = activation_of(zero), activation_of(tuned)
        if before != after:
            raise ValueError(
                f"the model before tuning runs {before} and the one after it {after}; weights between them mean "
                "nothing. Load both with the same quick_gelu=."
            )
        zero = zero.state_dict()
    end, model = tuned.state_dict(), copy.deepcopy(tuned).eval()
    rows: list[SweepRow] = []
    for alpha in sorted(set(map(float, alphas))):
        model.load_state_dict(interpolate(zero, end, alpha))
        scores = {name: float(value) for name, value in evaluate(model).items()}
        if rows and scores.keys() != rows[0].scores.keys():
            raise ValueError(
                f"evaluate gave {', '.join(scores)} at alpha {alpha:g} and {', '.join(rows[0].scores)} at "
                f"{rows[0].alpha:g}; a sweep compares the same scores."
            )
        rows.append(SweepRow(alpha=alpha, scores=scores))
    return Sweep(rows=tuple(rows))


def knee(sweep: Sweep, *, gain: str, guard: str, allowed: float = 0.01) -> Sweep:
    """Choose the α with the highest `gain` among those that keep `guard`, and say why; of equal ones the smallest.

    Both scores must have been measured on a guard split, held back for this choice: an α chosen on the split that is
    reported afterwards makes the report too good.

    Args:
        sweep: with a row for α = 0.
        gain: name of the score that tuning is for. guard: of the one it must not spoil.
        allowed: how far the guard may fall below its value at α = 0, in its own unit.

    Returns:
        The sweep with `chosen` and `why`. α = 0 is chosen where no other keeps the guard and gains anything.

    Raises:
        ValueError: no row for α = 0, no such score, or one that is no number at α = 0.
    """
    if not sweep.rows or sweep.rows[0].alpha != 0:
        raise ValueError(
            "the sweep has no row for alpha 0, what the guard is compared with; add 0 to alphas."
        )
    start = sweep.rows[0].scores
    for name in (gain, guard):
        if name not in start:
            raise ValueError(f"score {name!r} was asked for; the sweep has {', '.join(start)}.")
        if start[name] != start[name]:
            raise ValueError(f"score {name!r} is no number at alpha 0, so nothing can be compared with it.")
    # Scores of other alphas that are no numbers fail every comparison and are never chosen.
    keeping = [r for r in sweep.rows[1:] if r.scores[guard] >= start[guard] - allowed - _EQUAL]
    best = sweep.rows[0]
    for row in keeping:
        if row.scores[gain] > best.scores[gain] + _EQUAL:
            best = row
    if not keeping:
        why = f"no alpha above 0 keeps {guard} within {allowed:g} of its {start[guard]:.4g} before tuning"
    elif best.alpha == 0:
        why = f"no alpha that keeps {guard} within {allowed:g} of {start[guard]:.4g} has a higher {gain}"
    else:
        why = (
            f"highest {gain} ({best.scores[gain]:.4g}, {start[gain]:.4g} before tuning) among the alphas that keep "
            f"{guard} within {allowed:g} of its {start[guard]:.4g} before tuning; here it is {best.scores[guard]:.4g}"
        )
    return replace(sweep, chosen=best.alpha, why=why)


def _check_alike(one: State, other: State) -> None:
    missing = [name for name in one if name not in other]
    unexpected = [name for name in other if name not in one]
    misshapen = [name for name in one if name in other and one[name].shape != other[name].shape]
    kinds = (
        ("only in the first", missing),
        ("only in the other", unexpected),
        ("of another shape", misshapen),
    )
    if found := [f"{len(names)} {kind}: {first_names(names)}" for kind, names in kinds if names]:
        raise ValueError(
            f"two sets of weights were to be mixed, but they differ: {'; '.join(found)}. Usual cause: they are of "
            "different architectures, or adapters were not merged; mix weights tuned from the same start."
        )
