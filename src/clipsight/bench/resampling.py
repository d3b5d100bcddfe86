"""Bootstrap intervals of a corpus that is read once, in memory that does not grow with it.

Every cluster (a picture with its captions) gets, in each replicate, a weight from Poisson(1) instead of a number of
times that it is drawn: the Poisson bootstrap, which for more than some dozens of clusters gives the intervals of the
ordinary one (`scipy.stats.bootstrap`, with which the tests compare it), and unlike it needs no second look at the
captions. Weights come from the seed and the cluster's name alone: they do not depend on order, parts or resuming.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

TAIL = 0.025
"""Of the replicates, on each side of an interval."""


class Interval(NamedTuple):
    """A figure of all captions, and the ends between which 95 % of the replicates lie; NaN where there is none."""

    value: float
    low: float
    high: float


class Resampler:
    """Weights of clusters.

    Args:
        replicates: how many samples; 1,000 give ends that are steady to about a tenth of the interval's length.
        seed: others give other samples.
    """

    def __init__(self, replicates: int = 1000, seed: int = 0) -> None:
        if replicates < 1:
            raise ValueError(
                f"replicates is {replicates}; give 1 or more, 1,000 for intervals to be printed."
            )
        self.replicates, self._seed = replicates, seed

    def weights(self, clusters: Sequence[str]) -> Float[np.ndarray, "R N"]:
        """One column for each entry; the first row is the corpus itself, all ones, and the replicates follow."""
        found = np.ones((self.replicates + 1, len(clusters)))
        known: dict[str, np.ndarray] = {}
        for column, cluster in enumerate(clusters):
            if cluster not in known:
                digest = hashlib.blake2b(cluster.encode("utf-8", "surrogatepass"), digest_size=8).digest()
                rng = np.random.default_rng([self._seed, int.from_bytes(digest)])
                known[cluster] = rng.poisson(1.0, self.replicates)
            found[1:, column] = known[cluster]
        return found


def interval(values: Float[np.ndarray, " R"]) -> Interval:
    """Of a figure of every row of weights: its value for the corpus, 2.5 and 97.5 % of the replicates.

    Ends are NaN when more than 2.5 % of the replicates have no such figure: the captions are too few.
    """
    value, known = float(values[0]), np.isfinite(values[1:])
    if not np.isfinite(value) or known.mean() < 1 - TAIL:
        return Interval(value if np.isfinite(value) else np.nan, np.nan, np.nan)
    low, high = np.quantile(values[1:][known], (TAIL, 1 - TAIL))
    return Interval(value, float(low), float(high))


def ratio(above: Float[np.ndarray, "*any"], below: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    """Quotient, NaN where the divisor is not above zero."""
    return np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below > 0)
