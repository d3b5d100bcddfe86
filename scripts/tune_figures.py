"""The plots of the fine-tuning experiment: foils, γ, what composition costs, and the way from the weights before."""

import io
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tune_rows import KINDS, Row, against, arms_of, title_of, trained_on, values

from clipsight.bench.word_gap import SETUPS
from clipsight.bench.word_gap.drawing import LIGHT, MODEL_COLOURS, ROLE_COLOURS, legend, panels, title
from clipsight.results.io import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _DPI = 11.6, 144
_KINDS = {
    "replace_rel": "wrong relation",
    "swap_obj": "swapped objects",
    "replace_att": "wrong attribute",
    "swap_att": "swapped attributes",
    "add_att": "added attribute",
    "replace_obj": "wrong object",
    "add_obj": "added object",
}
_READ = "foil.replace_rel+foil.replace_att"
_ALLOWED = 1.0
"""Points of noun top-1 that may be lost."""
_OCTAVES = 2.0
"""Colours of γ reach from 1/4 to 4."""


def draw(rows: Sequence[Row], wise: Mapping[str, Any] | None, folder: Path) -> list[Path]:
    """Write the plots that the rows allow, as PNG of 144 points an inch. Gives back the paths."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    made = {
        "tune_foils": draw_foils(rows),
        "tune_gamma": draw_gamma(rows),
        "tune_pareto": draw_pareto(rows),
    }
    if wise is not None:
        made["tune_wise"] = draw_wise(wise)
    paths = []
    for name, figure in made.items():
        figure.set_dpi(_DPI)
        buffer = io.BytesIO()
        FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
        with atomic_write(folder / f"{name}.png", overwrite=True) as file:
            file.write(buffer.getvalue())
        paths.append(folder / f"{name}.png")
    return paths


def draw_foils(rows: Sequence[Row]) -> "Figure":
    """Accuracy of each kind of foil in percent: a panel a kind, a line an arm, a dot a seed."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    arms = _there(rows)
    figure, grid = panels(LIGHT, 2, 4, _WIDTH, 1.4 + 0.46 * len(arms), sharey=True)
    places = [axes for line in grid for axes in line]
    for axes, kind in zip(places, KINDS, strict=False):
        shown = []
        for line, arm in enumerate(arms):
            found = 100 * values(rows, arm, f"foil.{kind}")
            shown += found.tolist()
            _dots(axes, found, line, _colour(arm))
        low, high = min([95.0, *shown]), max([55.0, *shown])
        room = max(10 - (high - low), 0) / 2 + 1.5
        axes.set_xlim(max(low - room, 0), min(high + room, 101.5))
        axes.axvline(50, color=LIGHT.quiet, linewidth=1, linestyle=":", zorder=0)
        if len(base := values(rows, "ft", f"foil.{kind}")):
            axes.axvline(100 * base.mean(), color=_colour("ft"), linewidth=1, alpha=0.6, zorder=0)
        axes.grid(axis="x", color=LIGHT.line, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
        axes.tick_params(axis="y", length=0)
        title(axes, _KINDS[kind], LIGHT)
    places[0].set_yticks(range(len(arms)), [title_of(arm) for arm in arms])
    places[0].set_ylim(len(arms) - 0.4, -0.6)
    places[-1].set_visible(False)
    mean = Line2D([], [], color=LIGHT.ink, marker="|", markersize=13, markeredgewidth=2.5, linestyle="none")
    seed = Line2D([], [], color=LIGHT.ink, marker="o", markersize=5, alpha=0.45, linestyle="none")
    base = Line2D([], [], color=_colour("ft"), linewidth=1)
    chance = Line2D([], [], color=LIGHT.quiet, linewidth=1, linestyle=":")
    said = ["mean, percent told from their caption", "one seed", "mean of FT", "chance"]
    legend(figure, [mean, seed, base, chance], said, LIGHT)
    return figure


def draw_gamma(rows: Sequence[Row]) -> "Figure":
    """γ of every arm under every attribution, and its change against FT; colours by the logarithm, white is 1."""
    from matplotlib.colors import CenteredNorm
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import FixedLocator, FuncFormatter

    arms, setups = _there(rows), list(SETUPS)
    figure, ((axes,),) = panels(LIGHT, 1, 1, _WIDTH, 1.6 + 0.48 * len(arms))
    names = [f"gamma.{name}.composition" for name in setups]
    found = [[values(rows, arm, name) for name in names] for arm in arms]
    means = np.array([[np.log2(one.mean()) if len(one) else np.nan for one in line] for line in found])
    image = axes.imshow(means, cmap="PuOr_r", norm=CenteredNorm(0, _OCTAVES), aspect="auto")
    for line, arm in enumerate(arms):
        own = trained_on(rows, arm)
        for column, name in enumerate(names):
            mean = means[line, column]
            if not isfinite(mean):
                continue
            ink = "#ffffff" if abs(mean) > 1.25 else LIGHT.ink
            change = against(rows, arm, name).value
            second = arm not in ("zero", "ft") and isfinite(change)
            said = f"{2**mean:.2f}" + (f"\n{100 * change:+.0f} %".replace("-", "−") if second else "")
            axes.text(column, line, said, ha="center", va="center", fontsize=8.5, color=ink, linespacing=1.1)
            if setups[column] in own:
                box = Rectangle((column - 0.46, line - 0.45), 0.92, 0.9, fill=False)
                box.set(edgecolor=LIGHT.ink, linewidth=2, zorder=4)
                axes.add_patch(box)
    axes.set_yticks(range(len(arms)), [title_of(arm) for arm in arms])
    labels = [name.replace("_", "_\n").replace(".", "\n.") for name in setups]
    axes.set_xticks(range(len(setups)), labels, fontsize=8)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    title(axes, "γ: what an object word gets over an attribute or relation word; below, against FT", LIGHT)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.01)
    bar.ax.yaxis.set_major_locator(FixedLocator([-2, -1, 0, 1, 2]))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{2.0**y:g}×"))
    bar.ax.tick_params(colors=LIGHT.quiet, labelcolor=LIGHT.ink, labelsize=9)
    bar.ax.axhline(0, color=LIGHT.ink, linewidth=1.5)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    boxed = Rectangle((0, 0), 1, 1, fill=False, edgecolor=LIGHT.ink, linewidth=2)
    legend(figure, [boxed], ["trained on this attribution"], LIGHT)
    return figure


def draw_pareto(rows: Sequence[Row]) -> "Figure":
    """What is read of relations and attributes against the nouns that are still known."""
    figure, ((axes,),) = panels(LIGHT, 1, 1, 9.6, 4.8)
    base = values(rows, "ft", "noun_top1")
    if len(base):
        at = 100 * base.mean()
        axes.axvspan(at - _ALLOWED, at + _ALLOWED, color=LIGHT.line, alpha=0.45, zorder=0, linewidth=0)
        axes.annotate(
            "within 1 point of FT",
            (at, 0.985),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="top",
            fontsize=8.5,
            color=LIGHT.quiet,
        )
    for arm in _there(rows):
        x, y = 100 * values(rows, arm, "noun_top1"), 100 * values(rows, arm, _READ)
        if not len(x) or len(x) != len(y):
            continue
        colour = _colour(arm)
        axes.plot(x, y, "o", color=colour, markersize=4, alpha=0.35, linestyle="none", markeredgewidth=0)
        style: Any = {"linestyle": "none", "zorder": 3, "label": title_of(arm)}
        axes.plot([x.mean()], [y.mean()], _marker(arm), color=colour, markersize=9, **style)
    axes.margins(0.1)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g} %")
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:g} %")
    axes.set_xlabel("noun top-1", fontsize=9, color=LIGHT.quiet)
    axes.set_ylabel("wrong relation and wrong attribute told, mean", fontsize=9, color=LIGHT.quiet)
    axes.grid(color=LIGHT.line, linewidth=0.6)
    axes.set_axisbelow(True)
    figure.legend(loc="outside right center", frameon=False, fontsize=9, labelcolor=LIGHT.ink)
    return figure


def draw_wise(wise: Mapping[str, Any]) -> "Figure":
    """What is gained and what is kept between the weights before tuning and those after it."""
    gained = {
        "foil.replace_rel": ("wrong relation", ROLE_COLOURS["relation"], "o"),
        "foil.replace_att": ("wrong attribute", ROLE_COLOURS["attribute"], "s"),
    }
    kept = {
        "noun_top1": ("noun top-1", ROLE_COLOURS["object"], "o"),
        "retrieval.t2i@1": ("retrieval t2i R@1", MODEL_COLOURS[3], "s"),
        "map.pixel_auroc": ("map AUROC", MODEL_COLOURS[5], "D"),
    }
    figure, (row,) = panels(LIGHT, 1, 2, _WIDTH, 3.9)
    heads = ("gained: captions told from their foils", "kept: change against the weights before, points")
    for axes, names, head in zip(row, (gained, kept), heads, strict=True):
        for name, (label, colour, marker) in names.items():
            points = [(one["alpha"], 100 * one[name]) for one in wise["rows"] if name in one]
            alphas = sorted({alpha for alpha, _ in points})
            means = np.array([np.mean([y for alpha, y in points if alpha == at]) for at in alphas])
            if names is kept and len(means):
                means = means - means[0]
            axes.plot(alphas, means, color=colour, marker=marker, markersize=5, linewidth=1.8, label=label)
        if wise.get("chosen") is not None:
            axes.axvline(wise["chosen"], color=LIGHT.quiet, linewidth=1.2, linestyle="--", zorder=0)
            axes.annotate(
                f" chosen: {wise['chosen']:g}",
                (wise["chosen"], 0.02),
                xycoords=("data", "axes fraction"),
                fontsize=8.5,
                color=LIGHT.quiet,
            )
        axes.set_xlabel("α: 0 before tuning, 1 after it", fontsize=9, color=LIGHT.quiet)
        axes.grid(color=LIGHT.line, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.legend(frameon=False, fontsize=9, labelcolor=LIGHT.ink)
        title(axes, head, LIGHT)
    row[0].yaxis.set_major_formatter(lambda y, _: f"{y:g} %")
    row[1].axhspan(-_ALLOWED, 0, color=LIGHT.line, alpha=0.45, zorder=0, linewidth=0)
    row[1].yaxis.set_major_formatter(lambda y, _: f"{y:+g}".replace("-", "−") if y else "0")
    return figure


def _there(rows: Sequence[Row]) -> list[str]:
    return [arm for arm in arms_of(rows) if any(row.arm == arm for row in rows)]


def _colour(arm: str) -> str:
    known = ("cae-ab", "cae-gcb", "cae-pb", "cae-gb")
    if arm in known:
        return (MODEL_COLOURS[1], MODEL_COLOURS[5], MODEL_COLOURS[2], MODEL_COLOURS[3])[known.index(arm)]
    others = {"zero": "#7b858f", "ft": LIGHT.ink, "ft-hn": MODEL_COLOURS[4], "hn-cae": MODEL_COLOURS[0]}
    others |= {"cae-all": "#7a3fa0", "hn-pb": "#0b6b52", "control-pb": "#c9a27c"}
    return others.get(arm, "#a8794a")


def _marker(arm: str) -> str:
    marks = {"zero": "X", "ft": "s", "cae-gcb": "^", "cae-pb": "v", "cae-gb": "P"}
    return {
        **marks,
        "control": "D",
        "control-pb": "d",
        "ft-hn": "<",
        "hn-cae": ">",
        "hn-pb": "h",
        "cae-all": "*",
    }.get(arm, "o")


def _dots(axes: "Axes", found: np.ndarray, line: float, colour: str) -> None:
    axes.plot(found, [line] * len(found), "o", color=colour, markersize=5, alpha=0.45, markeredgewidth=0)
    if len(found):
        axes.plot([found.mean()], [line], "|", color=colour, markersize=13, markeredgewidth=2.5, zorder=3)
