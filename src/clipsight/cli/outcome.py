"""How a command ends: exit codes, errors as one sentence, and the two terminal streams."""

import json
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from rich.console import Console

DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130

DEBUGGING: ContextVar[bool] = ContextVar("debugging", default=False)
"""Whether errors are to be raised with their traceback."""


class Misuse(Exception):
    """The command was asked wrongly; the message says what to type instead."""


def sentence(error: BaseException | str) -> str:
    """An error's message on one line, without the class name, quotes or traceback."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        text = f"{error.strerror}: {error.filename}"
    elif isinstance(error, KeyError) and error.args:
        text = str(error.args[0])
    else:
        text = str(error)
    return " ".join(text.split()) or type(error).__name__


def complain(message: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"clipsight: {message}\n")


def terminal() -> Console:
    """Standard output for people: colours where there are any, lines never cut when piped."""
    return Console(soft_wrap=not sys.stdout.isatty(), highlight=False)


def side_terminal() -> Console:
    """Standard error, for progress: silent when nobody looks."""
    return Console(stderr=True, quiet=not sys.stderr.isatty())


def print_json(data: Mapping[str, Any]) -> None:
    """The one JSON document of a command that was asked for `--json`; NaN becomes null.

    Names of files need not be Unicode, nor the terminal speak it: what it cannot show is escaped as JSON has it.
    """
    plain = _plain(data)
    text = json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(plain, indent=2, ensure_ascii=True, allow_nan=False)
    sys.stdout.write(text + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value != value:
        return None
    return value if isinstance(value, bool | int | float | str | None) else str(value)
