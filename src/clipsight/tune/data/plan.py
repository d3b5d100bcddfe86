"""Which examples each step of a run sees: a function of the step alone, so that a run goes on where it stopped."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """The order of a run's examples.

    Every epoch has an order of its own. A global batch is the same however many processes share it: process r of W
    takes rows r·B/W to (r+1)·B/W.

    Args:
        count: examples there are. batch: B, of all processes together.
        seed: of the orders. rank, world: this process, and how many there are.
        shuffle: False keeps the data's order.
        drop_last: leave out the examples of an epoch that do not fill a batch; False fills up the last batch with the
            epoch's first ones.

    Raises:
        ValueError: a batch that processes cannot share, or more than there is.

    Example:
        >>> plan = BatchPlan(count=10, batch=4, shuffle=False)
        >>> plan.steps_per_epoch, plan.rows(1).tolist(), plan.rows(2).tolist()
        (2, [4, 5, 6, 7], [0, 1, 2, 3])
    """

    count: int
    batch: int
    seed: int = 0
    rank: int = 0
    world: int = 1
    shuffle: bool = True
    drop_last: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise ValueError(f"rank is {self.rank} of {self.world} processes; ranks count from 0.")
        if self.batch < 1 or self.batch % self.world:
            raise ValueError(
                f"a batch of {self.batch} was asked for among {self.world} processes, which cannot share it evenly; "
                "give a multiple of their number."
            )
        if self.count < self.batch:
            raise ValueError(
                f"a batch of {self.batch} was asked for and there are {self.count} examples; give a smaller batch, or "
                "more data."
            )

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has."""
        return self.count // self.batch if self.drop_last else -(-self.count // self.batch)

    def epoch(self, step: int) -> int:
        """How often all examples have been seen before a step, from 0."""
        return step // self.steps_per_epoch

    def rows(self, step: int) -> Int[np.ndarray, " B"]:
        """The examples of a step, of all processes."""
        order = _order(self.seed, self.epoch(step), self.count, self.shuffle)
        start = step % self.steps_per_epoch * self.batch
        return order.take(np.arange(start, start + self.batch), mode="wrap")

    def own_rows(self, step: int) -> Int[np.ndarray, " b"]:
        """Those of this process."""
        share = self.batch // self.world
        return self.rows(step)[self.rank * share : (self.rank + 1) * share]


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int, shuffle: bool) -> Int[np.ndarray, " N"]:
    return np.random.default_rng((seed, epoch)).permutation(count) if shuffle else np.arange(count)
