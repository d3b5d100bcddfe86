"""The losses of a run besides CAE, as options. Loads neither torch nor numpy."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from clipsight.tune.objectives.weighted import WeightedObjective


@dataclass(frozen=True, kw_only=True)
class LossOptions:
    """The contrastive loss, and what can be added to it.

    Example:
        >>> [term.objective.name for term in LossOptions(negatives="own", distill=0.1).terms()]
        ['contrastive', 'own_negatives', 'distill']
    """

    negatives: Literal["none", "denominator", "own", "hinge"] = "none"
    """Hard negative captions: in the denominator of the contrastive loss (NegCLIP), or a separate loss against each
    image's own negatives, focal with label smoothing (`own`, FSC-CLIP) or a hinge (`hinge`)."""

    negative_kinds: tuple[str, ...] = ("swap", "replace", "shuffle")
    """How negatives are made: `swap`, `replace`, `add`, `shuffle`, a single kind such as `replace_rel`, or `given` for
    those that come with the data."""

    negatives_per_caption: int = 1
    """Negatives per caption."""

    negatives_weight: float = 0.5
    """Weight of the separate loss of `own` and `hinge`."""

    distill: float = 0.0
    """Weight of the loss that keeps features close to those of the model before tuning; 0 disables it."""

    teacher: float = 1.0
    """Momentum of the model that features stay close to: 1 keeps it frozen, 0.9996 lets it follow slowly."""

    def terms(self) -> "list[WeightedObjective]":
        """The contrastive loss and the additions, with their weights."""
        from clipsight.tune.objectives.contrastive import Contrastive
        from clipsight.tune.objectives.distill import Distill
        from clipsight.tune.objectives.negatives import NegativeContrastive, OwnNegatives
        from clipsight.tune.objectives.weighted import WeightedObjective

        kinds, count = self.negative_kinds, self.negatives_per_caption
        first = Contrastive()
        if self.negatives == "denominator":
            first = NegativeContrastive(foils=count, foil_kinds=kinds)
        terms = [WeightedObjective(objective=first, weight=1.0, ramp=0.0)]
        if self.negatives in ("own", "hinge"):
            form = "focal" if self.negatives == "own" else "hinge"
            own = OwnNegatives(form=form, foils=count, foil_kinds=kinds)
            terms.append(WeightedObjective(objective=own, weight=self.negatives_weight, ramp=0.0))
        if self.distill:
            distill = Distill(momentum=self.teacher)
            terms.append(WeightedObjective(objective=distill, weight=self.distill, ramp=0.0))
        return terms
