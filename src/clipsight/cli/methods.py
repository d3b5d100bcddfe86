"""`clipsight methods`: recipes that make maps, with sources and published numbers, and attributions."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.text import Text

from clipsight.cli.options import JsonOutput
from clipsight.cli.outcome import SUCCESS, say
from clipsight.cli.progress import waiting
from clipsight.cli.registry import verb

if TYPE_CHECKING:
    from clipsight.features import Recipe


@verb(110)
def methods(*, variants: bool = False, output: JsonOutput = JsonOutput()) -> int:
    """List the methods that make maps, with their sources and published numbers, and the attributions.

    Every number is a published one, with how it was obtained: read (in the method's own repository), second-hand (from
    another paper's table) or derived (by arithmetic). Our own measurements are in the documentation.

    Args:
        variants: Also list options of the methods and the authors' settings for single data sets.
    """
    output.check()
    with waiting():
        from clipsight.attribution import (
            attribution_ids,
            get_attribution,
            get_image_attribution,
            image_attribution_ids,
        )
        from clipsight.features import get_recipe, recipe_ids

    recipes = [get_recipe(name) for name in recipe_ids(variants=variants)]
    to_patches = {name: get_image_attribution(name).summary for name in image_attribution_ids()}
    to_words = {name: get_attribution(name).summary for name in attribution_ids()}
    document = {
        "methods": [recipe.to_dict() for recipe in recipes],
        "image_attributions": _listed(to_patches),
        "attributions": _listed(to_words),
    }
    if output.write(document):
        return SUCCESS
    for recipe in recipes:
        say(Text.assemble((recipe.id, "bold"), "  ", recipe.summary))
        for line in () if recipe.variant_of else (_where(recipe), *_origin(recipe), *_published(recipe)):
            say(line, indent=2)
        say("")
    say("Attributions of a whole image's score to its patches, for `clipsight explain --method`:")
    _say_summaries(to_patches)
    say("")
    say("Attributions to the words of a caption, for `clipsight words --method`:")
    _say_summaries(to_words)
    return SUCCESS


def _listed(summaries: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"id": name, "summary": summary} for name, summary in summaries.items()]


def _say_summaries(summaries: Mapping[str, str]) -> None:
    for name, summary in summaries.items():
        say(Text.assemble((name, "bold"), "  ", summary), indent=2)


def _origin(recipe: "Recipe") -> list[str]:
    """Paper and code, and what is different here."""
    lines = [f"different here: {difference}" for difference in recipe.differences]
    if source := recipe.source:
        commit = source.commit[:12] if len(source.commit) == 40 else source.commit
        paper = f"{source.venue}, arXiv {source.arxiv}" if source.arxiv else source.venue
        lines.insert(0, f"source: {source.title}. {paper}. {source.repository} at {commit}")
    return lines


def _published(recipe: "Recipe") -> list[str]:
    """One line for each table that numbers were taken from."""
    tables: dict[tuple[str, str, str, str], list[str]] = {}
    for number in recipe.published:
        key = number.setting, number.metric, number.grade, number.where
        tables.setdefault(key, []).append(f"{number.benchmark} {number.value:g}")
    return [
        f"published {metric}, {setting}: {', '.join(values)} (grade: {grade}; {where})"
        for (setting, metric, grade, where), values in tables.items()
    ]


def _where(recipe: "Recipe") -> str:
    """In which blocks the method works, and what it needs beyond a pass of the tower."""
    from clipsight.features import Accumulate, EveryBlock

    where = "the last block"
    if isinstance(recipe.path, Accumulate):
        count = recipe.path.blocks
        where = "all blocks" if count is None else f"the last {count} blocks"
    elif isinstance(recipe.path, EveryBlock):
        where = "every block"
    needs = [
        word
        for word, needed in (
            ("attention maps in full", recipe.needs_weights),
            ("texts, for a step of its own after the features", recipe.needs_texts),
        )
        if needed
    ]
    return f"works in: {where}" + (f"; needs {' and '.join(needs)}" if needs else "")
