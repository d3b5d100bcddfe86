"""Small charts of the audit's page: a line for each model on a rail, as SVG whose colours are the page's."""

from collections.abc import Callable, Sequence
from math import isfinite, log2
from typing import NamedTuple

from markupsafe import Markup

from clipsight.report import render

WIDTH = 260
COLOURS = 6  # that the page has for models
_EDGE = 8.0
_LANE = 9.0
_GAPS = (0.25, 16.0)
_TICKS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


class Point(NamedTuple):
    """A value with an interval, and what is said when it is pointed at; NaN is not drawn."""

    value: float
    low: float
    high: float
    words: str
    hollow: bool = False


def percents(lanes: Sequence[Sequence[Point]], chance: float | None = None) -> Markup:
    """Scores from 0 to 100, a lane for each model, with a dashed line at chance."""
    return _strip(lanes, _percent, chance)


def gaps(lanes: Sequence[Sequence[Point]]) -> Markup:
    """Ratios on a logarithmic rail, with a dashed line at 1; what lies beyond its ends is drawn at them."""
    return _strip(lanes, _ratio, 1.0)


def percent_axis() -> Markup:
    """The scale above `percents`."""
    return _axis([(_percent(value), f"{value:g}") for value in (0.0, 50.0, 100.0)])


def gap_axis() -> Markup:
    """The scale above `gaps`."""
    return _axis([(_ratio(value), f"{value:g}×") for value in _TICKS])


def _percent(value: float) -> float:
    return _EDGE + (WIDTH - 2 * _EDGE) * min(max(value, 0.0), 100.0) / 100


def _ratio(value: float) -> float:
    low, high = map(log2, _GAPS)
    place = log2(min(max(value, _GAPS[0]), _GAPS[1]))
    return _EDGE + (WIDTH - 2 * _EDGE) * (place - low) / (high - low)


def _strip(lanes: Sequence[Sequence[Point]], scale: Callable[[float], float], line: float | None) -> Markup:
    marks = [
        {
            "words": point.words,
            "x": scale(point.value),
            "low": scale(point.low if isfinite(point.low) else point.value),
            "high": scale(point.high if isfinite(point.high) else point.value),
            "y": _EDGE + _LANE * lane,
            "colour": f"m{lane % COLOURS}",
            "hollow": point.hollow,
        }
        for lane, points in enumerate(lanes)
        for point in points
        if isfinite(point.value)
    ]
    rail = {"low": _EDGE, "high": WIDTH - _EDGE, "line": None if line is None else scale(line)}
    height = 2 * _EDGE + _LANE * (len(lanes) - 1)
    return render("strip.svg.j2", width=WIDTH, height=height, marks=marks, rail=rail, ticks=())


def _axis(ticks: Sequence[tuple[float, str]]) -> Markup:
    return render("strip.svg.j2", width=WIDTH, height=16.0, marks=(), rail=None, ticks=ticks)
