"""Batches of a plan from any step on, the same ones however many workers make them."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from clipsight.errors import ClipsightWarning, PictureError
from clipsight.tune.data.batch import Batch
from clipsight.tune.data.collate import Collate, Unusable
from clipsight.tune.data.example import Examples
from clipsight.tune.data.plan import BatchPlan
from clipsight.tune.data.processes import start_method

MOST_UNUSABLE = 20
"""So many examples in a row that cannot be used end a run."""


class Loader:
    """Gives batches, an endless row of them from any step on.

    An example that turns out to be unusable, such as a picture that is truncated, is replaced by the next one of the
    data, in every run alike; it is warned of once with its file and line.

    Args:
        examples: what is trained on. collate: makes batches of them. plan: which are seen when.
        workers: processes that make batches ahead; 0 makes them in this one. They are started anew, not forked: a
            script needs `if __name__ == "__main__":`.
        pin_memory: whether batches lie where CUDA copies from fastest; None where there is CUDA.

    Attributes:
        replaced: number of an example -> why it could not be used, so far.

    Example:
        >>> batches = Loader(examples, collate, BatchPlan(count=len(examples), batch=32))
        >>> batch = next(batches(start=100))
    """

    def __init__(
        self,
        examples: Examples,
        collate: Collate,
        plan: BatchPlan,
        *,
        workers: int = 0,
        pin_memory: bool | None = None,
    ) -> None:
        self._steps = _Steps(examples=examples, collate=collate, plan=plan)
        self._workers = workers
        self._pin = torch.cuda.is_available() if pin_memory is None else pin_memory
        self.replaced: dict[int, str] = {}

    def __call__(self, start: int = 0) -> Iterator[Batch]:
        """This process's batches from a step on.

        Raises:
            Unusable: `MOST_UNUSABLE` examples in a row cannot be used.
        """
        made = DataLoader(
            self._steps,
            sampler=count(start),
            batch_size=None,
            num_workers=self._workers,
            collate_fn=_as_it_is,
            pin_memory=self._pin,
            multiprocessing_context=start_method() if self._workers else None,
            # Of its own, so that the process's random numbers stay where they are.
            generator=torch.Generator(),
        )
        for step, batch in zip(count(start), made, strict=False):
            self._note(step, batch)
            yield batch

    def _note(self, step: int, batch: Batch) -> None:
        """Warn of examples that were replaced and not warned of before."""
        steps = self._steps
        wanted, got = steps.plan.own_rows(step).tolist(), batch.index.tolist()
        for index in (one for one, other in zip(wanted, got, strict=True) if one != other):
            if index in self.replaced:
                continue
            try:
                steps.see(index, steps.plan.epoch(step))
                self.replaced[index] = f"example {index} could not be read for a while"
            except Unusable as error:
                self.replaced[index] = str(error)
            warnings.warn(
                f"replaced by the next example: {self.replaced[index]}", ClipsightWarning, stacklevel=3
            )


@dataclass(frozen=True, kw_only=True)
class _Steps(Dataset[Any]):
    """Batches by step."""

    examples: Examples
    collate: Collate
    plan: BatchPlan

    def __getitem__(self, step: int) -> Batch:
        epoch = self.plan.epoch(step)
        return self.collate.stacked(
            [self._usable(index, epoch) for index in self.plan.own_rows(step).tolist()]
        )

    def see(self, index: int, epoch: int) -> tuple[Any, ...]:
        """An example's number and what `Collate.see` makes of it; raises `Unusable`."""
        try:
            example = self.examples[index]
        except PictureError as error:
            raise Unusable(str(error)) from error
        return index, *self.collate.see(index, example, epoch)

    def _usable(self, index: int, epoch: int) -> tuple[Any, ...]:
        """The same of the example, or of the next one that can be used."""
        problems = []
        for further in range(MOST_UNUSABLE):
            try:
                return self.see((index + further) % len(self.examples), epoch)
            except Unusable as error:
                problems.append(str(error))
        raise Unusable(f"{MOST_UNUSABLE} examples in a row cannot be used, the first: {problems[0]}")


def _as_it_is(sample: Any) -> Any:
    return sample
