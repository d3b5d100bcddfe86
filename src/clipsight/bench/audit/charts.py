"""Small charts of the audit's page: a line a model on a rail, as SVG whose colours are the page's."""

from collections.abc import Callable, Sequence
from html import escape
from math import isfinite, log2
from typing import NamedTuple

from clipsight.bench.audit.style import COLOURS

WIDTH = 260
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


def percents(lanes: Sequence[Sequence[Point]], chance: float | None = None) -> str:
    """Scores from 0 to 100, a lane for each model, with a dashed line at chance."""
    return _strip(lanes, _percent, chance)


def gaps(lanes: Sequence[Sequence[Point]]) -> str:
    """Ratios on a logarithmic rail, with a dashed line at 1; what lies beyond its ends is drawn at them."""
    return _strip(lanes, _ratio, 1.0)


def percent_axis() -> str:
    """The scale above `percents`."""
    return _axis([(_percent(value), f"{value:g}") for value in (0.0, 50.0, 100.0)])


def gap_axis() -> str:
    """The scale above `gaps`."""
    return _axis([(_ratio(value), f"{value:g}×") for value in _TICKS])


def _percent(value: float) -> float:
    return _EDGE + (WIDTH - 2 * _EDGE) * min(max(value, 0.0), 100.0) / 100


def _ratio(value: float) -> float:
    low, high = map(log2, _GAPS)
    place = log2(min(max(value, _GAPS[0]), _GAPS[1]))
    return _EDGE + (WIDTH - 2 * _EDGE) * (place - low) / (high - low)


def _strip(lanes: Sequence[Sequence[Point]], scale: Callable[[float], float], line: float | None) -> str:
    height = 2 * _EDGE + _LANE * (len(lanes) - 1)
    drawn = [f'<line class="rail" x1="{_EDGE}" x2="{WIDTH - _EDGE}" y1="{height / 2}" y2="{height / 2}"/>']
    if line is not None:
        x = scale(line)
        drawn.append(f'<line class="chance" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height}"/>')
    for lane, points in enumerate(lanes):
        y = _EDGE + _LANE * lane
        for point in points:
            if isfinite(point.value):
                drawn.append(_drawn(point, scale, y, f"m{lane % COLOURS}"))
    return _svg(height, "".join(drawn))


def _drawn(point: Point, scale: Callable[[float], float], y: float, colour: str) -> str:
    low, high = (scale(end if isfinite(end) else point.value) for end in (point.low, point.high))
    dot = f"hollow {colour}" if point.hollow else colour
    return (
        f"<g><title>{escape(point.words)}</title>"
        f'<line class="{colour}" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" stroke-width="1.5" opacity=".6"/>'
        f'<circle class="{dot}" cx="{scale(point.value):.1f}" cy="{y}" r="3.6" stroke-width="1.5"/></g>'
    )


def _axis(ticks: Sequence[tuple[float, str]]) -> str:
    texts = [
        f'<text x="{x:.1f}" y="12" text-anchor="{_anchor(x)}">{escape(words)}</text>' for x, words in ticks
    ]
    return _svg(16.0, "".join(texts))


def _anchor(x: float) -> str:
    return "start" if x < 2 * _EDGE else "end" if x > WIDTH - 2 * _EDGE else "middle"


def _svg(height: float, inner: str) -> str:
    return f'<svg class="strip" width="{WIDTH}" height="{height:g}" viewBox="0 0 {WIDTH} {height:g}">{inner}</svg>'
