"""An objective as a term of the loss: how much it weighs, and when."""

from dataclasses import dataclass

from clipsight.tune.objectives.objective import Objective


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightedObjective:
    """A term of the loss, whose weight may still be open.

    Attributes:
        weight: what the loss is multiplied by, λ; a term of weight 0 is not run at all. None chooses it so that
            λ ‖∇L‖ is `ratio` times the gradient of the terms that have a weight, over the text tower's parameters
            before the first step.
        ratio: see above.
        ramp: share of the steps over which the weight grows from 0 in a straight line.
    """

    objective: Objective
    weight: float | None = None
    ratio: float = 0.3
    ramp: float = 0.1

    def at(self, step: int, steps: int) -> float:
        """The weight of a step.

        Raises:
            ValueError: it is still open.
        """
        if self.weight is None:
            raise ValueError(
                f"the weight of {self.objective.name} is open; `tune` measures it before the first step."
            )
        grown = 1.0 if not self.ramp else min(1.0, (step + 1) / (self.ramp * steps))
        return self.weight * grown
