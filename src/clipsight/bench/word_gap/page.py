"""The report as one HTML page without outside parts: verdict, figures, captions as models weigh them, all numbers."""

import json
from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from clipsight.bench.resampling import Interval
from clipsight.bench.word_gap.drawing import DARK, LIGHT, Paper, svg
from clipsight.bench.word_gap.figures import (
    draw_behaviour,
    draw_controls,
    draw_gaps,
    draw_layers,
    draw_shares,
    layered,
)
from clipsight.bench.word_gap.report import GapRow, ModelWords, WordsReport
from clipsight.bench.word_gap.tally import AGAINST
from clipsight.bench.word_gap.verdict import favours, span, verdict
from clipsight.report import data_uri, render
from clipsight.results.wording import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEVELS = 20
_FULL = 0.4
"""Share of a caption that has full colour in the examples."""


def page(report: WordsReport) -> str:
    """The page as text. All words of the user are escaped; its policy forbids scripts and every outside address."""
    models = report.models
    return render(
        "word_gap.html.j2",
        corpus=printable(str(report.corpus["corpus"])),
        corpus_pictured=report.corpus["pictured"],
        behaviour_pictured=models[0].behaviour.pictured,
        captions=f"{models[0].captions:,}",
        models=[_model(model) for model in models],
        gaps=_on_both_papers(draw_gaps, models),
        controls=_on_both_papers(draw_controls, models),
        shares=_on_both_papers(draw_shares, models),
        layers=_on_both_papers(draw_layers, models) if layered(models) else None,
        behaviour=_on_both_papers(draw_behaviour, models),
        levels=_LEVELS,
        full=f"{_FULL:.0%}",
        made=list(_made(report)),
    )


def _on_both_papers(
    draw: "Callable[[Sequence[ModelWords], Paper], Figure]", models: Sequence[ModelWords]
) -> dict[str, str]:
    return {name: data_uri(svg(draw(models, paper))) for name, paper in (("light", LIGHT), ("dark", DARK))}


def _model(model: ModelWords) -> dict[str, Any]:
    return {
        "label": model.label,
        "verdict": verdict(model),
        "counts": _counts(model),
        "rows": [
            {
                "name": _name(row),
                "cells": [{"said": span(found), "kind": favours(found)} for found in _intervals(row)],
                "floored": f"{row.figures.floored:.0%}",
            }
            for row in model.rows
        ],
        "examples": [
            {
                "words": [printable(word) for word in one.words],
                "roles": ["" if role in ("other", "mark") else role for role in one.roles],
                "rows": [
                    (name, [{"percent": f"{100 * share:.0f}", "level": _level(share)} for share in shares])
                    for name, shares in one.shares.items()
                ],
            }
            for one in model.examples
        ],
    }


def _level(share: float) -> int:
    return min(round(_LEVELS * share / _FULL), _LEVELS) if isfinite(share) else 0


def _name(row: GapRow) -> str:
    block = "" if row.column.layer is None else f", block {row.column.layer + 1}"
    return f"{row.column.name}{block}"


def _intervals(row: GapRow) -> Iterator[Interval]:
    yield from (row.figures.gap[other] for other in AGAINST)
    yield row.figures.plain["composition"]
    yield from (row.figures.controlled[other] for other in AGAINST)
    yield from (row.figures.shuffled, row.figures.positive)


def _counts(model: ModelWords) -> str:
    said = (
        f"{model.captions:,} captions with {model.words:,} words; {model.comparable:,} have an object word and an "
        "attribute or relation word."
    )
    if model.cut:
        said += f" The end of {model.cut:,} is not seen."
    if model.malformed:
        said += f" {model.malformed:,} rows were left out."
    return said


def _made(report: WordsReport) -> Iterator[tuple[str, str]]:
    yield "corpus", printable(_json(report.corpus))
    yield "statistics", _json(report.settings)
    for model in report.models:
        about = model.about
        yield (
            "model",
            printable(f"{model.label}, weights {about.fingerprint}, {about.activation}, {about.dtype}"),
        )
        yield "roles by", ", ".join(model.extractors)
        yield from ((f"{name} was not asked", printable(why)) for name, why in model.left_out.items())
        yield from (("left out", printable(line)) for line in model.named)
    setups = {row.column.name: row.column for model in report.models for row in model.setups}
    yield from ((name, f"{column.method} {_json(column.options)}") for name, column in setups.items())
    yield "versions", ", ".join(f"{name} {version}" for name, version in report.versions.items())
    yield from _EXPLAINED


_EXPLAINED = [
    (
        "γ",
        "With p a word's share of its caption's attribution (sizes, its tokens summed): mean over captions of the mean "
        "p of object words, over that of the other group's, in captions that have both.",
    ),
    ("typical γ", "The same of geometric means within captions: the typical word, not the mean."),
    (
        "controlled γ",
        "exp of the difference of group coefficients in a least-squares fit of log p (not below 0.1 %), taken within "
        "captions, on group, relative position and its square, log of the word's frequency in the corpus, and number "
        "of its tokens.",
    ),
    ("floored", "Words below that 0.1 %: where they are many the controlled figures hang on it."),
    ("dealt anew", "γ with the roles of each caption dealt out at random among its words; must hold 1."),
    ("positive part", "γ where negative scores count as nothing."),
    (
        "intervals",
        "2.5 to 97.5 % of Poisson-bootstrap replicates; captions of one picture are drawn together.",
    ),
    (
        "deleting",
        "Words are taken out of the text, which closes up; ΔFoil: the caption is replaced by its foil.",
    ),
]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
