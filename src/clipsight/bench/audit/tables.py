"""Sections of the audit's page: headlines, attribution, every split, guards, published scores."""

from collections.abc import Sequence
from html import escape
from math import nan

from clipsight.bench.audit.cells import (
    capital,
    group_row,
    labels,
    named,
    ratio,
    ratio_point,
    score_cells,
    score_lanes,
    table,
)
from clipsight.bench.audit.charts import gap_axis, gaps, percent_axis, percents
from clipsight.bench.audit.findings import SIGMAS, headlines, signed
from clipsight.bench.audit.measure import Audit, Audited
from clipsight.bench.composition import RULES, MeanRow, SplitRow, get_benchmark
from clipsight.results.wording import printable


def glance_section(models: Sequence[Audited]) -> str:
    """A line for each headline: scores, differences from the first model, and both on a rail."""
    found = [{(one.benchmark, one.name): one for one in headlines(model.report)} for model in models]
    rows = []
    order = list(dict.fromkeys(key for some in found for key in some))
    for guard in (False, True):
        keys = [key for key in order if next(some[key] for some in found if key in some).guard == guard]
        if keys:
            rows.append(
                group_row("Guards: what it could do before" if guard else "Composition", len(models) + 3)
            )
        for key in keys:
            some = [each.get(key) for each in found]
            one = next(each for each in some if each is not None)
            scores = [(None, None) if each is None else (each.score, each.error) for each in some]
            apart = escape(next((each.apart for each in some if each is not None and each.apart), ""))
            strip = percents(score_lanes(models, scores))
            cells = score_cells(models, scores, one.benchmark, one.figure)
            rows.append(
                f"<tr><th>{escape(capital(printable(one.title)))}</th>{cells}<td>{strip}</td>"
                f'<td class="quiet">{apart}</td></tr>'
            )
    against = (
        f" Differences are against {escape(printable(models[0].label))}, in points; grey ones are no "
        "more than chance gives on the same items."
        if len(models) > 1
        else ""
    )
    return f'<p class="how">Percent, ± {SIGMAS:g} standard errors.{against}</p>' + table(
        ("", *labels(models), percent_axis(), ""), rows, numbers=len(models), wide=True
    )


def gap_section(audit: Audit) -> str:
    """γ by method and model, as it is and at equal position, frequency and length; or why it was not measured."""
    models = audit.models
    said = [
        f'<p class="warn">{named(models, index)}: not measured. {escape(printable(one.without_gap))}</p>'
        for index, one in enumerate(models)
        if one.gap is None
    ]
    there = [one for one in models if one.gap is not None and one.gap.setups]
    if not there:
        return "".join(said) or '<p class="warn">Not measured: no caption could be compared.</p>'
    names = list(dict.fromkeys(row.column.name for one in there if one.gap for row in one.gap.setups))
    rows = []
    for name in names:
        cells, lanes, even = [], [], []
        for one in models:
            row = next((r for r in one.gap.setups if r.column.name == name), None) if one.gap else None
            gap = None if row is None else row.figures.gap["composition"]
            cells.append(f'<td class="number">{ratio(gap)}</td>')
            lanes.append([ratio_point(one.label, gap)])
            even.append(
                [
                    ratio_point(
                        one.label, None if row is None else row.figures.controlled["composition"], hollow=True
                    )
                ]
            )
        rows.append(
            f"<tr><th>{escape(name)}</th>{''.join(cells)}<td>{gaps(lanes)}</td><td>{gaps(even)}</td></tr>"
        )
    heads = ("", *labels(models), f"γ{gap_axis()}", f"all else equal{gap_axis()}")
    counts = ", ".join(
        f"{one.gap.comparable:,} of {one.gap.captions:,} captions" for one in there[:1] if one.gap is not None
    )
    return (
        "<p>How many times as much attribution an object word gets as an attribute or relation word of the same "
        "caption (γ), by method, with 95 % intervals over pictures. Right of 1× objects get more. The last column "
        "compares words at the same place, equally frequent, of as many tokens. A gap says where attribution goes, not "
        "that composition is not read: that is what the benchmarks below ask. "
        f'<span class="quiet">{escape(capital(audit.captions))}; {counts} can be compared.</span></p>'
        + "".join(said)
        + table(heads, rows, numbers=len(models), wide=True)
    )


def benchmarks_section(models: Sequence[Audited], *, guard: bool) -> str:
    """A table for each benchmark that is a guard, or for each that is none."""
    reports = [one.report for one in models]
    ids = dict.fromkeys(row.benchmark for report in reports for row in report.rows)
    parts = [
        _benchmark(models, id)
        for id in ids
        if (id in {g for report in reports for g in report.guards}) == guard
    ]
    return "".join(parts) or '<p class="warn">None was measured.</p>'


def _benchmark(models: Sequence[Audited], id: str) -> str:
    first = next(one.report for one in models if any(row.benchmark == id for row in one.report.rows))
    rows = [row for row in first.rows if row.benchmark == id]
    means = [mean for mean in first.means if mean.benchmark == id and mean.score is not None]
    rule = RULES[rows[0].rule]
    lines = [_split_line(models, row) for row in rows]
    lines += [_mean_line(models, mean) for mean in means]
    heads = ("", "figure", *labels(models), percent_axis(), "items", "ties", "")
    return (
        f"<h3>{escape(capital(get_benchmark(id).title))}</h3>"
        f'<p class="how">{escape(rows[0].protocol)} protocol. An item is answered when: {escape(rule.correct)}.</p>'
        + table(heads, lines, numbers=len(models), wide=True)
    )


def _split_line(models: Sequence[Audited], row: SplitRow) -> str:
    same = [
        next((r for r in one.report.rows if (r.benchmark, r.split) == (row.benchmark, row.split)), None)
        for one in models
    ]
    tallies = [each.metrics.get(each.metric) for each in same if each is not None]
    there = [each for each in tallies if each is not None and each.scored]
    chance = there[0].chance if there else None
    scores = [(None, None) if each is None else (each.score(), each.error()) for each in same]
    counts = row.counts
    said = [f"{counts.missing:,} without picture"] if counts.missing else []
    said += [f"{counts.malformed:,} malformed"] if counts.malformed else []
    said += [f"{counts.cut_texts:,} texts cut"] if counts.cut_texts else []
    items = f"{there[0].scored:,}" if there else "0"
    if counts.expected not in (None, counts.counted):
        items += f" of {counts.expected:,}"
    ties = max((each.tie_rate or 0.0 for each in there), default=nan)
    figure = row.metric + (", macro" if row.average == "macro" else "")
    cells = score_cells(models, scores, row.benchmark, row.split)
    return (
        f"<tr><th>{escape(printable(row.split))}</th><td>{escape(figure)}</td>{cells}"
        f'<td>{percents(score_lanes(models, scores), chance)}</td><td class="number">{items}</td>'
        f'<td class="number">{"–" if ties != ties else f"{ties:.2f} %"}</td>'
        f'<td class="quiet">{"; ".join(said)}</td></tr>'
    )


def _mean_line(models: Sequence[Audited], mean: MeanRow) -> str:
    same = [
        next((m for m in one.report.means if (m.benchmark, m.name) == (mean.benchmark, mean.name)), None)
        for one in models
    ]
    scores = [(None, None) if each is None else (each.score, each.error) for each in same]
    absent = f"without {', '.join(mean.absent)}" if mean.absent else ""
    return (
        f'<tr class="mean"><th>{escape(printable(mean.name))}</th><td></td>'
        f"{score_cells(models, scores, mean.benchmark, mean.name)}"
        f"<td>{percents(score_lanes(models, scores))}</td><td></td><td></td>"
        f'<td class="quiet">{escape(absent)}</td></tr>'
    )


def guards_section(audit: Audit) -> str:
    """The guards, and which were not measured."""
    without = ", ".join(get_benchmark(id).title for id in audit.without)
    said = f'<p class="how">Not measured, there are no data: {escape(without)}.</p>' if without else ""
    return (
        "<p>What the model could do before someone made it better at composition. A gain above that is paid for here "
        "is no gain for everyone.</p>" + benchmarks_section(audit.models, guard=True) + said
    )


def published_section(models: Sequence[Audited]) -> str:
    """Published scores with the differences of each model, folded."""
    published = list(dict.fromkeys(c.published for one in models for c in one.beside))
    if not published:
        return '<p class="quiet">Nothing is published for these figures by this protocol.</p>'
    sources = list(dict.fromkeys(one.source for one in published))
    rows, figure = [], None
    for one in sorted(published, key=lambda p: (p.benchmark, p.name, p.metric or "")):
        found = [next((c for c in model.beside if c.published == one), None) for model in models]
        if (one.benchmark, one.name, one.metric) != figure:
            figure = (one.benchmark, one.name, one.metric)
            name = f"{get_benchmark(one.benchmark).title}: {one.name} {one.metric or ''}"
            apart = next((c.apart for c in found if c is not None and c.apart), "")
            ours = "".join(
                f'<td class="number"><b>{"–" if c is None else f"{c.ours:.1f}"}</b></td>' for c in found
            )
            rows.append(
                f'<tr class="group"><th>{escape(name)}</th><td class="number quiet">ours</td>{ours}'
                f'<td class="quiet">{escape(f"ours: {apart}" if apart else "")}</td></tr>'
            )
        cells = "".join(
            f'<td class="number">{"–" if c is None else signed(c.difference)}</td>' for c in found
        )
        rows.append(
            f'<tr><td>{escape(one.model)}</td><td class="number">{one.value:.1f}</td>{cells}'
            f'<td class="quiet">{escape(one.grade)} ({sources.index(one.source) + 1})</td></tr>'
        )
    heads = ("", "theirs", *labels(models), "grade")
    listed = "".join(f"<li>{escape(source)}</li>" for source in sources)
    scores = table(heads, rows, numbers=len(models))
    return (
        '<p class="how">Of the same protocol; differences are ours minus theirs, in points. Grade: "read" in the '
        'source, "second-hand" in a table that repeats it, "derived" by arithmetic.</p>'
        f"<details><summary>{len(published)} scores</summary>{scores}<ol class='notes'>{listed}</ol></details>"
    )
