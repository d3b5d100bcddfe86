"""Pieces of the audit's tables: heads with the models' colours, cells with errors and differences."""

from collections.abc import Iterable, Sequence
from html import escape
from math import nan

from clipsight.bench.audit.charts import Point
from clipsight.bench.audit.findings import SIGMAS, signed
from clipsight.bench.audit.measure import Audited
from clipsight.bench.audit.style import COLOURS
from clipsight.bench.composition.paired import paired
from clipsight.bench.word_gap import Interval
from clipsight.results.wording import printable

Scored = tuple[float | None, float | None]
"""A score in percent and its standard error."""


def table(heads: Sequence[str], rows: Iterable[str], *, numbers: int = 0, wide: bool = False) -> str:
    """A table; heads are markup, those of figures stand to the right."""
    first = next((index for index, head in enumerate(heads) if 'class="dot' in head), len(heads))
    cells = "".join(
        f'<th class="number">{head}</th>'
        if first <= index < first + numbers or head in ("items", "ties", "theirs")
        else f"<th>{head}</th>"
        for index, head in enumerate(heads)
    )
    kind = ' class="wide"' if wide else ""
    head, body = f"<thead><tr>{cells}</tr></thead>", f"<tbody>{''.join(rows)}</tbody>"
    return f'<div class="scroll"><table{kind}>{head}{body}</table></div>'


def group_row(title: str, columns: int) -> str:
    """A line that names what follows."""
    return f'<tr class="group"><th colspan="{columns}">{escape(title)}</th></tr>'


def labels(models: Sequence[Audited]) -> list[str]:
    """Heads of the models' columns."""
    return [named(models, index) for index in range(len(models))]


def named(models: Sequence[Audited], index: int) -> str:
    """A model's label behind its dot."""
    return f'<span class="dot m{index % COLOURS}"></span>{escape(printable(models[index].label))}'


def score_cells(models: Sequence[Audited], scores: Sequence[Scored], benchmark: str, figure: str) -> str:
    """A cell for each model, of all but the first with the paired difference."""
    cells = []
    for index, (score, error) in enumerate(scores):
        said = "–" if score is None else f"{score:.1f}"
        if error is not None:
            said += f' <span class="error">± {SIGMAS * error:.1f}</span>'
        made = paired(models[0].report, models[index].report, benchmark, figure) if index else None
        if made is not None:
            said += f'<span class="change {made.direction}">{signed(made.value)}</span>'
        cells.append(f'<td class="number">{said}</td>')
    return "".join(cells)


def score_lanes(models: Sequence[Audited], scores: Sequence[Scored]) -> list[list[Point]]:
    """Scores with their errors, for `percents`."""
    return [[_point(one.label, *score)] for one, score in zip(models, scores, strict=True)]


def _point(label: str, score: float | None, error: float | None) -> Point:
    if score is None:
        return Point(nan, nan, nan, label)
    room = SIGMAS * (error or 0.0)
    return Point(score, score - room, score + room, f"{printable(label)}: {score:.1f} ± {room:.1f}")


def ratio(gap: Interval | None) -> str:
    """A ratio with its interval; a dash where it has no meaning."""
    if gap is None or gap.value != gap.value:
        return "–"
    return f'{gap.value:.2f} <span class="error">{gap.low:.2f}–{gap.high:.2f}</span>'


def ratio_point(label: str, gap: Interval | None, *, hollow: bool = False) -> Point:
    """A ratio with its interval, for `gaps`."""
    if gap is None:
        return Point(nan, nan, nan, label, hollow)
    words = f"{printable(label)}: {gap.value:.2f} ({gap.low:.2f}–{gap.high:.2f})"
    return Point(gap.value, gap.low, gap.high, words, hollow)


def capital(text: str) -> str:
    """With a capital first letter."""
    return text[:1].upper() + text[1:]


def plural(count: int, noun: str) -> str:
    """A number of things."""
    return f"{count} {noun}" + ("" if count == 1 else "s")
