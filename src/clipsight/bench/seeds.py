"""What all measures on the emoji world share: its seeds, the spread of a figure over them, warnings kept as notes."""

import statistics
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isnan, nan

from clipsight.errors import ClipsightWarning
from clipsight.world import check_request

SEEDS = (101, 102, 103)
SIDE = 112
"""Pixels of a scene's side."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A figure over the seeds: mean, lowest and highest; NaN when no seed has it."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """The spread of the values that are not NaN."""
        known = [value for value in values if not isnan(value)] or [nan]
        return cls(mean=statistics.fmean(known), low=min(known), high=max(known))


def or_none(value: float) -> float | None:
    """The value as JSON holds it: None for NaN."""
    return None if isnan(value) else value


def or_nan(value: float | None) -> float:
    """The inverse of `or_none`."""
    return nan if value is None else value


def check_seeds(recipes: Sequence[str], seeds: Sequence[int], counts: Sequence[int]) -> None:
    """Refuse a question that measures nothing, or something twice.

    Raises:
        ValueError: no recipe or seed, one given twice, a count below 1, or a negative seed.
    """
    for name, given in (("recipes", list(recipes)), ("seeds", list(seeds))):
        if not given or len(set(given)) < len(given):
            raise ValueError(f"{name} is {given}; give at least one, and each once.")
    if min(counts) < 1:
        raise ValueError(f"a count is {min(counts)}; nothing is measured on no scene, give 1 or more.")
    for seed in seeds:
        check_request("heldout", SIDE, seed, max(counts))


@contextmanager
def collect_warnings(notes: list[str]) -> Iterator[None]:
    """Our warnings become notes, each once; those of libraries stay warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ClipsightWarning)
        try:
            yield
        finally:
            said = [str(one.message) for one in caught if issubclass(one.category, ClipsightWarning)]
            notes += [text for text in dict.fromkeys(said) if text not in notes]
    for one in caught:
        if not issubclass(one.category, ClipsightWarning):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
