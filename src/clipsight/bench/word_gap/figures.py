"""The figures of the report: gaps, controls, shares, layers, and what the model does."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

from clipsight.bench.resampling import Interval
from clipsight.bench.word_gap.drawing import (
    MODEL_COLOURS,
    ROLE_COLOURS,
    Paper,
    legend,
    panels,
    ratio_axis,
    title,
)
from clipsight.bench.word_gap.part import GROUPS
from clipsight.bench.word_gap.report import ModelWords
from clipsight.bench.word_gap.statistics import GapFigures
from clipsight.bench.word_gap.tally import AGAINST

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 11.6
_KINDS = {
    "replace_obj": "wrong object",
    "replace_att": "wrong attribute",
    "replace_rel": "wrong relation",
    "swap_obj": "swapped objects",
    "swap_att": "swapped attributes",
    "add_obj": "added object",
    "add_att": "added attribute",
}
_KIND_COLOURS = {
    kind: ROLE_COLOURS[{"obj": "object", "att": "attribute", "rel": "relation"}[kind[-3:]]] for kind in _KINDS
}


def draw_gaps(models: Sequence[ModelWords], paper: Paper) -> "Figure":
    """How many times as much an object word gets, and the same with roles dealt out anew."""

    def marks(figures: GapFigures, other: str, colour: str) -> list[_Mark]:
        dealt = [_Mark(figures.shuffled, "x", paper.quiet, paper.quiet)] if other == "composition" else []
        return [*dealt, _Mark(figures.gap[other], "o", colour, colour)]

    return _ratios(
        models, paper, marks, {"gap γ": ("o", True), "roles dealt out anew (control)": ("x", False)}
    )


def draw_controls(models: Sequence[ModelWords], paper: Paper) -> "Figure":
    """The gap of the typical word, as it is and at equal position, frequency and number of tokens."""

    def marks(figures: GapFigures, other: str, colour: str) -> list[_Mark]:
        return [
            _Mark(figures.plain[other], "o", colour, colour),
            _Mark(figures.controlled[other], "D", paper.paper, colour),
        ]

    said = {"gap of the typical word": ("o", True), "at equal position, frequency, tokens": ("D", False)}
    return _ratios(models, paper, marks, said)


class _Mark(NamedTuple):
    """A ratio with its interval, and how it is drawn."""

    found: Interval
    marker: str
    face: str
    edge: str


def _ratios(
    models: Sequence[ModelWords],
    paper: Paper,
    marks: Callable[[GapFigures, str, str], list[_Mark]],
    said: Mapping[str, tuple[str, bool]],
) -> "Figure":
    """A panel for each group that objects are compared with, a line for each attribution and model."""
    from matplotlib.lines import Line2D

    names = _names(models)
    height = 1.1 + len(names) * (0.2 + 0.14 * len(models))
    figure, (row,) = panels(paper, 1, len(AGAINST), _WIDTH, height, sharey=True)
    for axes, other in zip(row, AGAINST, strict=True):
        shown: list[Interval] = []
        for place, model in enumerate(models):
            colour = MODEL_COLOURS[place % len(MODEL_COLOURS)]
            for one in model.setups:
                y = names.index(one.column.name) + _offset(place, len(models))
                drawn = marks(one.figures, other, colour)
                apart = 0.18 if len(models) == 1 else 0.3 / len(models)
                for at, mark in enumerate(drawn):
                    _interval(axes, mark, y + apart * (at - (len(drawn) - 1) / 2))
                    shown.append(mark.found)
        ratio_axis(axes, paper, shown)
        against = {"composition": "attributes and relations"}.get(other, f"{other}s")
        title(axes, f"objects over {against}", paper)
        axes.set_ylim(len(names) - 0.4, -0.6)
    row[0].set_yticks(range(len(names)), names)
    handles = [
        Line2D(
            [],
            [],
            color=paper.ink if marker != "x" else paper.quiet,
            marker=marker,
            markersize=5,
            markerfacecolor=paper.ink if full else paper.paper,
        )
        for marker, full in said.values()
    ]
    several = len(models) > 1
    legend(
        figure,
        [*(_model_handles(models) if several else ()), *handles],
        [*((model.label for model in models) if several else ()), *said],
        paper,
    )
    return figure


def draw_shares(models: Sequence[ModelWords], paper: Paper) -> "Figure":
    """Where a caption's attribution goes, method by method."""
    from matplotlib.patches import Patch

    names = _names(models)
    figure, (row,) = panels(paper, 1, len(models), _WIDTH, 0.9 + 0.3 * len(names), sharey=True)
    for axes, model in zip(row, models, strict=True):
        by = {one.column.name: one.figures for one in model.setups}
        for line, name in enumerate(names):
            left = 0.0
            for group in GROUPS if name in by else ():
                share = by[name].shares[group].value
                if not isfinite(share):
                    continue
                axes.barh(line, share, left=left, height=0.66, color=ROLE_COLOURS[group])
                if share > 0.06:
                    ink = "#16191d" if group in ("other", "mark") else "#ffffff"
                    axes.text(
                        left + share / 2,
                        line,
                        f"{share:.0%}",
                        ha="center",
                        va="center",
                        fontsize=8,
                        color=ink,
                    )
                left += share
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
        axes.set_ylim(len(names) - 0.4, -0.6)
        title(axes, model.label, paper)
    row[0].set_yticks(range(len(names)), names)
    labels = {"other": "other words", "mark": "punctuation"}
    legend(
        figure,
        [Patch(color=ROLE_COLOURS[group]) for group in GROUPS],
        [labels.get(group, f"{group}s") for group in GROUPS],
        paper,
    )
    return figure


def layered(models: Sequence[ModelWords]) -> list[str]:
    """The attributions that were asked at single blocks."""
    rows = [row.column for model in models for row in model.rows if row.column.layer is not None]
    return list(dict.fromkeys(column.name for column in rows))


def draw_layers(models: Sequence[ModelWords], paper: Paper) -> "Figure":
    """The share of one word of each role at every block, for the attributions that were asked there."""
    from matplotlib.lines import Line2D

    names = layered(models)
    roles = ("object", "attribute", "relation", "other")
    figure, grid = panels(paper, len(models), len(names), _WIDTH, 0.5 + 2.5 * len(models), sharey=False)
    for line, model in zip(grid, models, strict=True):
        for axes, name in zip(line, names, strict=True):
            rows = [row for row in model.rows if row.column.name == name and row.column.layer is not None]
            blocks = [(row.column.layer or 0) + 1 for row in rows]
            for role in roles:
                found = [row.figures.words[role] for row in rows]
                axes.fill_between(
                    blocks,
                    [one.low for one in found],
                    [one.high for one in found],
                    color=ROLE_COLOURS[role],
                    alpha=0.18,
                    linewidth=0,
                )
                axes.plot(
                    blocks,
                    [one.value for one in found],
                    color=ROLE_COLOURS[role],
                    marker="o",
                    markersize=4,
                    linewidth=1.6,
                )
            axes.set_xticks(blocks)
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_formatter(lambda y, _: f"{y:.0%}")
            axes.grid(axis="y", color=paper.line, linewidth=0.6)
            axes.set_axisbelow(True)
            axes.set_xlabel("block", fontsize=9, color=paper.quiet)
            title(axes, f"{name}, {model.label}" if len(models) > 1 else name, paper)
    handles = [Line2D([], [], color=ROLE_COLOURS[role], marker="o", markersize=4) for role in roles]
    legend(figure, handles, ["share of one object word", "attribute", "relation", "other word"], paper)
    return figure


def draw_behaviour(models: Sequence[ModelWords], paper: Paper) -> "Figure":
    """What the similarity loses when words are deleted or replaced, and how often the foil loses."""
    kinds = [kind for kind in _KINDS if any(kind in model.behaviour.foils for model in models)]
    groups = ("object", "attribute", "relation")
    figure, (row,) = panels(
        paper,
        1,
        3,
        _WIDTH,
        1.3 + 0.3 * max(len(kinds), 3) * (0.6 + 0.4 * len(models)),
        width_ratios=(1, 1.2, 1),
    )
    removed, dropped, won = row
    _bars(
        removed,
        paper,
        {one: one for one in groups},
        {one: ROLE_COLOURS[one] for one in groups},
        [m.behaviour.removed for m in models],
    )
    title(removed, "fall for each word deleted", paper)
    labels = {kind: _KINDS[kind] for kind in kinds}
    foils = [m.behaviour.foils for m in models]
    _bars(dropped, paper, labels, _KIND_COLOURS, [{k: f.drop for k, f in each.items()} for each in foils])
    title(dropped, "fall for a foil: ΔFoil", paper)
    _bars(won, paper, labels, _KIND_COLOURS, [{k: f.wins for k, f in each.items()} for each in foils])
    title(won, "captions that beat their foil", paper)
    won.axvline(0.5, color=paper.quiet, linewidth=1)
    won.set_xlim(0, 1.02)
    won.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")
    if len(models) > 1:
        legend(figure, _model_handles(models), [model.label for model in models], paper)
    return figure


def _bars(
    axes: "Axes",
    paper: Paper,
    labels: Mapping[str, str],
    colours: Mapping[str, str],
    values: Sequence[Mapping[str, Interval]],
) -> None:
    """A dot with its interval for each label and model; colours say the role, or with several models which model."""
    for place, each in enumerate(values):
        for line, key in enumerate(labels):
            if key in each:
                colour = colours[key] if len(values) == 1 else MODEL_COLOURS[place % len(MODEL_COLOURS)]
                _interval(axes, _Mark(each[key], "o", colour, colour), line + _offset(place, len(values)))
    axes.axvline(0, color=paper.quiet, linewidth=1, zorder=0)
    axes.set_yticks(range(len(labels)), list(labels.values()))
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(axis="x", color=paper.line, linewidth=0.6)
    axes.set_axisbelow(True)


def _interval(axes: "Axes", mark: _Mark, y: float) -> None:
    found = mark.found
    if not isfinite(found.value):
        return
    if isfinite(found.low):
        axes.plot(
            [found.low, found.high], [y, y], color=mark.edge, linewidth=1.4, solid_capstyle="round", zorder=2
        )
    axes.plot(
        [found.value],
        [y],
        marker=mark.marker,
        markersize=5,
        color=mark.edge,
        markerfacecolor=mark.face,
        linestyle="none",
        zorder=3,
    )


def _offset(place: int, count: int) -> float:
    return (place - (count - 1) / 2) * (0.62 / count) if count > 1 else 0.0


def _names(models: Sequence[ModelWords]) -> list[str]:
    return list(dict.fromkeys(row.column.name for model in models for row in model.setups))


def _model_handles(models: Sequence[ModelWords]) -> list:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=MODEL_COLOURS[place % len(MODEL_COLOURS)], linewidth=4)
        for place in range(len(models))
    ]
