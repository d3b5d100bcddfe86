"""The rows of the fine-tuning experiment: how they are read, and how two arms are compared."""

import json
from collections.abc import Mapping, Sequence
from math import exp, nan
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from clipsight.bench.word_gap import SETUPS

ARMS = {
    "zero": "before tuning",
    "ft": "FT",
    "cae-ab": "CAE-AB",
    "cae-gcb": "CAE-GCB",
    "cae-pb": "CAE-PB",
    "cae-gb": "CAE-GB",
    "control": "control of AB: shuffled roles",
    "ft-hn": "FT + hard negatives",
    "hn-cae": "hard negatives + CAE-AB",
    "control-pb": "control of PB: shuffled roles",
    "hn-pb": "hard negatives + CAE-PB",
    "cae-all": "CAE, all four",
}
"""Arms by id, as they are called in tables and plots."""
TRAINED = {"ab": "attention", "gcb": "gradcam", "pb": "perturbation", "gb": "gradient"}
"""Variant of CAE -> the attribution that it trains; setups of the same attribution count as trained on."""
KINDS = ("replace_rel", "swap_obj", "replace_att", "swap_att", "add_att", "replace_obj", "add_obj")
"""Foils of relations first, of attributes, of objects."""


class Row(NamedTuple):
    """A finished run."""

    arm: str
    seed: int
    variant: str | None
    figures: Mapping[str, float]
    seconds: float
    device: str


class Change(NamedTuple):
    """A difference of means with its 95 % interval; NaN where there are not two runs of each."""

    value: float
    low: float
    high: float


def read(path: Path) -> list[Row]:
    """The rows of a file, of a run that is there twice the later one.

    Raises:
        ValueError: a line that is no row.
    """
    found: dict[tuple[str, int], Row] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            arm, seed = row["arm"], int(row["seed"])
            variant = row["settings"].get("variant") or (arm[4:] if arm[4:] in TRAINED else None)
            seconds = float(row["train_seconds"])
            found[arm, seed] = Row(arm, seed, variant, row["figures"], seconds, row["device"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(
                f"{path}:{number} is no row of the experiment ({error!r}); a run that was cut off while it wrote is "
                "the usual cause. Delete the line and run that run again."
            ) from error
    return list(found.values())


def arms_of(rows: Sequence[Row]) -> list[str]:
    """All arms: those of `ARMS`, there or missing, then others."""
    return list(dict.fromkeys([*ARMS, *(row.arm for row in rows)]))


def title_of(arm: str) -> str:
    """What an arm is called."""
    return ARMS.get(arm, arm)


def values(rows: Sequence[Row], arm: str, name: str) -> np.ndarray:
    """A figure of each seed of an arm that has it; a mean of several with "+" between the names."""
    names = name.split("+")
    own = [row.figures for row in sorted(rows, key=lambda row: row.seed) if row.arm == arm]
    return np.array([np.mean([one[each] for each in names]) for one in own if {*names} <= one.keys()])


def welch(first: np.ndarray, second: np.ndarray) -> Change:
    """Mean of the first minus mean of the second, with the 95 % interval of Welch's t."""
    if not len(first) or not len(second):
        return Change(nan, nan, nan)
    value = float(first.mean() - second.mean())
    if min(len(first), len(second)) < 2:
        return Change(value, nan, nan)
    if not np.ptp(first) and not np.ptp(second):
        return Change(value, value, value)
    ends = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    return Change(value, float(ends.low), float(ends.high))


def against(rows: Sequence[Row], arm: str, name: str, base: str = "ft") -> Change:
    """An arm's figure minus that of the base; of a γ its quotient minus 1."""
    first, second = values(rows, arm, name), values(rows, base, name)
    if not name.startswith("gamma."):
        return welch(first, second)
    return Change(*(exp(end) - 1 for end in welch(np.log(first), np.log(second))))


def trained_on(rows: Sequence[Row], arm: str) -> frozenset[str]:
    """Setups of the attribution that an arm was trained on."""
    variants = {one for row in rows if row.arm == arm and row.variant for one in row.variant.split("+")}
    methods = {TRAINED[one] for one in variants if one in TRAINED}
    return frozenset(name for name, (method, _) in SETUPS.items() if method in methods)
