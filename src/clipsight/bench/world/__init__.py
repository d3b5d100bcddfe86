"""Recipes beside each other on the held-out emoji world: where their maps point, what they name, what they cost."""

from clipsight.bench.seeds import SEEDS, Spread
from clipsight.bench.world.recipes import COUNT, compare
from clipsight.bench.world.table import FIGURES, MapOutcomes, RecipeRow, WorldFigures

__all__ = ["COUNT", "FIGURES", "SEEDS", "MapOutcomes", "RecipeRow", "Spread", "WorldFigures", "compare"]
