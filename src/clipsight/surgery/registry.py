"""Recipes by id: a dict, and the functions that read and write it."""

import difflib

from clipsight.surgery.recipe import Recipe

_RECIPES: dict[str, Recipe] = {}


def register(recipe: Recipe) -> Recipe:
    """Make a recipe known by its id and return it.

    Raises:
        ValueError: another recipe has the id.
    """
    if _RECIPES.setdefault(recipe.id, recipe) != recipe:
        raise ValueError(
            f"a recipe with the id {recipe.id!r} is registered already and differs; give yours an id of its own with "
            f'dataclasses.replace(recipe, id="{recipe.id}.mine"), or pass the Recipe itself as the method.'
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
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(
        f"no recipe is called {recipe!r}; {hint}The recipes are {', '.join(recipe_ids())}; a Recipe object works too."
    )


def recipe_ids() -> tuple[str, ...]:
    """Ids of all registered recipes, in order of registration."""
    return tuple(_RECIPES)
