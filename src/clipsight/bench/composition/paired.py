"""Two reports on the same items: which differences of their scores are more than chance."""

from collections.abc import Iterator, Sequence

import numpy as np

from clipsight.bench.composition.averages import Answers, ItemTally
from clipsight.bench.composition.benchmark import get_benchmark
from clipsight.bench.composition.protocol import Average, ProtocolMean
from clipsight.bench.composition.report import Report, SplitRow
from clipsight.bench.paired import PairedDifference, PairedGroup, paired_score

_Part = tuple[str, float, Sequence[tuple[Answers, str | None]]]
"""(name, weight in the score, the questions: all of each, or those of a group)."""


def paired(
    first: Report, other: Report, benchmark: str, name: str, metric: str | None = None
) -> PairedDifference | None:
    """The second report's score minus the first one's, in points, on the questions that both answered.

    Questions are the same for both models, so the difference is judged by those on which they differ, pictures being
    what is drawn: see `clipsight.bench.paired`.

    Args:
        name: a split, or a mean of the protocol. metric: of a split, the one that stands for it by default.

    Returns:
        None where either has no score, or where its answers were not kept.
    """
    theirs = {part: (weight, answers) for part, weight, answers in _parts(other, benchmark, name, metric)}
    groups = []
    for part, weight, answers in _parts(first, benchmark, name, metric):
        if part in theirs:
            before, after = _answers(answers), _answers(theirs[part][1])
            shared = [one for one in before if one in after]
            if shared:
                wins = [np.array([kept[one][0] for one in shared], float) for kept in (before, after)]
                clusters = [before[one][1] for one in shared]
                groups.append(PairedGroup(weight=weight, clusters=clusters, first=wins[0], other=wins[1]))
    whole = sum(one.weight for one in groups)
    if not groups:
        return None
    return paired_score(
        [
            PairedGroup(
                weight=100 * one.weight / whole, clusters=one.clusters, first=one.first, other=one.other
            )
            for one in groups
        ]
    )


def differences(first: Report, other: Report) -> dict[tuple[str, str], PairedDifference]:
    """By benchmark and split, or mean, the paired differences of two reports."""
    figures = [(row.benchmark, row.split) for row in first.rows]
    figures += [(mean.benchmark, mean.name) for mean in first.means]
    found = {figure: paired(first, other, *figure) for figure in figures}
    return {figure: one for figure, one in found.items() if one is not None}


def _parts(report: Report, benchmark: str, name: str, metric: str | None) -> Iterator[_Part]:
    rows = {row.split: row for row in report.rows if row.benchmark == benchmark}
    if name in rows:
        yield from _split_parts(rows[name], metric, 1.0)
        return
    protocol = next((row.protocol for row in rows.values()), "official")
    for mean in get_benchmark(benchmark).protocols[protocol].means:
        if mean.name == name:
            yield from _mean_parts(mean, rows, 1.0)


def _mean_parts(mean: ProtocolMean, rows: dict[str, SplitRow], weight: float) -> Iterator[_Part]:
    """The parts of a mean, weighted as `report.mean_rows` weights them."""
    if mean.weights == "items":
        tallies = [_tally(rows[name], mean.metric) for name in mean.splits() if name in rows]
        kept = [(one.answers, None) for one in tallies if one is not None and one.answers is not None]
        yield mean.name, weight, kept
        return
    parts = []
    for one in mean.of:
        if isinstance(one, ProtocolMean):
            parts.append(list(_mean_parts(one, rows, 1.0)))
        elif one in rows:
            parts.append(list(_split_parts(rows[one], mean.metric, 1.0)))
    parts = [some for some in parts if some]
    for some in parts:
        for name, own, answers in some:
            yield f"{mean.name}/{name}", weight * own / len(parts), answers


def _split_parts(row: SplitRow, metric: str | None, weight: float) -> Iterator[_Part]:
    found = _tally(row, metric)
    if found is None or found.answers is None or not found.scored:
        return
    average: Average = row.average
    if average == "micro":
        yield row.split, weight, [(found.answers, None)]
        return
    for group in found.groups:
        yield f"{row.split}/{group}", weight / len(found.groups), [(found.answers, group)]


def _tally(row: SplitRow, metric: str | None) -> ItemTally | None:
    return row.metrics.get(metric or row.metric)


def _answers(some: Sequence[tuple[Answers, str | None]]) -> dict[str, tuple[bool, str]]:
    """(won, cluster) by name of the question."""
    return {
        name: (bool(won), cluster)
        for answers, group in some
        for name, cluster, own, won in zip(
            answers.names, answers.clusters, answers.groups, answers.wins, strict=True
        )
        if group is None or own == group
    }
