"""Learning rates over a run."""

import math
from collections.abc import Callable

Schedule = Callable[[int], float]
"""Step, from 0, to the factor on every learning rate."""


def cosine(steps: int, warmup: int) -> Schedule:
    """A straight line up over `warmup` steps, then half a cosine down to 0 at `steps`."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    return factor


def constant(steps: int, warmup: int) -> Schedule:
    """A straight line up over `warmup` steps, then 1."""
    return lambda step: min(1.0, (step + 1) / warmup) if warmup else 1.0


SCHEDULES: dict[str, Callable[[int, int], Schedule]] = {"cosine": cosine, "constant": constant}
