"""Results as rows: one for each split and each mean, with everything that is needed to make them again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import Any

from clipsight.bench.about import About
from clipsight.bench.composition.averages import ItemTally
from clipsight.bench.composition.benchmark import get_benchmark
from clipsight.bench.composition.folder import FileRead
from clipsight.bench.composition.protocol import Average, ProtocolMean
from clipsight.records import Malformed


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Where the items of a split went.

    Attributes:
        expected: items of the release that the protocol counts, None where that is not known.
        items: read. counted: of these, what the protocol counts. missing: of these, without one of their pictures.
        malformed: records of the split's files that were passed over.
        pictures, missing_pictures, unreadable_pictures: distinct; the unreadable are among the missing.
        texts, cut_texts: distinct; cut ones are longer than the model reads.
    """

    expected: int | None
    items: int
    counted: int
    missing: int
    malformed: int
    pictures: int
    missing_pictures: int
    unreadable_pictures: int
    texts: int
    cut_texts: int


@dataclass(frozen=True, kw_only=True)
class SplitRow:
    """The result of one split.

    Attributes:
        protocol: how it was counted. rule: when an item is won. metric, average: which figure stands for the split.
        metrics: every figure of the rule.
        missing_names: a few pictures that are missing.
        files: the annotation files it came from. texts_sha256: of the texts that count, each once, in order.
    """

    benchmark: str
    split: str
    protocol: str
    rule: str
    metric: str
    average: Average
    metrics: Mapping[str, ItemTally]
    counts: Counts
    missing_names: tuple[str, ...] = ()
    files: tuple[FileRead, ...] = ()
    texts_sha256: str = ""

    def score(self, metric: str | None = None) -> float | None:
        """Percent of a metric as the protocol averages it, the headline's by default; None when nothing was scored."""
        found = self.metrics.get(metric or self.metric)
        return None if found is None else getattr(found, self.average)

    def error(self, metric: str | None = None) -> float | None:
        """Standard error of `score` in points; `ItemTally.error` says what it takes for granted."""
        found = self.metrics.get(metric or self.metric)
        return None if found is None else found.error(self.average)

    def line(self) -> str:
        """One line for people: the score, of how many, and what is missing."""
        counts = self.counts
        found = self.metrics.get(self.metric)
        if not counts.counted:
            said = f"not scored: the protocol counts none of {counts.items:,} items"
        elif found is None or self.score() is None:
            said = f"not scored: {counts.missing:,} of {counts.counted:,} items have no picture"
        else:
            said = f"{self.score():.1f} % {self.metric} ({self.average}) of {found.scored:,}"
            said += "" if found.chance is None else f", chance {found.chance:.1f}"
            said += f", ties {found.tie_rate:.2f} %"
            said += f", {counts.missing:,} of {counts.counted:,} without picture" if counts.missing else ""
        said += f", {counts.malformed:,} malformed" if counts.malformed else ""
        if counts.expected is not None and counts.expected != counts.counted:
            said += f", the release has {counts.expected:,}"
        return f"{self.benchmark} {self.split}: {said}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data; scores in percent."""
        return {
            "kind": "split",
            "benchmark": self.benchmark,
            "split": self.split,
            "protocol": self.protocol,
            "rule": self.rule,
            "metric": self.metric,
            "average": self.average,
            "score": self.score(),
            "error": self.error(),
            "metrics": {name: one.to_dict() for name, one in self.metrics.items()},
            "counts": asdict(self.counts),
            "missing_names": list(self.missing_names),
            "files": [asdict(one) for one in self.files],
            "texts_sha256": self.texts_sha256,
        }


@dataclass(frozen=True, kw_only=True)
class MeanRow:
    """A figure over splits, with its standard error; `absent` names those that should be in it and have no score."""

    benchmark: str
    protocol: str
    name: str
    score: float | None
    splits: tuple[str, ...]
    absent: tuple[str, ...]
    error: float | None = None

    @property
    def complete(self) -> bool:
        """Whether every split is in it."""
        return not self.absent

    def line(self) -> str:
        """One line for people."""
        if self.score is None:
            return f"{self.benchmark}, {self.name}: no split of it is scored"
        part = f", without {', '.join(self.absent)}" if self.absent else ""
        return f"{self.benchmark}, {self.name}: {self.score:.1f} %{part}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "kind": "mean",
            "benchmark": self.benchmark,
            "protocol": self.protocol,
            "name": self.name,
            "score": self.score,
            "error": self.error,
            "complete": self.complete,
            "splits": list(self.splits),
            "absent": list(self.absent),
        }


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one model reached.

    Attributes:
        about: the model. settings: what was asked for. versions: of what made it.
        rows, means: results. malformed: records that were passed over.
        notes: what a reader of the scores should know. failures: what was asked for and has no score.
    """

    about: About
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    rows: tuple[SplitRow, ...]
    means: tuple[MeanRow, ...]
    malformed: tuple[Malformed, ...] = ()
    notes: tuple[str, ...] = ()
    failures: tuple[str, ...] = field(default=())

    @property
    def guards(self) -> tuple[str, ...]:
        """Benchmarks with rows here that are guards."""
        ids = dict.fromkeys(row.benchmark for row in self.rows)
        return tuple(id for id in ids if get_benchmark(id).guard)

    def to_dicts(self) -> list[dict[str, Any]]:
        """The rows as plain data, each with the model, the settings and the versions."""
        common = {
            "model": {**asdict(self.about), "size": list(self.about.size)},
            "settings": dict(self.settings),
            "versions": dict(self.versions),
        }
        return [
            {**row.to_dict(), "guard": row.benchmark in self.guards, **common}
            for row in (*self.rows, *self.means)
        ]

    def find(self, benchmark: str, name: str, metric: str | None = None) -> float | None:
        """The score of a split or a mean by name; None when there is none."""
        for row in self.rows:
            if (row.benchmark, row.split) == (benchmark, name):
                return row.score(metric)
        for mean in self.means:
            if (mean.benchmark, mean.name) == (benchmark, name) and metric is None:
                return mean.score
        return None


def mean_rows(
    benchmark: str, protocol: str, means: tuple[ProtocolMean, ...], rows: Mapping[str, SplitRow]
) -> list[MeanRow]:
    """The means of a protocol; a mean over fewer splits than it should have says which are absent."""
    made = []
    for mean in means:
        splits = tuple(dict.fromkeys(mean.splits()))
        scored = {name for name in splits if name in rows and rows[name].score(mean.metric) is not None}
        score, error = _value(mean, rows)
        made.append(
            MeanRow(
                benchmark=benchmark,
                protocol=protocol,
                name=mean.name,
                score=score,
                error=error,
                splits=splits,
                absent=tuple(name for name in splits if name not in scored),
            )
        )
    return made


def _value(mean: ProtocolMean, rows: Mapping[str, SplitRow]) -> tuple[float | None, float | None]:
    """(score, standard error) of a mean."""
    if mean.weights == "items":
        found = [
            rows[name].metrics.get(mean.metric or rows[name].metric) for name in mean.splits() if name in rows
        ]
        there = [one for one in found if one is not None and one.scored]
        whole = ItemTally(
            scored=sum(one.scored for one in there), wins=sum(one.wins for one in there), ties=0, chance=None
        )
        return whole.micro, whole.error("micro")
    values = [
        _value(part, rows)
        if isinstance(part, ProtocolMean)
        else (
            (rows[part].score(mean.metric), rows[part].error(mean.metric)) if part in rows else (None, None)
        )
        for part in mean.of
    ]
    scored = [(score, error) for score, error in values if score is not None and error is not None]
    if not scored:
        return None, None
    scores, errors = zip(*scored, strict=True)
    return sum(scores) / len(scored), sqrt(sum(error**2 for error in errors)) / len(scored)
