"""What a task's measure is: a name, the figures it gives, and the pieces of work that give them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clipsight.bench.seeds import Spread, or_none
from clipsight.scoring.choice import Contrast
from clipsight.session.lens import Lens
from clipsight.world import Scene, make_scene, make_scenes, nouns

COUNT = 60
SEGMENTED = 20
DAMAGED = 20
IN_DEPTH = ("clip", "clip_surgery", "sc_clip")
"""Recipes whose windows, refinements, backgrounds, points and sentences are measured, where they are asked for."""

Figures = dict[str, float]
"""Figures by name, NaN where there was nothing to measure."""
JobRows = list[tuple[dict[str, str], Figures]]
"""(further settings, figures) of each row that a piece of work makes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """The scenes of a seed: `mixed`, of which the first `few` are segmented; `alone`, half of them damaged."""

    mixed: tuple[Scene, ...]
    few: tuple[Scene, ...]
    alone: tuple[Scene, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskJob:
    """A piece of work: makes rows of one task from the scenes of a seed."""

    settings: dict[str, str]
    work: Callable[[Drawn], JobRows]


def one_row(settings: dict[str, str], figures: Callable[[Drawn], Figures]) -> TaskJob:
    """A job that makes one row."""
    return TaskJob(settings=settings, work=lambda drawn: [({}, figures(drawn))])


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A task that is measured on the held-out scenes of the emoji world.

    Attributes:
        id: name of its table. question: what the table answers.
        figures: what each figure is; in [0, 1] unless said.
        jobs: the work of one seed, for a model, recipes, and a contrast as in `Lens.maps`.
    """

    id: str
    question: str
    figures: Mapping[str, str]
    jobs: Callable[[Lens, Sequence[str], Contrast], list[TaskJob]]


@dataclass(frozen=True, kw_only=True)
class TaskRow:
    """One line of a task's table.

    Attributes:
        settings: what was measured, in words. by_seed: figures by seed, NaN where there was nothing to measure.
        notes: what was warned of, each once. error: why it failed, empty when it did not.
    """

    settings: dict[str, str]
    by_seed: dict[int, Figures] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    error: str = ""

    def spread(self, figure: str) -> Spread:
        """Mean, lowest and highest of a figure over the seeds that have it; NaN when none has."""
        return Spread.of(one.get(figure, float("nan")) for one in self.by_seed.values())

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the figures."""
        return tuple(dict.fromkeys(name for one in self.by_seed.values() for name in one))

    def to_dict(self) -> dict[str, Any]:
        """Plain data: settings, means by name with None for NaN, figures by seed; `error` only where there is one."""
        return {
            **self.settings,
            **{name: or_none(self.spread(name).mean) for name in self.figures},
            "seeds": list(self.by_seed),
            "by_seed": [
                {"seed": seed, **{name: or_none(value) for name, value in one.items()}}
                for seed, one in self.by_seed.items()
            ],
            **({"note": " ".join(self.notes)} if self.notes else {}),
            **({"error": self.error} if self.error else {}),
        }


def in_depth(recipes: Sequence[str]) -> list[str]:
    """The recipes that are measured in depth: those of `IN_DEPTH` that are asked for, otherwise the first three."""
    return [one for one in IN_DEPTH if one in recipes] or list(recipes[:3])


def draw(seed: int, count: int, segmented: int, damaged: int) -> Drawn:
    """The scenes of a seed: `count` of several objects; of one object `damaged` damaged and as many whole."""
    mixed = tuple(make_scenes(max(count, segmented), seed, "heldout"))
    broken: list[Scene] = []
    whole: list[Scene] = []
    index = 0
    while min(len(broken), len(whole)) < damaged:
        scene = make_scene(index, seed, "heldout", objects=1)
        index += 1
        # Damage that a rotation or the scene's edge hid is no damage to be found.
        kept = broken if scene.damage_masks.any() else whole
        if scene.objects[0].damaged == bool(scene.damage_masks.any()) and len(kept) < damaged:
            kept.append(scene)
    return Drawn(mixed=mixed[:count], few=mixed[:segmented], alone=(*broken, *whole))


def shown(scenes: Sequence[Scene]) -> tuple[str, ...]:
    """The nouns of these scenes, each once, in the order of the world."""
    there = {one.name for scene in scenes for one in scene.objects}
    return tuple(name for name in nouns() if name in there)


def mean_or_nan(values: Sequence[Any]) -> float:
    """The mean, NaN of nothing."""
    return float(np.mean(values)) if len(values) else float("nan")
