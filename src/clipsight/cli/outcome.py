"""How a command ends: exit codes, errors as one sentence, and what goes to the two terminal streams."""

import json
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from rich.console import Console
from rich.text import Text

SUCCESS, FAILURE, USAGE, INTERRUPTED = 0, 1, 2, 130
HANG = 4
"""How far the further lines of a wrapped line are indented."""
NARROWEST = 16
"""Columns below which text is not wrapped."""

DEBUGGING: ContextVar[bool] = ContextVar("debugging", default=False)
"""Whether errors are to be raised with their traceback."""
FLAGS: ContextVar[Mapping[str, str]] = ContextVar("flags", default={})  # noqa: B039 - never changed
"""Python names of the running command's options, with their flags."""
_ARGUMENT = re.compile(r"""\b(?P<name>[a-z_]+)=(?P<value>"[^"]*"|'[^']*'|[^\s,;)]*[^\s,;).:])""")


class UsageError(Exception):
    """The command cannot be run as it was typed; the message says what to type instead."""


def one_line(error: BaseException | str) -> str:
    """An error's message on one line, in the terms of the command line."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        text = f"{error.strerror}: {error.filename}"
    elif isinstance(error, KeyError) and error.args:
        text = str(error.args[0])
    else:
        text = str(error)
    return _as_flags(" ".join(text.split())) or type(error).__name__


def _as_flags(message: str) -> str:
    """`overwrite=True` becomes `--overwrite`, `validate=500` becomes `--validate 500`: options of this command."""
    flags = FLAGS.get()

    def flag(found: re.Match[str]) -> str:
        name, value = flags.get(found["name"]), found["value"]
        if name is None or value in ("None", "False") or value[:1] in "[{(":
            return found[0]
        return name if value == "True" else f"{name} {value}"

    return _ARGUMENT.sub(flag, message)


def print_error(message: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"clipsight: {message}\n")


def print_note(message: str) -> None:
    """One line on standard error that is worth knowing and no error."""
    print_error(f"note: {message}")


def terminal() -> Console:
    """Standard output for people: in colour on a terminal, and never wrapped when piped."""
    return Console(soft_wrap=not sys.stdout.isatty(), highlight=False)


def side_terminal() -> Console:
    """Standard error, for progress; silent when it is not a terminal."""
    return Console(stderr=True, quiet=not sys.stderr.isatty())


def say(text: str | Text, *, indent: int = 0, style: str = "") -> None:
    """Print a line for people. On a terminal its further lines hang below its first.

    Args:
        text: as it is; square brackets are not markup. indent: columns before it. style: of rich, such as "dim".
    """
    console, line = terminal(), Text(text) if isinstance(text, str) else text
    lines = [line]
    if not console.soft_wrap and console.width - indent - HANG >= NARROWEST:
        lines = list(line.wrap(console, console.width - indent - HANG))
    for number, part in enumerate(lines or [line]):
        part.rstrip()
        console.print(Text(" " * (indent + (HANG if number else 0))) + part, style=style, soft_wrap=True)


def print_json(data: Any) -> None:
    """The one JSON document that a command prints with `--json`; NaN becomes null.

    File names need not be Unicode and the terminal need not be able to show them: such characters are escaped.
    """
    plain = plain_data(data)
    text = json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(plain, indent=2, ensure_ascii=True, allow_nan=False)
    sys.stdout.write(text + "\n")


def plain_data(value: Any) -> Any:
    """Only what JSON can hold: NaN becomes None, and other objects become strings."""
    if isinstance(value, Mapping):
        return {str(key): plain_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_data(item) for item in value]
    if isinstance(value, float) and value != value:
        return None
    return value if isinstance(value, bool | int | float | str | None) else str(value)
