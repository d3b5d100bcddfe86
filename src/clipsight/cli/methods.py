"""`clipsight methods`: the recipes that make maps, with their sources and published numbers."""

from typing import TYPE_CHECKING

from clipsight.cli.outcome import DONE, print_json, terminal

if TYPE_CHECKING:
    from clipsight.surgery import Recipe


def methods(*, variants: bool = False, json: bool = False) -> int:
    """List the methods that make maps, with their sources and published numbers.

    Every number is somebody's published one, with how it was obtained: read (in the method's own repository),
    second-hand (from another paper's table) or derived (by arithmetic). Ours are in the documentation.

    Args:
        variants: Also list the options of the methods and the authors' settings for single data sets.
        json: Print one JSON document, the recipes in full, on standard output and nothing else.
    """
    from clipsight.surgery import get_recipe, recipe_ids

    recipes = [get_recipe(name) for name in recipe_ids(variants=variants)]
    if json:
        print_json({"methods": [recipe.to_dict() for recipe in recipes]})
        return DONE
    for recipe in recipes:
        _describe(recipe)
    return DONE


def _describe(recipe: "Recipe") -> None:
    from rich.markup import escape
    from rich.padding import Padding
    from rich.table import Table

    console = terminal()
    console.print(f"[bold]{escape(recipe.id)}[/bold]  {escape(recipe.summary)}")
    if recipe.variant_of:
        console.print()
        return
    lines = [_where(recipe)]
    if source := recipe.source:
        commit = source.commit[:12] if len(source.commit) == 40 else source.commit
        lines.append(
            f"source: {source.title}. {source.venue}, arXiv {source.arxiv}. {source.repository} at {commit}"
        )
    lines += [f"different here: {difference}" for difference in recipe.differences]
    for line in lines:
        console.print(f"  {escape(line)}")
    if recipe.published:
        table = Table("published", "", "setting", "grade", box=None, padding=(0, 2, 0, 0))
        for number in recipe.published:
            table.add_row(
                escape(number.benchmark),
                f"{number.metric} {number.value:g}",
                escape(number.setting),
                number.grade,
            )
        console.print(Padding(table, (0, 0, 0, 2)))
    console.print()


def _where(recipe: "Recipe") -> str:
    """In which blocks the method works, and what it needs beyond a pass of the tower."""
    from clipsight.surgery import Accumulate, EveryBlock

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
