"""The rows of the comparison: figures by seed, and what became of every map, so that recipes compare in pairs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float

from clipsight.bench.paired import PairedDifference, paired_mean
from clipsight.bench.seeds import Spread, or_nan, or_none


@dataclass(frozen=True, kw_only=True)
class WorldFigures:
    """What one recipe reached on the scenes of one seed; see `compare` for what the figures mean."""

    auroc: float
    pointing: float
    miou: float
    seconds_per_image: float
    peak_mb: float


FIGURES = tuple(one.name for one in fields(WorldFigures))


@dataclass(frozen=True, kw_only=True, eq=False)
class MapOutcomes:
    """What became of each of M maps of a noun that its scene shows.

    Attributes:
        scene: name of the map's scene; the maps of one scene are not independent.
        auroc: pixel AUROC. hit: whether the highest pixel lies on the noun.
    """

    scene: tuple[str, ...]
    auroc: Float[np.ndarray, " M"]
    hit: Bool[np.ndarray, " M"]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"scene": list(self.scene), "auroc": self.auroc.tolist(), "hit": self.hit.tolist()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "MapOutcomes":
        """The inverse of `to_dict`."""
        return cls(
            scene=tuple(data["scene"]), auroc=np.array(data["auroc"], float), hit=np.array(data["hit"], bool)
        )


@dataclass(frozen=True, kw_only=True)
class RecipeRow:
    """One recipe's line of the comparison.

    Attributes:
        by_seed: figures by seed; empty when the recipe failed. maps: outcomes by seed.
        notes: what the recipe warned of, each once. error: why it failed, empty when it did not.
    """

    recipe: str
    seeds: tuple[int, ...]
    by_seed: dict[int, WorldFigures] = field(default_factory=dict)
    maps: dict[int, MapOutcomes] = field(default_factory=dict, compare=False, repr=False)
    notes: tuple[str, ...] = ()
    error: str = ""

    def spread(self, figure: str) -> Spread:
        """Mean, lowest and highest of a field of `WorldFigures`; NaN when the recipe failed."""
        return Spread.of(getattr(one, figure) for one in self.by_seed.values())

    def against(self, other: "RecipeRow", figure: Literal["auroc", "pointing"]) -> PairedDifference:
        """This recipe minus another on the same maps, with an interval over scenes.

        Raises:
            ValueError: the two were not measured on the same scenes.
        """
        name = "hit" if figure == "pointing" else figure
        if list(self.maps) != list(other.maps) or not self.maps:
            raise ValueError(
                f"{self.recipe} has maps of the seeds {list(self.maps)}, {other.recipe} of {list(other.maps)}; compare "
                "two recipes of one call, neither of which failed."
            )
        mine, theirs = (
            np.concatenate([getattr(one, name) for one in row.maps.values()]) for row in (self, other)
        )
        scenes = [f"{seed}/{scene}" for seed, one in self.maps.items() for scene in one.scene]
        return paired_mean(theirs.astype(float), mine.astype(float), scenes)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: the means by name, None where there is none; `note` and `error` only where there is one."""
        return {
            "recipe": self.recipe,
            **{name: or_none(self.spread(name).mean) for name in FIGURES},
            "seeds": list(self.seeds),
            "by_seed": [{"seed": seed, **plain_figures(one)} for seed, one in self.by_seed.items()],
            **({"note": " ".join(self.notes)} if self.notes else {}),
            **({"error": self.error} if self.error else {}),
        }


def plain_figures(figures: WorldFigures) -> dict[str, float | None]:
    """Plain data, None for NaN."""
    return {name: or_none(value) for name, value in asdict(figures).items()}


def read_figures(data: Mapping[str, float | None]) -> WorldFigures:
    """The inverse of `plain_figures`."""
    return WorldFigures(**{name: or_nan(data[name]) for name in FIGURES})
