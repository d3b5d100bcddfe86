"""Published scores beside ours, made by the same protocol, and in what the two were not made alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clipsight.bench.composition.paired import differences
from clipsight.bench.composition.published import PublishedScore, published_models, published_scores
from clipsight.bench.composition.report import Report

_TEMPLATES = "IN80"
"""What ImageNet's published accuracies put the names into."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A published score beside ours; the difference is ours minus theirs, in points.

    Attributes:
        apart: in what ours was not made as theirs, "" when nothing is known: items that are missing, other templates.
    """

    published: PublishedScore
    ours: float
    apart: str = ""

    @property
    def difference(self) -> float:
        """In points, above 0 where ours is higher."""
        return self.ours - self.published.value

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "model": self.published.model,
            "value": self.published.value,
            "metric": self.published.metric,
            "grade": self.published.grade,
            "source": self.published.source,
            "ours": self.ours,
            "difference": self.difference,
            "apart": self.apart,
        }


def compare(report: Report, models: str | Sequence[str] | None = None) -> list[Comparison]:
    """The published scores that a report has a counterpart of, made by the same protocol.

    Args:
        models: only of this one or of these, see `published_models`; None is all.

    Raises:
        ValueError: nothing is published for a model of that name.
    """
    wanted = published_models() if models is None else (models,) if isinstance(models, str) else models
    for name in wanted:
        if name not in published_models():
            raise ValueError(
                f"nothing is published for {name!r}; the models are {', '.join(published_models())}."
            )
    protocols = {row.benchmark: row.protocol for row in report.rows}
    found = []
    for one in published_scores():
        if one.model in wanted and protocols.get(one.benchmark) == one.protocol:
            ours = report.find(one.benchmark, one.name, one.metric)
            if ours is not None:
                found.append(Comparison(published=one, ours=ours, apart=_apart(report, one)))
    return found


def rows_beside(
    report: Report, comparisons: Sequence[Comparison], first: Report | None = None
) -> list[dict[str, Any]]:
    """The report's rows as plain data, each with the published scores that stand beside it.

    Args:
        first: another model's report: each row then also has `against`, the paired difference from it.
    """
    rows = report.to_dicts()
    against = {} if first is None else differences(first, report)
    for row in rows:
        key = (row["benchmark"], row["split"] if row["kind"] == "split" else row["name"])
        row["published"] = [
            one.to_dict() for one in comparisons if (one.published.benchmark, one.published.name) == key
        ]
        if first is not None:
            row["against"] = against[key].to_dict() if key in against else None
    return rows


def _apart(report: Report, score: PublishedScore) -> str:
    mean = next((m for m in report.means if (m.benchmark, m.name) == (score.benchmark, score.name)), None)
    names = (score.name,) if mean is None else mean.splits
    rows = [row for row in report.rows if row.benchmark == score.benchmark and row.split in names]
    scored = sum(row.counts.counted - row.counts.missing for row in rows)
    wanted = sum(row.counts.expected or row.counts.counted for row in rows)
    said = [f"{scored:,} of {wanted:,} items"] if scored != wanted else []
    if mean is not None and mean.absent:
        said.append(f"without {', '.join(mean.absent)}")
    if score.benchmark == "zero_shot" and report.settings.get("zero_shot_templates") != _TEMPLATES:
        said.append("other templates")
    return "; ".join(said)
