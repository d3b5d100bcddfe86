"""What the tuning commands print: rows of the log as they come, and what a run came to."""

import math
import shlex
import sys
from typing import TYPE_CHECKING, Any

from clipsight.cli.outcome import print_json, say

if TYPE_CHECKING:
    from clipsight.tune import TunedModel

FIGURES = {
    "batch_top1": "top-1",
    "foils_below": "false below",
    "valid": "count",
    "gradient_ratio": "gradient",
}
"""What a loss says of itself in the log -> what the progress line calls it."""


def print_document(made: "TunedModel") -> None:
    """A finished or interrupted run as JSON."""
    outcome = made.outcome
    print_json(
        {
            "model": None if made.folder is None else str(made.folder),
            "steps": outcome.step,
            "stopped": outcome.stopped,
            "skipped": outcome.skipped,
            "seconds": outcome.seconds,
            "weights": dict(made.weights),
            "last": outcome.rows[-1] if outcome.rows else {},
        }
    )


def tell(made: "TunedModel") -> None:
    """A finished or interrupted run for people."""
    outcome = made.outcome
    if outcome.rows:
        say(row_line(outcome.rows[-1]))
    say(f"Loss weights: {', '.join(f'{name} {weight:.3g}' for name, weight in made.weights.items())}")
    if outcome.skipped:
        say(f"{outcome.skipped} steps were skipped: their loss or gradient was not finite.")
    if made.folder is None:
        say(
            f"Stopped after {outcome.step} steps: {outcome.stopped}. There is no model yet; run the same command to "
            "continue."
        )
        return
    if outcome.stopped:
        say(f"Ended after {outcome.step} steps: {outcome.stopped}.")
    say(f"Model: local-dir:{made.folder} (its README.md says how to load it)")


def row_line(row: dict[str, Any]) -> str:
    """A row of the log on one line: the losses, each with its own figures, validation, speed."""
    words = [f"step {row['step']}"]
    if "loss" in row:
        words.append(f"loss {row['loss']:.3f}")
    about: dict[str, list[str]] = {}
    for name, value in row.items():
        owner, dot, figure = name.partition(".")
        if owner == "eval":
            words.append(f"{figure} {value:.2f}")
        elif dot:
            told = about.setdefault(owner, [])
            if figure == "log_gamma":
                told.append(f"γ {math.exp(value):.2f}")
            elif figure in FIGURES:
                told.append(f"{FIGURES[figure]} {value:.2f}")
    for owner, told in about.items():
        if owner in row:
            words.append(f"{owner} {row[owner]:.3f}" + (f" ({', '.join(told)})" if told else ""))
    if "seconds_per_step" in row:
        words.append(f"{row['seconds_per_step']:.2f} s/step")
    return " · ".join(words)


def command_line() -> str:
    """The command as it was typed; "" if this process was not started as one."""
    return shlex.join(["clipsight", *sys.argv[1:]]) if sys.argv[1:2] == ["tune"] else ""
