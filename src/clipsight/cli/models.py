"""`clipsight models`: what can be loaded by name, and which methods run on it."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from clipsight.cli.options import BUNDLED_MODELS, JsonOutput, read_method
from clipsight.cli.outcome import FAILURE, SUCCESS, print_error, print_note, say, terminal
from clipsight.cli.progress import waiting
from clipsight.cli.registry import verb

if TYPE_CHECKING:
    from clipsight.checkpoints.architectures import Architecture


@verb(100)
def models(pattern: str = "*", /, *, supports: str | None = None, output: JsonOutput = JsonOutput()) -> int:
    """List the models that can be loaded by name, and their weights.

    With --supports, list the models that a method runs on, and the reasons why it does not run on others. For models
    that have no name here (`hf:`, folders, files), load them and print `lens.card`.

    Args:
        pattern: Names to list, such as "ViT-B*"; part of a name is enough. Capital letters must match; an
            all-lower-case pattern matches either case.
        supports: A method, such as clip_surgery; `clipsight methods` lists them.
    """
    output.check()
    if supports is not None:
        return _supporting(pattern, read_method(supports), output)
    tags = {name: found for name, found in _pretrained_tags().items() if _fits(name, pattern)}
    if not tags and not output.json:
        return _none_fits(pattern)
    if output.write({"models": [{"model": name, "pretrained": found} for name, found in tags.items()]}):
        return SUCCESS
    from rich.table import Table

    table = Table("model", "pretrained", box=None, padding=(0, 2, 0, 0))
    for name, found in tags.items():
        table.add_row(name, ", ".join(found) if found else "bundled, works offline")
    terminal().print(table)
    return SUCCESS


def _supporting(pattern: str, method: str, output: JsonOutput) -> int:
    with waiting():
        from clipsight.checkpoints.architectures import architectures

        known = {name: facts for name, facts in architectures().items() if _fits(name, pattern)}
        reasons = {name: _why_not(method, facts) for name, facts in known.items()}
    ready = {name: facts for name, facts in known.items() if not reasons[name]}
    others = {name: reason for name, reason in reasons.items() if reason}
    if not known and not output.json:
        return _none_fits(pattern)
    rows = [{"model": name, **_facts(facts)} for name, facts in ready.items()]
    refused = [{"model": name, "reason": reason} for name, reason in others.items()]
    if output.write({"method": method, "models": rows, "unsupported": refused}):
        return SUCCESS
    if ready:
        _print_table(ready)
    say(f"{method} runs on {len(ready)} of {len(known)} architectures.")
    for reason in dict.fromkeys(others.values()):
        names = ", ".join(name for name, why in others.items() if why == reason)
        say(f"It does not run on {names}: {reason}")
    unlisted = [
        name
        for name in _pretrained_tags()
        if name not in architectures() and name not in BUNDLED_MODELS and _fits(name, pattern)
    ]
    if unlisted:
        print_note(f"not checked yet; load them and print lens.card: {', '.join(unlisted)}.")
    return SUCCESS


def _print_table(known: Mapping[str, "Architecture"]) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("model", "image tower", "grid", "blocks", "pools by"):
        table.add_column(column, no_wrap=column == "model")
    for name, facts in known.items():
        grid = f"{facts.grid[0]}×{facts.grid[1]}"
        depth = str(facts.depth) if facts.depth and not facts.pool_only else "-"
        table.add_row(name, facts.family, grid, depth, facts.pools)
    terminal().print(table)


def _why_not(method: str, facts: "Architecture") -> str:
    from clipsight.features import adapt_to_depth, get_recipe, why_not

    return why_not(adapt_to_depth(get_recipe(method), facts).recipe, facts)


def _facts(facts: "Architecture") -> dict[str, object]:
    from dataclasses import asdict

    return asdict(facts)


def _none_fits(pattern: str) -> int:
    print_error(f"no model's name matches {pattern!r}; `clipsight models` lists all.")
    return FAILURE


def _pretrained_tags() -> dict[str, list[str]]:
    with waiting():
        import open_clip

    tags: dict[str, list[str]] = {name: [] for name in BUNDLED_MODELS}
    for name, tag in open_clip.list_pretrained():
        tags.setdefault(name, []).append(tag)
    return tags


def _fits(name: str, pattern: str) -> bool:
    """Whether a name matches; capital letters of the pattern must match, so that "ViT-B*" leaves out ViT-bigG."""
    name = name.lower() if pattern == pattern.lower() else name
    wildcard = any(sign in pattern for sign in "*?[")
    return fnmatchcase(name, pattern if wildcard else f"*{pattern}*")
