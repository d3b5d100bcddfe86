"""Scores of compositional benchmarks as tables for people: models side by side, published scores beside ours."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from clipsight.cli.outcome import say, terminal

if TYPE_CHECKING:
    from clipsight.bench.composition import Comparison, MeanRow, PublishedScore, Report, SplitRow

LEGEND = (
    "In percent. n: scored items, of those in the release; chance: the score of random guessing; ties: share of items "
    "with a tie, which never counts as correct (with several models, the highest)."
)
PAIRED_LEGEND = (
    "↑ ↓: clearly above or below the first model on the same items (McNemar's test or a bootstrap)."
)
_PADDING = (0, 2, 0, 0)
_Arrows = Mapping[str, Mapping[tuple[str, str], str]]
"""By label of a model and (benchmark, figure), where its score differs clearly from the first model's."""


def show_scores(reports: Mapping[str, "Report"], without: Sequence[str] = ()) -> None:
    """A line for each split and each mean, a column for each model; then notes.

    Args:
        without: guards that were not measured because there are no data.
    """
    console = terminal()
    first = next(iter(reports.values()))
    table = Table("", "", box=None, padding=_PADDING)
    table.columns[0].no_wrap = True
    for label in reports:
        table.add_column(escape(label), justify="right", overflow="fold")
    clear = {label: _clear_changes(first, report) for label, report in reports.items() if report is not first}
    for name in ("n", "chance", "ties"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    ids = dict.fromkeys(row.benchmark for row in first.rows)
    for id in (*(id for id in ids if id not in first.guards), *first.guards):
        rows = [row for row in first.rows if row.benchmark == id]
        table.add_row(f"[bold]{id}[/]", f"[dim]{'guard' if id in first.guards else rows[0].protocol}[/]")
        for row in rows:
            table.add_row(*_split_cells(row, reports, clear))
        for mean in first.means:
            if mean.benchmark == id:
                table.add_row(*_mean_cells(mean, reports, clear), style="italic")
    if ids:
        console.print(table)
        say(LEGEND, style="dim")
        if clear:
            say(PAIRED_LEGEND, style="dim")
    for note in dict.fromkeys(note for report in reports.values() for note in report.notes):
        say(f"note: {note}", style="dim")
    if without:
        say(
            f"note: no data for these guards: {', '.join(without)}; `--guards {without[0]}` prints the files it needs.",
            style="dim",
        )


def show_published(beside: Mapping[str, Sequence["Comparison"]]) -> None:
    """For each figure with published scores ours, then theirs in a line each with the differences; then the sources."""
    console = terminal()
    published = list(dict.fromkeys(one.published for some in beside.values() for one in some))
    say("")
    if not published:
        say("No scores are published for these figures with this protocol.", style="dim")
        return
    sources = list(dict.fromkeys(one.source for one in published))
    table = Table("published", box=None, padding=_PADDING)
    table.columns[0].no_wrap = True
    table.add_column("theirs", justify="right")
    table.add_column("grade", no_wrap=True)
    for label in beside:
        table.add_column(escape(label), justify="right", overflow="fold")
    apart: dict[str, str] = {}
    figure = None
    for one in sorted(published, key=_figure):
        found = [next((c for c in some if c.published == one), None) for some in beside.values()]
        if _figure(one) != figure:
            figure = _figure(one)
            ours = [_percent(None if c is None else c.ours) for c in found]
            table.add_row(f"[bold]{escape(_named(one))}[/]", "", "ours", *ours)
        table.add_row(
            f"  {escape(one.model)}",
            f"{one.value:.1f}",
            f"{one.grade} ({sources.index(one.source) + 1})",
            *("–" if c is None else f"{c.difference:+.1f}" for c in found),
        )
        apart |= {_named(one): c.apart for c in found if c is not None and c.apart}
    console.print(table)
    if apart:
        said = ", ".join(f"{name} ({text})" for name, text in apart.items())
        say(f"note: measured differently from theirs: {said}", style="dim")
    for number, source in enumerate(sources, 1):
        say(f"({number}) {source}", style="dim")


def _figure(one: "PublishedScore") -> tuple[str, str, str]:
    return one.benchmark, one.name, one.metric or ""


def _named(one: "PublishedScore") -> str:
    return f"{one.benchmark} {one.name}" + (f", {one.metric}" if one.metric else "")


def _clear_changes(first: "Report", other: "Report") -> dict[tuple[str, str], str]:
    from clipsight.bench.composition import differences

    arrows = {"up": " ↑", "down": " ↓", "same": ""}
    return {figure: arrows[one.direction] for figure, one in differences(first, other).items()}


def _split_cells(row: "SplitRow", reports: Mapping[str, "Report"], clear: _Arrows) -> list[str]:
    same = [
        next((r for r in report.rows if (r.benchmark, r.split) == (row.benchmark, row.split)), None)
        for report in reports.values()
    ]
    tallies = [one.metrics.get(one.metric) for one in same if one is not None]
    there = [one for one in tallies if one is not None and one.scored]
    counts = row.counts
    scored = f"{there[0].scored:,}" if there else "0"
    if counts.expected not in (None, counts.counted):
        scored += f" of {counts.expected:,}"
    said = [f"{counts.missing:,} without image"] if counts.missing else []
    said += [f"{counts.malformed:,} malformed"] if counts.malformed else []
    said += [f"{counts.cut_texts:,} texts truncated"] if counts.cut_texts else []
    return [
        f"  {escape(row.split)}",
        row.metric + (", macro" if row.average == "macro" else ""),
        *(
            _percent(None if one is None else one.score())
            + clear.get(label, {}).get((row.benchmark, row.split), "")
            for label, one in zip(reports, same, strict=True)
        ),
        scored,
        f"{there[0].chance:.1f}" if there and there[0].chance is not None else "",
        f"{max(one.tie_rate or 0.0 for one in there):.2f}" if there else "",
        "; ".join(said),
    ]


def _mean_cells(mean: "MeanRow", reports: Mapping[str, "Report"], clear: _Arrows) -> list[str]:
    scores = [
        _percent(report.find(mean.benchmark, mean.name))
        + clear.get(label, {}).get((mean.benchmark, mean.name), "")
        for label, report in reports.items()
    ]
    part = f"without {', '.join(mean.absent)}" if mean.absent and mean.score is not None else ""
    return [f"  {escape(mean.name)}", "", *scores, "", "", "", escape(part)]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
