"""What the model itself does when words go or are replaced: a check that needs no attribution."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from clipsight.bench.resampling import TAIL, Interval, Resampler, interval, ratio
from clipsight.bench.word_gap.part import REMOVALS, MeasuredPart, sums
from clipsight.bench.word_gap.tally import MEMBERS
from clipsight.roles.foils import FOIL_KINDS

REPLACED: Mapping[str, str] = {
    "object": "replace_obj",
    "attribute": "replace_att",
    "relation": "replace_rel",
}
"""Group -> the kind of foil that puts a wrong word of the same class in the place of one of its words."""


@dataclass(frozen=True, kw_only=True)
class FoilFigures:
    """Foils of one kind.

    Attributes:
        count: how many. drop: mean fall of the similarity: Δ. wins: the part of them that the picture fits worse than
            the caption, NaN without pictures; ½ is chance.
    """

    count: int
    drop: Interval
    wins: Interval


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """Falls of the similarity.

    Attributes:
        removed: group -> fall for each word when all its words are deleted, in captions with objects and composition.
        removed_gap: of an object word over a composition word. Quotients are NaN when the divisor may as well be 0.
        foils: by kind. foil_gap: fall for a wrong object over that for a wrong attribute, a wrong relation, and the
            mean of the two ("composition").
        pictured: False when falls are one minus the cosine of the two texts, because there were no pictures.
    """

    removed: Mapping[str, Interval]
    removed_gap: Interval
    foils: Mapping[str, FoilFigures]
    foil_gap: Mapping[str, Interval]
    pictured: bool


def behaviour(
    parts: Callable[[], Iterable[MeasuredPart]], *, replicates: int = 1000, seed: int = 0
) -> Behaviour:
    """Figures of a corpus; arguments as for `statistics.summarise`."""
    resampler = Resampler(replicates, seed)
    rows = replicates + 1
    fallen = {group: np.zeros(rows) for group in REMOVALS}
    there = {group: np.zeros(rows) for group in REMOVALS}
    both = {group: np.zeros(rows) for group in ("object", "composition")}
    drops, wins, weight = ({kind: np.zeros(rows) for kind in FOIL_KINDS} for _ in range(3))
    counts = dict.fromkeys(FOIL_KINDS, 0)
    pictured = False
    for part in parts():
        weights = resampler.weights(part.clusters)
        pictured = pictured or bool(np.isfinite(part.similarity).any())
        each = {group: _for_each_word(part, group) for group in REMOVALS}
        compared = _known(each["object"]) & _known(each["composition"])
        for group, values in each.items():
            chosen = compared & _known(values)
            fallen[group] += weights[:, chosen] @ values[chosen]
            there[group] += weights[:, chosen].sum(1)
            if group in both:
                both[group] += weights[:, compared] @ values[compared]
        kinds = np.array(part.foil_kinds, dtype="U16")
        for kind in FOIL_KINDS:
            mine = kinds == kind
            own = weights[:, part.foil_of[mine]]
            drops[kind] += own @ part.foil_drops[mine]
            wins[kind] += own @ (part.foil_drops[mine] > 0)
            weight[kind] += own.sum(1)
            counts[kind] += int(mine.sum())
    mean = {kind: ratio(drops[kind], weight[kind]) for kind in FOIL_KINDS}
    replaced = {group: mean[kind] for group, kind in REPLACED.items()}
    replaced["composition"] = (replaced["attribute"] + replaced["relation"]) / 2
    unknown = np.full(rows, np.nan)
    return Behaviour(
        removed={group: interval(ratio(fallen[group], there[group])) for group in REMOVALS},
        removed_gap=_quotient(both["object"], both["composition"]),
        foils={
            kind: FoilFigures(
                count=counts[kind],
                drop=interval(mean[kind]),
                wins=interval(ratio(wins[kind], weight[kind]) if pictured else unknown),
            )
            for kind in FOIL_KINDS
            if counts[kind]
        },
        foil_gap={
            group: _quotient(replaced["object"], replaced[group])
            for group in ("composition", "attribute", "relation")
        },
        pictured=pictured,
    )


def _quotient(above: Float[np.ndarray, " R"], below: Float[np.ndarray, " R"]) -> Interval:
    """A quotient of falls; NaN when the divisor may as well be nothing."""
    if (below < 0).mean() > TAIL:
        return Interval(np.nan, np.nan, np.nan)
    return interval(ratio(above, below))


def _for_each_word(part: MeasuredPart, group: str) -> Float[np.ndarray, " N"]:
    """The fall for a whole group over the number of its words."""
    words = sums(np.isin(part.role, MEMBERS[group])[:, None].astype(float), part.caption, len(part))[:, 0]
    return ratio(part.removed[:, REMOVALS.index(group)], words)


def _known(values: Float[np.ndarray, " N"]) -> Bool[np.ndarray, " N"]:
    return np.isfinite(values)
