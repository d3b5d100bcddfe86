"""The command line is a promise: names, types and defaults of every option, held by a snapshot.

A wanted change is recorded with `pytest tests/cli/test_surface.py --snapshot-update` and a line in CHANGELOG.md.
"""

import inspect
import types
import typing
from pathlib import Path

import pytest
from cyclopts import ArgumentCollection

from clipsight.cli.app import build_app
from clipsight.cli.registry import verb, verbs


def _lines() -> dict[str, str]:
    """Commands in words, with their line of help."""
    commands, groups = verbs()
    listed = sorted([*(one for one in commands if not one.group), *groups], key=lambda one: one.place)
    below = [one for group in groups for one in commands if one.group == group.name]
    return {
        **{one.name: one.summary for one in listed},
        **{f"{one.group} {one.name}": one.summary for one in below},
    }


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
    for name, summary in _lines().items():
        lines.append(f"clipsight {name}: {summary}")
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
    for name in _lines():
        for argument in _arguments(name):
            assert argument.children or argument.parameter.help, f"{name} {argument.name} has no help"


def test_every_verb_that_takes_images_takes_words_json_out_and_overwrite_alike():
    for name in ("explain", "words", "classify", "segment", "tag", "points", "anomaly"):
        flags = {flag for argument in _arguments(name) for flag in argument.names}
        assert {"-t", "--text", "--json", "--out", "--overwrite", "--format", "--verbose", "-v"} <= flags, (
            name
        )


def test_every_verb_prints_json():
    for name in _lines():
        if name not in ("bench", "tune"):
            assert "--json" in {flag for argument in _arguments(name) for flag in argument.names}, name


def test_a_verb_is_added_by_one_file(tmp_path, monkeypatch, capsys):
    """A module beside the others that decorates a function; nothing else names it."""
    import clipsight.cli
    from clipsight.cli import main, registry

    (tmp_path / "greet.py").write_text(
        "from clipsight.cli.registry import verb\n\n\n"
        "@verb(5)\ndef greet(name: str) -> int:\n"
        '    """Say hello.\n\n    Args:\n        name: Whom to greet.\n    """\n'
        "    print('hello', name)\n    return 0\n"
    )
    monkeypatch.setattr(clipsight.cli, "__path__", [*clipsight.cli.__path__, str(tmp_path)])
    monkeypatch.setattr(registry, "_VERBS", dict(registry._VERBS))
    assert main(["greet", "Ada"]) == 0
    assert main(["--help"]) == 0
    assert capsys.readouterr().out.count("hello Ada") == 1
    assert _lines()["greet"] == "Say hello."
    with pytest.raises(ValueError, match="two commands are called 'greet'"):

        @verb(6)
        def greet() -> int:
            """Say hello."""
            return 0
