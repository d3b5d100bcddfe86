"""What an audit says in sentences: what is read, what is at chance, what was gained, and what that cost elsewhere."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipsight.bench.composition import Report, SplitRow, get_benchmark
from clipsight.bench.composition.paired import paired
from clipsight.bench.paired import PairedDifference

if TYPE_CHECKING:
    from clipsight.bench.audit.measure import Audited

SIGMAS = 1.96
"""Standard errors that a score must exceed chance by."""
TIES = 1.0
"""Percent decided by ties from which on they are worth a sentence."""
_MOST = 6


@dataclass(frozen=True, kw_only=True)
class Headline:
    """A figure that stands for a benchmark: a mean of its protocol, or a split that no such mean holds.

    Attributes:
        figure, metric: the split or mean that it is, and of a split the metric.
        score, error: percent, and its standard error in points; None when nothing was scored.
        guard: whether it asks for what the model could do before.
        apart: in what it is not the whole benchmark, "" when it is.
    """

    benchmark: str
    name: str
    figure: str
    score: float | None
    error: float | None
    guard: bool
    apart: str
    metric: str | None = None

    @property
    def title(self) -> str:
        """The benchmark and the figure."""
        return f"{get_benchmark(self.benchmark).title}: {self.name}"


@dataclass(frozen=True, kw_only=True)
class ScoreChange:
    """A headline of a model against that of the first one, judged on the items that both answered."""

    headline: Headline
    difference: PairedDifference


def headlines(report: Report) -> list[Headline]:
    """The figures that stand for each benchmark, guards last.

    A protocol's first mean, further means of splits that none before holds, then splits in no mean; of retrieval the
    two recalls at 1.
    """
    ids = dict.fromkeys(row.benchmark for row in report.rows)
    found = []
    for id in (*(id for id in ids if id not in report.guards), *report.guards):
        rows = [row for row in report.rows if row.benchmark == id]
        held: set[str] = set()
        for mean in (mean for mean in report.means if mean.benchmark == id and mean.score is not None):
            recall = rows[0].rule == "retrieval"
            if mean.name.endswith("R@1") if recall else not held & {*mean.splits}:
                held |= {*mean.splits}
                apart = ", ".join(mean.absent)
                found.append(
                    Headline(
                        benchmark=id,
                        name=mean.name,
                        figure=mean.name,
                        score=mean.score,
                        error=mean.error,
                        guard=id in report.guards,
                        apart=f"without {apart}" if apart else _apart(rows, mean.splits),
                    )
                )
        found += [
            Headline(
                benchmark=id,
                name=f"{row.split} {row.metric}",
                figure=row.split,
                metric=row.metric,
                score=row.score(),
                error=row.error(),
                guard=id in report.guards,
                apart=_apart(rows, (row.split,)),
            )
            for row in rows
            if row.split not in held
        ]
    return found


def _apart(rows: Sequence[SplitRow], splits: Sequence[str]) -> str:
    some = [row.counts for row in rows if row.split in splits]
    scored = sum(one.counted - one.missing for one in some)
    wanted = sum(one.expected or one.counted for one in some)
    return "" if scored == wanted else f"{scored:,} of {wanted:,} items"


def changes(first: Report, other: Report) -> list[ScoreChange]:
    """The headlines of a report against those of the first, where both have a score on the same items."""
    found = []
    for one in headlines(other):
        made = paired(first, other, one.benchmark, one.figure, one.metric)
        if made is not None:
            found.append(ScoreChange(headline=one, difference=made))
    return found


def findings(models: Sequence["Audited"], index: int) -> tuple[str, ...]:
    """What is to be said of one of the models; of all but the first against the first."""
    said = list(_of_one(models[index]))
    if index:
        said = [*_against(models[0], models[index]), *said]
    return tuple(said)


def _of_one(model: "Audited") -> Iterator[str]:
    report = model.report
    chance = [row for row in report.rows if _at_chance(row)]
    if chance:
        named = [
            f"{row.benchmark} {row.split} {row.score():.1f} (chance {_chance(row):.3g})" for row in chance
        ]
        yield f"Not clearly above chance: {_few(named)}."
    tied = [row for row in report.rows if _tie_rate(row) > TIES]
    if tied:
        named = [f"{row.benchmark} {row.split} ({_tie_rate(row):.1f} %)" for row in tied]
        yield f"Ties decided, and were not won: {_few(named)}."
    if model.gap is not None:
        yield from _gap(model)
    if not report.guards:
        yield "No guard was measured: nothing here says what a gain in composition would cost."
    parts = dict.fromkeys(get_benchmark(one.benchmark).title for one in headlines(report) if one.apart)
    if parts:
        yield f"Measured in part, and not to be compared with published scores: {_few(list(parts))}."


def _gap(model: "Audited") -> Iterator[str]:
    from clipsight.bench.word_gap.verdict import favours

    assert model.gap is not None
    rows = model.gap.setups
    if not rows or not model.gap.comparable:
        yield f"None of {model.gap.captions:,} captions has both an object word and a composition word to compare."
        return
    more = sum(favours(row.figures.gap["composition"]) == "objects" for row in rows)
    even = sum(favours(row.figures.controlled["composition"]) == "objects" for row in rows)
    yield (
        f"Object words get more attribution than attribute and relation words under {more} of {len(rows)} methods, at "
        f"equal position, frequency and length under {even}."
    )


def _against(first: "Audited", model: "Audited") -> Iterator[str]:
    found = changes(first.report, model.report)
    parts = []
    for guard, what in ((False, "Composition"), (True, "Guards")):
        kinds = {
            kind: [
                f"{change.headline.title} {signed(change.difference.value)}"
                for change in found
                if change.difference.direction == kind and change.headline.guard == guard
            ]
            for kind in ("up", "down", "same")
        }
        said = [
            f"{word} {_few(kinds[kind])}"
            for kind, word in (("up", "up in"), ("down", "down in"), ("same", "no clear difference in"))
            if kinds[kind]
        ]
        if said:
            parts.append(f"{what} against {first.label}: {'; '.join(said)}.")
    yield from parts
    gained = any(change.difference.direction == "up" and not change.headline.guard for change in found)
    fallen = any(change.difference.direction == "down" and change.headline.guard for change in found)
    guarded = any(change.headline.guard for change in found)
    if gained and fallen:
        yield "The gain in composition was bought: a guard fell."
    elif gained and guarded:
        yield "The gain in composition cost no guard that was measured."


def _at_chance(row: SplitRow) -> bool:
    score, error, chance = row.score(), row.error(), _chance(row)
    if score is None or error is None or chance is None:
        return False
    return score - SIGMAS * error <= chance


def _chance(row: SplitRow) -> float | None:
    found = row.metrics.get(row.metric)
    return None if found is None else found.chance


def _tie_rate(row: SplitRow) -> float:
    found = row.metrics.get(row.metric)
    return 0.0 if found is None or found.tie_rate is None else found.tie_rate


def signed(value: float) -> str:
    """A difference in points with a true minus sign."""
    return f"{value:+.1f}".replace("-", "−")


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST])
    return f"{shown}, … ({len(names)} in all)" if len(names) > _MOST else shown
