"""Recipes by id: a dict, and the functions that read and write it."""

import difflib
from dataclasses import replace

from clipsight.features.recipe import Recipe

_RECIPES: dict[str, Recipe] = {}


def register(recipe: Recipe) -> Recipe:
    """Register a recipe under its id and return it.

    One whose block numbers are written for a certain depth is also known as `<id>.scaled`, with the numbers moved in
    proportion on every other tower.

    Raises:
        ValueError: another recipe has the id.
    """
    if _RECIPES.setdefault(recipe.id, recipe) != recipe:
        raise ValueError(
            f"a recipe with the id {recipe.id!r} is registered already and differs; give yours an id of its own with "
            f'dataclasses.replace(recipe, id="{recipe.id}.mine"), or pass the Recipe itself as the method.'
        )
    if recipe.written_for is not None and not recipe.variant_of:
        _RECIPES.setdefault(
            f"{recipe.id}.scaled",
            replace(recipe, id=f"{recipe.id}.scaled", elsewhere="scaled", variant_of=recipe.id, published=()),
        )
    return recipe


def get_recipe(recipe: str | Recipe) -> Recipe:
    """The recipe of this id; a `Recipe` is returned as it is, registered or not.

    Raises:
        ValueError: no recipe has the id.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if (known := _RECIPES.get(recipe)) is not None:
        return known
    near = difflib.get_close_matches(recipe, _RECIPES, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise ValueError(
        f"no recipe is called {recipe!r}{hint} The recipes are {', '.join(recipe_ids())}; `clipsight methods "
        "--variants` lists their options too, and a Recipe object works as well."
    )


def recipe_ids(*, variants: bool = False) -> tuple[str, ...]:
    """Ids of all registered methods, CLIP itself first, then by name; with `variants` also of their options."""
    chosen = (one.id for one in _RECIPES.values() if variants or not one.variant_of)
    return tuple(sorted(chosen, key=lambda name: (name.split(".")[0] != "clip", name)))
