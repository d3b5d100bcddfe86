"""Sections of the audit's page in plain facts: headlines, attribution, every split, published scores."""

import json
from collections.abc import Iterator, Mapping, Sequence
from math import nan
from typing import Any

from clipsight.bench.audit.charts import Point, gaps, percents
from clipsight.bench.audit.findings import SIGMAS, headlines, signed
from clipsight.bench.audit.measure import Audited
from clipsight.bench.composition import RULES, MeanRow, SplitRow, get_benchmark, paired
from clipsight.bench.word_gap import Interval
from clipsight.results.wording import printable

Facts = dict[str, Any]
Scored = tuple[float | None, float | None]
"""A score in percent and its standard error."""


def glance(models: Sequence[Audited]) -> Iterator[Facts]:
    """Groups of headlines: scores, differences from the first model, and both on a rail."""
    found = [{(one.benchmark, one.name): one for one in headlines(model.report)} for model in models]
    order = list(dict.fromkeys(key for some in found for key in some))
    for guard in (False, True):
        rows = []
        for key in order:
            some = [each.get(key) for each in found]
            there = [each for each in some if each is not None]
            if there[0].guard != guard:
                continue
            scores = [(None, None) if each is None else (each.score, each.error) for each in some]
            apart = next((each.apart for each in there if each.apart), "")
            rows.append(
                _scored(models, scores, (there[0].benchmark, there[0].figure))
                | {"title": capital(printable(there[0].title)), "said": apart}
            )
        if rows:
            yield {"title": "Guards: what it could do before" if guard else "Composition", "rows": rows}


def gap_rows(models: Sequence[Audited]) -> list[Facts]:
    """γ by method and model, as it is and at equal position, frequency and length."""
    setups = [{row.column.name: row.figures for row in one.gap.setups} if one.gap else {} for one in models]
    rows = []
    for name in dict.fromkeys(name for each in setups for name in each):
        found = [each.get(name) for each in setups]
        plain = [each and each.gap["composition"] for each in found]
        even = [each and each.controlled["composition"] for each in found]
        rows.append(
            {
                "name": name,
                "ratios": [_ratio(gap) for gap in plain],
                "plain": gaps([[_ratio_point(m.label, g)] for m, g in zip(models, plain, strict=True)]),
                "even": gaps(
                    [[_ratio_point(m.label, g, hollow=True)] for m, g in zip(models, even, strict=True)]
                ),
            }
        )
    return rows


def benchmarks(models: Sequence[Audited], *, guard: bool) -> list[Facts]:
    """A table for each benchmark that is a guard, or for each that is none."""
    reports = [one.report for one in models]
    ids = dict.fromkeys(row.benchmark for report in reports for row in report.rows)
    guards = {g for report in reports for g in report.guards}
    return [_benchmark(models, id) for id in ids if (id in guards) == guard]


def _benchmark(models: Sequence[Audited], id: str) -> Facts:
    first = next(one.report for one in models if any(row.benchmark == id for row in one.report.rows))
    rows = [row for row in first.rows if row.benchmark == id]
    means = [mean for mean in first.means if mean.benchmark == id and mean.score is not None]
    return {
        "title": capital(get_benchmark(id).title),
        "protocol": rows[0].protocol,
        "correct": RULES[rows[0].rule].correct,
        "rows": [*(_split(models, row) for row in rows), *(_mean(models, mean) for mean in means)],
    }


def _split(models: Sequence[Audited], row: SplitRow) -> Facts:
    same = [
        next((r for r in one.report.rows if (r.benchmark, r.split) == (row.benchmark, row.split)), None)
        for one in models
    ]
    tallies = [each.metrics.get(each.metric) for each in same if each is not None]
    there = [each for each in tallies if each is not None and each.scored]
    scores = [(None, None) if each is None else (each.score(), each.error()) for each in same]
    counts = row.counts
    said = [f"{counts.missing:,} without picture"] if counts.missing else []
    said += [f"{counts.malformed:,} malformed"] if counts.malformed else []
    said += [f"{counts.cut_texts:,} texts cut"] if counts.cut_texts else []
    items = f"{there[0].scored:,}" if there else "0"
    if counts.expected not in (None, counts.counted):
        items += f" of {counts.expected:,}"
    ties = max((each.tie_rate or 0.0 for each in there), default=nan)
    return _scored(models, scores, (row.benchmark, row.split), there[0].chance if there else None) | {
        "title": printable(row.split),
        "figure": row.metric + (", macro" if row.average == "macro" else ""),
        "items": items,
        "ties": "–" if ties != ties else f"{ties:.2f} %",
        "said": "; ".join(said),
        "mean": False,
    }


def _mean(models: Sequence[Audited], mean: MeanRow) -> Facts:
    same = [
        next((m for m in one.report.means if (m.benchmark, m.name) == (mean.benchmark, mean.name)), None)
        for one in models
    ]
    scores = [(None, None) if each is None else (each.score, each.error) for each in same]
    said = f"without {', '.join(mean.absent)}" if mean.absent else ""
    blank = {"figure": "", "items": "", "ties": "", "said": said, "mean": True}
    return _scored(models, scores, (mean.benchmark, mean.name)) | {"title": printable(mean.name)} | blank


def published(models: Sequence[Audited]) -> Facts:
    """Published scores with the differences of each model, by figure."""
    everything = list(dict.fromkeys(c.published for one in models for c in one.beside))
    sources = list(dict.fromkeys(one.source for one in everything))
    groups: dict[tuple[str, str, str | None], Facts] = {}
    for one in sorted(everything, key=lambda p: (p.benchmark, p.name, p.metric or "")):
        found = [next((c for c in model.beside if c.published == one), None) for model in models]
        apart = next((c.apart for c in found if c is not None and c.apart), "")
        group = groups.setdefault(
            (one.benchmark, one.name, one.metric),
            {
                "title": f"{get_benchmark(one.benchmark).title}: {one.name} {one.metric or ''}",
                "ours": ["–" if c is None else f"{c.ours:.1f}" for c in found],
                "said": f"ours: {apart}" if apart else "",
                "rows": [],
            },
        )
        group["rows"].append(
            {
                "model": one.model,
                "value": f"{one.value:.1f}",
                "differences": ["–" if c is None else signed(c.difference) for c in found],
                "grade": f"{one.grade} ({sources.index(one.source) + 1})",
            }
        )
    return {"count": len(everything), "sources": sources, "groups": list(groups.values())}


def made(models: Sequence[Audited]) -> Iterator[tuple[str, str]]:
    """Files, texts, settings and versions."""
    first = models[0].report
    yield "settings", json.dumps(dict(first.settings), ensure_ascii=False)
    yield "versions", ", ".join(f"{name} {version}" for name, version in first.versions.items())
    files: Mapping[tuple[str, str, int], str] = {
        (one.file, one.sha256, one.rows): row.benchmark
        for row in first.rows
        for one in row.files
        if one.sha256
    }
    for (file, mark, rows), id in files.items():
        yield printable(f"{id} {file}"), f"{rows:,} records, sha256 {mark}"
    for row in first.rows:
        yield printable(f"{row.benchmark} {row.split}"), f"texts sha256 {row.texts_sha256}"


def _scored(
    models: Sequence[Audited], scores: Sequence[Scored], figure: tuple[str, str], chance: float | None = None
) -> Facts:
    """Cells with errors and, of all but the first model, the paired difference; and a rail with all of them.

    Args:
        figure: the benchmark, and the split or mean.
    """
    cells = []
    for index, (score, error) in enumerate(scores):
        change = paired(models[0].report, models[index].report, *figure) if index else None
        cells.append(
            {
                "score": "–" if score is None else f"{score:.1f}",
                "error": "" if error is None else f"± {SIGMAS * error:.1f}",
                "change": "" if change is None else signed(change.value),
                "kind": "" if change is None else change.direction,
            }
        )
    lanes = [[_point(one.label, *score)] for one, score in zip(models, scores, strict=True)]
    return {"cells": cells, "strip": percents(lanes, chance)}


def _point(label: str, score: float | None, error: float | None) -> Point:
    if score is None:
        return Point(nan, nan, nan, label)
    room = SIGMAS * (error or 0.0)
    return Point(score, score - room, score + room, f"{printable(label)}: {score:.1f} ± {room:.1f}")


def _ratio(gap: Interval | None) -> tuple[str, str]:
    """A ratio and its interval; a dash where it has no meaning."""
    if gap is None or gap.value != gap.value:
        return "–", ""
    return f"{gap.value:.2f}", f"{gap.low:.2f}–{gap.high:.2f}"


def _ratio_point(label: str, gap: Interval | None, *, hollow: bool = False) -> Point:
    if gap is None:
        return Point(nan, nan, nan, label, hollow)
    words = f"{printable(label)}: {gap.value:.2f} ({gap.low:.2f}–{gap.high:.2f})"
    return Point(gap.value, gap.low, gap.high, words, hollow)


def capital(text: str) -> str:
    """With a capital first letter."""
    return text[:1].upper() + text[1:]
