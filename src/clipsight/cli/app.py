"""The front door: reads the arguments, runs one command, turns errors into a sentence and an exit code.

Modules of commands are light: `clipsight --help` loads neither torch nor numpy.
"""

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper

from cyclopts import App, CycloptsError, Parameter

from clipsight.cli.outcome import (
    DEBUGGING,
    FAILURE,
    FLAGS,
    INTERRUPTED,
    SUCCESS,
    USAGE,
    UsageError,
    one_line,
    print_error,
    print_note,
)
from clipsight.cli.registry import verbs
from clipsight.errors import ClipsightError, ClipsightWarning

DEBUG = "--debug"
EXIT_CODES = (
    "Exit codes: 0 success, 1 failure, 2 usage error. Add `--debug` to see the traceback of an error."
)


def build_app() -> App:
    """The command tree."""
    app = App(
        name="clipsight",
        help="See what CLIP sees. Start with `clipsight demo`, which needs no network.",
        help_epilogue=EXIT_CODES,
        help_format="markdown",
        default_parameter=Parameter(negative="", consume_multiple=True),  # `-t dog cat`
        suppress_keyboard_interrupt=False,
        version=_version,
    )
    commands, groups = verbs()
    apps = {"": app}
    for group in groups:
        apps[group.name] = App(name=group.name, help=group.summary, sort_key=group.place)
        app.command(apps[group.name])
    for one in commands:
        apps[one.group].command(one.run, name=one.name, sort_key=one.place)
    app.register_install_completion_command(help="Install tab completion for your shell.")
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        argv: the words after `clipsight`; None for those of this process.

    Returns:
        0 success, 1 failure, 2 usage error, 130 interrupted.
    """
    if argv is None and isinstance(sys.stdout, TextIOWrapper):
        # Results survive a terminal that cannot show their names.
        sys.stdout.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if argv is None else argv)
    debug = DEBUG in words
    words = [word for word in words if word != DEBUG]
    DEBUGGING.set(debug)
    FLAGS.set({})
    try:
        with _only_our_warnings(debug), _ended_cleanly():
            return _run(words)
    except KeyboardInterrupt:
        print_error("stopped.")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`clipsight models | head`): not an error, and the last flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SUCCESS
    except Exception as error:
        if debug:
            raise
        print_error(one_line(error))
        if isinstance(error, CycloptsError | UsageError):
            return USAGE
        if not isinstance(error, ClipsightError | ValueError | TypeError | OSError | ImportError):
            print_error(
                f"this {type(error).__name__} is a bug; add {DEBUG} to see where it comes from, and please report it."
            )
        return FAILURE


def _run(words: Sequence[str]) -> int:
    app = build_app()
    FLAGS.set(_flags(app, words))
    try:
        command, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    except ValueError as error:  # options that the Python API refuses
        raise UsageError(one_line(error)) from error
    code = command(*bound.args, **bound.kwargs)
    return SUCCESS if code is None else code


def _flags(app: App, words: Sequence[str]) -> Mapping[str, str]:
    """Python names of the options of the command in `words`, with their flags."""
    _, apps, _ = app.parse_commands(list(words))
    last = apps[-1]
    if not getattr(last.default_command, "__module__", "").startswith("clipsight.cli."):
        return {}  # help, version, completion, or a group of commands
    arguments = last.assemble_argument_collection(default_parameter=app.default_parameter)
    return {
        argument.field_info.name: argument.name
        for argument in arguments
        if argument.parse and not argument.children and argument.name.startswith("--")
    }


@contextmanager
def _ended_cleanly() -> Iterator[None]:
    """A `kill` ends the process as an exception does, so that half-written files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _only_our_warnings(debug: bool) -> Iterator[None]:
    """Clipsight's own warnings as one line each; those of libraries only when debugging."""
    if debug:
        yield
        return
    root = logging.getLogger()
    level = root.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ClipsightWarning)
        warnings.showwarning = lambda message, *_, **__: print_note(one_line(message))
        root.setLevel(logging.ERROR)
        try:
            yield
        finally:
            root.setLevel(level)


def _version() -> str:
    import clipsight

    return clipsight.__version__
