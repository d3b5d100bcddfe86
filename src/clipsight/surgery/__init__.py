"""Architecture surgery: recipes as data, and the one executor that runs them."""

from clipsight.surgery.executor import Features, run
from clipsight.surgery.recipe import (
    Accumulate,
    Branch,
    Kernel,
    LastBlock,
    Path,
    Published,
    Recipe,
    Source,
    with_depth,
)
from clipsight.surgery.recipes import BUILT_IN
from clipsight.surgery.registry import get_recipe, recipe_ids, register

for _recipe in BUILT_IN:
    register(_recipe)

__all__ = [
    "Accumulate",
    "Branch",
    "Features",
    "Kernel",
    "LastBlock",
    "Path",
    "Published",
    "Recipe",
    "Source",
    "get_recipe",
    "recipe_ids",
    "register",
    "run",
    "with_depth",
]
