"""The front door: reads the arguments, runs one command, turns what goes wrong into a sentence and an exit code.

Commands are named here and imported only when one is run, so that `clipsight --help` loads neither torch nor numpy.
"""

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper

from cyclopts import App, CycloptsError, Parameter

from clipsight.cli.outcome import DEBUGGING, DONE, FAILED, INTERRUPTED, MISUSED, Misuse, complain, sentence
from clipsight.errors import ClipsightError, ClipsightWarning

COMMANDS = {
    "explain": "Where in the picture does the model see these words?",
    "words": "Which words of a caption carry its match with the picture?",
    "classify": "Which of these labels fits the picture best?",
    "segment": "What is where in this picture, of these names?",
    "tag": "Which of these things are in the picture? Several may be, or none.",
    "points": "Where should a segmenter such as SAM be told to look for these words?",
    "anomaly": "Is this thing damaged, and where?",
    "demo": "Explain a bundled picture with the bundled model, offline.",
    "world": "Write a data set of the emoji world, with perfect ground truth.",
    "models": "List the models that can be loaded by name.",
    "methods": "List the methods that make maps, with their sources and published numbers.",
    "tune": "Fine-tune a model so that relations and attributes count.",
    "bench": "Measure: recipes, tasks, composition; or audit a model.",
    "doctor": "Look this installation over: versions, devices, speed settings, bundled model.",
}
BENCHES = {
    "world": "Measure where the maps of recipes point, what they name and what they cost, where the truth is known.",
    "tasks": "Measure masks, tags, points, damage and sentences, where the truth is known.",
    "composition": "Does the model read who does what to whom? The compositional benchmarks, on everyone's protocol.",
    "audit": "Attribution gap, composition and guards of one model or several, in one HTML page.",
}
"""What `clipsight bench` measures."""
TUNINGS = {
    "cae": "Raise the attribution of relations and attributes: CLIP-CAE, reconstructed.",
    "contrastive": "The contrastive loss alone, with false captions or a teacher where asked.",
    "wise": "Between a model and its tuned self: the best place at which retrieval does not suffer.",
    "soup": "The mean of the weights of several tuned models.",
}
"""What `clipsight tune` does."""
DEBUG = "--debug"


def build_app() -> App:
    """The command tree; nothing behind a command is imported yet."""
    app = App(
        name="clipsight",
        help="See what CLIP sees. Try `clipsight demo` first: it needs no network.",
        help_epilogue="Exit codes: 0 done, 1 failed, 2 asked wrongly. With `--debug` errors show their origin.",
        help_format="markdown",
        default_parameter=Parameter(negative=""),
        suppress_keyboard_interrupt=False,
        version=_version,
    )
    for order, (name, help_line) in enumerate(COMMANDS.items()):
        if name == "bench":
            app.command(_bench_app(order))
        elif name == "tune":
            app.command(_tune_app(order))
        else:
            app.command(f"clipsight.cli.{name}:{name}", name=name, help=help_line, sort_key=order)
    return app


def _bench_app(order: int) -> App:
    app = App(name="bench", help=COMMANDS["bench"], sort_key=order)
    for number, (name, help_line) in enumerate(BENCHES.items()):
        module = "bench" if name in ("world", "tasks") else f"bench_{name}"
        app.command(f"clipsight.cli.{module}:{name}", name=name, help=help_line, sort_key=number)
    return app


def _tune_app(order: int) -> App:
    app = App(name="tune", help=COMMANDS["tune"], sort_key=order)
    for number, (name, help_line) in enumerate(TUNINGS.items()):
        app.command(f"clipsight.cli.tune:{name}", name=name, help=help_line, sort_key=number)
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        argv: the words after `clipsight`; None for those of this process.

    Returns:
        0 done, 1 failed, 2 asked wrongly, 130 interrupted.
    """
    if argv is None and isinstance(sys.stdout, TextIOWrapper):
        # a result is not lost because a terminal cannot show its name
        sys.stdout.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if argv is None else argv)
    debug = DEBUG in words
    words = [word for word in words if word != DEBUG]
    DEBUGGING.set(debug)
    try:
        with _only_our_warnings(debug):
            code = build_app()(words, exit_on_error=False, print_error=False, result_action="return_value")
        return DONE if code is None else code
    except KeyboardInterrupt:
        complain("stopped.")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`clipsight models | head`): not an error, and the last flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        if debug:
            raise
        complain(sentence(error))
        if isinstance(error, CycloptsError | Misuse):
            return MISUSED
        if not isinstance(error, ClipsightError | ValueError | TypeError | OSError | ImportError):
            complain(
                f"this {type(error).__name__} was not foreseen; the same command with {DEBUG} shows where it came from."
            )
        return FAILED


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
        warnings.showwarning = lambda message, *_, **__: complain(f"note: {sentence(message)}")
        root.setLevel(logging.ERROR)
        try:
            yield
        finally:
            root.setLevel(level)


def _version() -> str:
    import clipsight

    return clipsight.__version__
