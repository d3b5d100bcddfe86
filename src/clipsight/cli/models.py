"""`clipsight models`: what can be loaded by name."""

from fnmatch import fnmatch

from clipsight.cli.options import BUNDLED
from clipsight.cli.outcome import DONE, FAILED, complain, print_json, terminal


def models(pattern: str = "*", /, *, json: bool = False) -> int:
    """List the models that can be loaded by name, with the tags of their weights.

    Whether a model's tower is supported is said when it is loaded; `lens.card` tells what each can do.

    Args:
        pattern: Names to list, such as "ViT-B*"; a part of a name is enough.
        json: Print one JSON document on standard output and nothing else.
    """
    tags = {name: found for name, found in _pretrained_tags().items() if _fits(name, pattern)}
    if json:
        print_json({"models": [{"model": name, "pretrained": found} for name, found in tags.items()]})
        return DONE
    if not tags:
        complain(f"no model's name fits {pattern!r}; `clipsight models` lists all.")
        return FAILED
    from rich.table import Table

    table = Table("model", "pretrained", box=None, padding=(0, 2, 0, 0))
    for name, found in tags.items():
        table.add_row(name, ", ".join(found) if found else "bundled, needs no network")
    terminal().print(table)
    return DONE


def _pretrained_tags() -> dict[str, list[str]]:
    import open_clip

    tags: dict[str, list[str]] = {BUNDLED: []}
    for name, tag in open_clip.list_pretrained():
        tags.setdefault(name, []).append(tag)
    return tags


def _fits(name: str, pattern: str) -> bool:
    wildcard = any(sign in pattern for sign in "*?[")
    return fnmatch(name.lower(), pattern.lower() if wildcard else f"*{pattern.lower()}*")
