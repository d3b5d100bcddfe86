"""Reasons to end a run before its last step, as functions of the log so far."""

from collections.abc import Callable, Sequence
from typing import Any

StopRule = Callable[[Sequence[dict[str, Any]]], str]
"""The rows of the log, the newest last, to a reason to stop, or "" for none."""


def no_better(figure: str, patience: int) -> StopRule:
    """Stop when a figure has not risen above its best in so many evaluations.

    Args:
        figure: its name in the log, such as "eval.t2i". patience: at least 1.

    Raises:
        ValueError: a patience below 1.
    """
    if patience < 1:
        raise ValueError(f"patience is {patience}; it is at least 1.")

    def rule(rows: Sequence[dict[str, Any]]) -> str:
        values = [row[figure] for row in rows if figure in row]
        if len(values) <= patience or max(values[-patience:]) > max(values[:-patience]):
            return ""
        return f"{figure} has not risen above {max(values[:-patience]):.4g} in {patience} evaluations"

    return rule


def fell(figure: str, by: float, start: float) -> StopRule:
    """Stop when a figure, such as the accuracy of a guard, has fallen more than `by` below where it started."""

    def rule(rows: Sequence[dict[str, Any]]) -> str:
        last = next((row[figure] for row in reversed(rows) if figure in row), start)
        return "" if last >= start - by else f"{figure} fell from {start:.4g} to {last:.4g}"

    return rule


def time_is_up(seconds: float, clock: Callable[[], float]) -> StopRule:
    """Stop when the clock, which starts at 0, has passed so many seconds; looked at when a row is logged."""

    def rule(rows: Sequence[dict[str, Any]]) -> str:
        return f"{seconds:.0f} seconds are over" if clock() > seconds else ""

    return rule
