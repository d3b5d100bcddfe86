"""Two models on the same items: paired tests of their difference.

The same items are asked of both, so what decides is where the two differ. For right and wrong with one question a
picture that is McNemar's exact test. Where several questions share a picture, or a score is a mean of means, it is a
bootstrap over pictures of the difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import binomtest

from clipsight.bench.resampling import TAIL, Resampler, interval, ratio

LEVEL = 2 * TAIL
"""A difference is clear when chance alone would give one as large less often than this."""
REPLICATES = 1000
LEAST = 6
"""Clusters that must differ before the bootstrap may call a difference clear: even if all of five point one way, a sign
test gives 0.06."""
_AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """The second model minus the first, on the items that both were asked.

    Attributes:
        value: the difference. low, high: 95 % interval over clusters, NaN where there are too few.
        clear: whether it is more than chance gives. test: what decided that.
        p: of McNemar's test, None where the bootstrap decided.
        items, clusters: how many; differing: clusters on which the two models differ.
    """

    value: float
    low: float
    high: float
    clear: bool
    test: Literal["mcnemar", "bootstrap"]
    p: float | None
    items: int
    clusters: int
    differing: int

    @property
    def direction(self) -> Literal["up", "down", "same"]:
        """What became of the score; "same" is no clear difference."""
        return "same" if not self.clear else "up" if self.value > 0 else "down"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, None for NaN."""
        ends = {
            name: None if np.isnan(end) else end for name, end in (("low", self.low), ("high", self.high))
        }
        return {
            "difference": self.value, **ends, "clear": self.clear, "test": self.test, "p": self.p,
            "items": self.items, "clusters": self.clusters, "differing": self.differing,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class PairedGroup:
    """Items whose mean is one part of a score.

    Attributes:
        weight: of the part in the score. clusters: what each item is drawn together with, such as its picture.
        first, other: of each item, what either model reached.
    """

    weight: float
    clusters: Sequence[str]
    first: Float[np.ndarray, " n"]
    other: Float[np.ndarray, " n"]


def mcnemar(first: Bool[np.ndarray, " n"], other: Bool[np.ndarray, " n"]) -> float:
    """The chance that items on which two equal models differ split as unevenly as these; exact, two-sided.

    Source: McNemar, Psychometrika 12 (1947), with the binomial distribution in place of its approximation.
    """
    gained, lost = int((other & ~first).sum()), int((first & ~other).sum())
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def paired_mean(
    first: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"], clusters: Sequence[str]
) -> PairedDifference:
    """The difference of two means over the same items; see `paired_score`."""
    return paired_score([PairedGroup(weight=1.0, clusters=clusters, first=first, other=other)])


def paired_score(
    groups: Sequence[PairedGroup], replicates: int = REPLICATES, seed: int = 0
) -> PairedDifference:
    """The difference of two scores, each a weighted sum of the means of groups of items.

    McNemar's test decides where there is one group of right and wrong with one item a cluster; otherwise the interval
    does, and whether at least `LEAST` clusters differ. The interval is a Poisson bootstrap: clusters are drawn, and
    every group's mean is taken again.

    Raises:
        ValueError: no group, or one without items.
    """
    if not groups or not all(len(one.first) for one in groups):
        raise ValueError("nothing to compare: the two models have no item in common.")
    rows = {
        name: row for row, name in enumerate(dict.fromkeys(name for one in groups for name in one.clusters))
    }
    sums = np.zeros((len(rows), len(groups)))
    counts = np.zeros((len(rows), len(groups)))
    for column, one in enumerate(groups):
        places = [rows[name] for name in one.clusters]
        np.add.at(sums[:, column], places, one.other - one.first)
        np.add.at(counts[:, column], places, 1.0)
    weights = np.array([one.weight for one in groups])
    drawn, resampler, names = (
        np.zeros((2, replicates + 1, len(groups))),
        Resampler(replicates, seed),
        list(rows),
    )
    for start in range(0, len(names), _AT_ONCE):
        few = slice(start, start + _AT_ONCE)
        times = resampler.weights(names[few])
        drawn += times @ sums[few], times @ counts[few]
    found = interval(ratio(*drawn) @ weights)
    differing = int((np.abs(sums) > 0).any(1).sum())
    items = int(counts.sum())
    p = None
    if len(groups) == 1 and len(rows) == items and _right_or_wrong(groups[0]):
        p = mcnemar(groups[0].first > 0, groups[0].other > 0)
        clear = p < LEVEL
    else:
        clear = differing >= LEAST and bool(found.low > 0 or found.high < 0)
    return PairedDifference(
        value=found.value, low=found.low, high=found.high, clear=clear,
        test="bootstrap" if p is None else "mcnemar", p=p, items=items, clusters=len(rows), differing=differing,
    )  # fmt: skip


def _right_or_wrong(group: PairedGroup) -> bool:
    return bool(np.isin(np.concatenate([group.first, group.other]), (0, 1)).all())
