"""`clipsight models`: what can be loaded by name, and which methods run on it."""

from collections.abc import Mapping
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from clipsight.cli.options import BUNDLED_MODELS, read_method
from clipsight.cli.outcome import DONE, FAILED, complain, print_json, side_terminal, terminal

if TYPE_CHECKING:
    from clipsight.checkpoints.architectures import Architecture


def models(pattern: str = "*", /, *, supports: str | None = None, json: bool = False) -> int:
    """List the models that can be loaded by name, with the tags of their weights.

    With --supports also what each one's image tower is, and whether a method runs on it: `yes`, or why not. For other
    models (`hf:`, folders, files) `lens.card` says the same once they are loaded.

    Args:
        pattern: Names to list, such as "ViT-B*"; a part of a name is enough.
        supports: A method, such as clip_surgery; `clipsight methods` lists them.
        json: Print one JSON document on standard output and nothing else.
    """
    if supports is not None:
        return _supporting(pattern, read_method(supports), as_json=json)
    tags = {name: found for name, found in _pretrained_tags().items() if _fits(name, pattern)}
    if json:
        print_json({"models": [{"model": name, "pretrained": found} for name, found in tags.items()]})
        return DONE
    if not tags:
        return _none_fits(pattern)
    from rich.table import Table

    table = Table("model", "pretrained", box=None, padding=(0, 2, 0, 0))
    for name, found in tags.items():
        table.add_row(name, ", ".join(found) if found else "bundled, needs no network")
    terminal().print(table)
    return DONE


def _supporting(pattern: str, method: str, *, as_json: bool) -> int:
    with side_terminal().status("starting ..."):
        from clipsight.checkpoints.architectures import architectures
    known = {name: facts for name, facts in architectures().items() if _fits(name, pattern)}
    reasons = {name: _why_not(method, facts) for name, facts in known.items()}
    if as_json:
        rows = [
            {"model": name, "supported": not reasons[name], "reason": reasons[name], **_facts(known[name])}
            for name in known
        ]
        print_json({"method": method, "models": rows})
        return DONE
    if not known:
        return _none_fits(pattern)
    _print_table(known, reasons, method)
    unlisted = [
        name
        for name in _pretrained_tags()
        if name not in architectures() and name not in BUNDLED_MODELS and _fits(name, pattern)
    ]
    if unlisted:
        complain(f"note: not in the table, so load them and print lens.card: {', '.join(unlisted)}.")
    return DONE


def _print_table(known: Mapping[str, "Architecture"], reasons: Mapping[str, str], method: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("model", "image tower", "grid", "blocks", "pools by", method):
        table.add_column(column, no_wrap=column in ("model", method))
    marks = {
        reason: f"no [{place}]"
        for place, reason in enumerate(filter(None, dict.fromkeys(reasons.values())), 1)
    }
    for name, facts in known.items():
        grid = f"{facts.grid[0]}×{facts.grid[1]}"
        depth = str(facts.depth) if facts.depth and not facts.pool_only else "-"
        table.add_row(name, facts.family, grid, depth, facts.pools, escape(marks.get(reasons[name], "yes")))
    console = terminal()
    console.print(table)
    ready = sum(not reason for reason in reasons.values())
    console.print(f"{ready} of {len(known)} architectures take {method}.")
    for reason, mark in marks.items():
        console.print(escape(f"{mark.removeprefix('no ')} {reason}"))


def _why_not(method: str, facts: "Architecture") -> str:
    from clipsight.features import adapt_to_depth, get_recipe, why_not

    return why_not(adapt_to_depth(get_recipe(method), facts).recipe, facts)


def _facts(facts: "Architecture") -> dict[str, object]:
    from dataclasses import asdict

    return asdict(facts)


def _none_fits(pattern: str) -> int:
    complain(f"no model's name fits {pattern!r}; `clipsight models` lists all.")
    return FAILED


def _pretrained_tags() -> dict[str, list[str]]:
    import open_clip

    tags: dict[str, list[str]] = {name: [] for name in BUNDLED_MODELS}
    for name, tag in open_clip.list_pretrained():
        tags.setdefault(name, []).append(tag)
    return tags


def _fits(name: str, pattern: str) -> bool:
    wildcard = any(sign in pattern for sign in "*?[")
    return fnmatch(name.lower(), pattern.lower() if wildcard else f"*{pattern.lower()}*")
