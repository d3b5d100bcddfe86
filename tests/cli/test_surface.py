"""The command line is a promise: names, types and defaults of every option, held by a snapshot.

A wanted change is recorded with `pytest tests/cli/test_surface.py --snapshot-update` and a line in CHANGELOG.md.
"""

import inspect

from cyclopts import ArgumentCollection

from clipsight.cli.app import COMMANDS, build_app


def _arguments(name: str) -> ArgumentCollection:
    app = build_app()
    return app[name].assemble_argument_collection(
        default_parameter=app.default_parameter, parse_docstring=True
    )


def _surface() -> str:
    lines = []
    for name in COMMANDS:
        lines.append(f"clipsight {name}: {COMMANDS[name]}")
        for argument in _arguments(name):
            if not argument.parse or argument.children:
                continue
            default = argument.field_info.default
            shown = "required" if default is inspect.Parameter.empty else repr(default)
            hint = getattr(argument.hint, "__name__", None) if isinstance(argument.hint, type) else None
            lines.append(f"  {' '.join(argument.names)} : {hint or argument.hint} = {shown}")
    return "\n".join(lines) + "\n"


def test_surface(snapshot):
    assert _surface() == snapshot


def test_every_command_describes_every_option():
    for name in COMMANDS:
        for argument in _arguments(name):
            assert argument.children or argument.parameter.help, f"{name} {argument.name} has no help"
