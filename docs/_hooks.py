"""Pages that state figures and options take them from where they are kept, so that they cannot go stale.

`<!-- figures: PATH KEY -->` becomes tables of a JSON file (KEY, a name inside it, may be left out), and
`<!-- help: VERB -->` the help page of a command. A file that is not there yet gives a plain sentence, not a number.
"""

import io
import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs with each page's text."""
    markdown = re.sub(r"<!-- figures: (\S+)(?: (\S+))? -->", lambda m: figures(m[1], m[2]), markdown)
    return re.sub(r"<!-- help: (\w+) -->", lambda m: help_page(m[1]), markdown)


def figures(path: str, key: str | None) -> str:
    """Tables for the numbers in a JSON file of this repository."""
    file = ROOT / path
    data = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    data = data.get(key) if key else data
    return "\n\n".join(_tables(data)) if data else f"*No figures are recorded in `{path}` yet.*"


def help_page(verb: str) -> str:
    """What `clipsight VERB --help` prints."""
    from rich.console import Console

    from clipsight.cli.app import build_app

    text = io.StringIO()
    build_app()(
        [verb, "--help"],
        console=Console(file=text, width=100, color_system=None),
        result_action="return_value",
    )
    return f"```text\n{text.getvalue().rstrip()}\n```"


def _tables(data: Any, title: str = "") -> list[str]:
    """A row for each plain value, a table for each list of rows, a titled table for each group."""
    if isinstance(data, list) and data and all(isinstance(row, dict) for row in data):
        columns = list(dict.fromkeys(name for row in data for name in row))
        return _titled(title, columns, [[_cell(row.get(name, "")) for name in columns] for row in data])
    plain = {
        name: value for name, value in data.items() if not isinstance(value, dict) and not _is_rows(value)
    }
    tables = (
        _titled(title, ["what", "value"], [[name, _cell(value)] for name, value in plain.items()])
        if plain
        else []
    )
    for name, value in data.items():
        if name not in plain:
            tables += _tables(value, name)
    return tables


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _titled(title: str, columns: list[str], rows: list[list[str]]) -> list[str]:
    lines = [" | ".join(columns), " | ".join("---" for _ in columns), *(" | ".join(row) for row in rows)]
    return [*([f"**{title}**"] if title else []), "\n".join(f"| {line} |" for line in lines)]


def _cell(value: Any) -> str:
    text = (
        f"{value:.4g}"
        if isinstance(value, float)
        else ", ".join(map(str, value))
        if isinstance(value, list)
        else str(value)
    )
    return text.replace("|", "\\|")
