"""Options of a method as separate recipes: other kernels, and the authors' settings for single data sets."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clipsight.features.dataset_setting import KEYS, DatasetSetting
from clipsight.features.recipe import Recipe

TOWERS = {"b16": "ViT-B-16", "b32": "ViT-B-32", "l14": "ViT-L-14"}


def option(recipe: Recipe, name: str, summary: str, **changes: Any) -> Recipe:
    """An option of the authors, `<id>.<name>`; published numbers stay with the recipe and are not copied."""
    plain: dict[str, Any] = {"published": (), "variant_of": recipe.variant_of or recipe.id}
    return replace(recipe, id=f"{recipe.id}.{name}", summary=summary, **(plain | changes))


def data_sets(
    recipe: Recipe,
    settings: Mapping[str, Mapping[str, Any]],
    tower: str = "b16",
    changes: Mapping[str, Mapping[str, Any]] | None = None,
    **common: Any,
) -> tuple[Recipe, ...]:
    """One variant for each data set: `<id>.<data set>-<tower>`, such as `naclip.voc21-b16`.

    Args:
        recipe: the method.
        settings: by key of `KEYS`, what differs from `common` and from the defaults of `DatasetSetting`.
        tower: key of `TOWERS`.
        changes: by the same keys, fields of the recipe itself that differ.
        common: settings of all of them.
    """
    made = []
    for key, own in settings.items():
        setting = DatasetSetting(benchmark=KEYS[key], tower=TOWERS[tower], **{**common, **own})
        summary = f"{recipe.id} as its authors set it for {setting.benchmark} with {setting.tower}."
        published = tuple(
            one
            for one in recipe.published
            if one.benchmark == setting.benchmark and setting.tower in one.setting
        )
        fields = (changes or {}).get(key, {})
        made.append(option(recipe, f"{key}-{tower}", summary, setting=setting, published=published, **fields))
    return tuple(made)
