"""The command line is a promise: names, types and defaults of every option, held by a snapshot.

A wanted change is recorded with `pytest tests/cli/test_surface.py --snapshot-update` and a line in CHANGELOG.md.
"""

import inspect
import types
import typing
from pathlib import Path

from cyclopts import ArgumentCollection

from clipsight.cli.app import BENCHES, COMMANDS, TUNINGS, build_app

LINES = {
    **COMMANDS,
    **{f"bench {name}": line for name, line in BENCHES.items()},
    **{f"tune {name}": line for name, line in TUNINGS.items()},
}
"""Commands in words, with their line of help."""


def _arguments(name: str) -> ArgumentCollection | tuple[()]:
    root = build_app()
    app = root
    for word in name.split():
        app = app[word]
    if app.default_command is None:  # it only has commands of its own
        return ()
    return app.assemble_argument_collection(default_parameter=root.default_parameter, parse_docstring=True)


def _name(hint: object) -> str:
    """A type as written in this project, the same under every version of Python."""
    parts = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return "|".join(map(str, parts))
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return " | ".join(map(_name, parts))
    if parts:
        return f"{typing.get_origin(hint).__name__}[{', '.join(map(_name, parts))}]"
    return {types.NoneType: "None", Ellipsis: "..."}.get(hint) or hint.__name__


def _surface() -> str:
    lines = []
    for name in LINES:
        lines.append(f"clipsight {name}: {LINES[name]}")
        for argument in _arguments(name):
            if not argument.parse or argument.children:
                continue
            default = argument.field_info.default
            shown = "required" if default is inspect.Parameter.empty else repr(default)
            if isinstance(default, Path):
                shown = default.as_posix()
            lines.append(f"  {' '.join(argument.names)} : {_name(argument.hint)} = {shown}")
    return "\n".join(lines) + "\n"


def test_surface(snapshot):
    assert _surface() == snapshot


def test_every_command_describes_every_option():
    for name in LINES:
        for argument in _arguments(name):
            assert argument.children or argument.parameter.help, f"{name} {argument.name} has no help"
