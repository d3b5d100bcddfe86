"""What every figure of the report shares: colours on light and dark paper, and how one becomes SVG."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clipsight.bench.resampling import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROLE_COLOURS = {
    "object": "#d55e00",
    "attribute": "#0072b2",
    "relation": "#009e73",
    "composition": "#56829c",
    "other": "#9aa4af",
    "mark": "#d5d9de",
}
MODEL_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of Okabe and Ito: told apart by people of any colour vision."""


@dataclass(frozen=True, kw_only=True)
class Paper:
    """Colours of the page that a figure lies on."""

    ink: str
    quiet: str
    paper: str
    line: str


LIGHT = Paper(ink="#16191d", quiet="#5b636d", paper="#ffffff", line="#d5d9de")
DARK = Paper(ink="#eceff3", quiet="#9aa4af", paper="#14171b", line="#343b44")


def panels(
    paper: Paper, rows: int, columns: int, width: float, height: float, **options: Any
) -> tuple["Figure", list[list["Axes"]]]:
    """A figure of axes in the page's colours, sizes in inches of 72 points."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor=paper.paper)
    made = figure.subplots(rows, columns, squeeze=False, **options)
    for axes in made.flat:
        axes.set_facecolor(paper.paper)
        axes.tick_params(colors=paper.quiet, labelcolor=paper.ink, length=3, labelsize=9)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(paper.line)
    return figure, made.tolist()


def title(axes: "Axes", text: str, paper: Paper) -> None:
    """A heading above a panel, at its left."""
    axes.set_title(text, loc="left", fontsize=10, color=paper.ink, fontweight="bold")


def ratio_axis(axes: "Axes", paper: Paper, gaps: Sequence[Interval]) -> None:
    """A logarithmic axis for ratios, with a line at 1; wide enough for all values, intervals may leave it."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    values = [end for gap in gaps for end in gap if end == end and 0 < end < 1e4]
    low, high = min([0.8, *values]) * 0.9, max([2.0, *values]) * 1.15
    axes.set_xscale("log")
    axes.set_xlim(max(low, 0.1), min(high, 60))
    axes.xaxis.set_major_locator(FixedLocator([0.125, 0.25, 0.5, 1, 2, 4, 8, 16, 32]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}×"))
    axes.axvline(1, color=paper.quiet, linewidth=1, zorder=0)
    axes.grid(axis="x", color=paper.line, linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)


def legend(figure: "Figure", handles: Sequence[Any], labels: Sequence[str], paper: Paper) -> None:
    """One legend above everything."""
    figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=min(len(labels), 6),
        frameon=False,
        fontsize=9,
        labelcolor=paper.ink,
        handletextpad=0.5,
        columnspacing=1.6,
    )


def svg(figure: "Figure") -> str:
    """The figure as SVG, letters as outlines: it looks alike wherever it is opened."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    FigureCanvasSVG(figure)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "clipsight", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
