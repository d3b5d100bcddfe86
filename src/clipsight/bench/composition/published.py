"""Scores that others published, for the models most often compared; never ours.

They are in `clipsight/assets/published_scores.json`, each table with its source and grade. Names are those of the
splits and means of the protocol that a score was made with: only such a score is comparable. UNVERIFIED figures are
left out.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from clipsight.features.citation import Grade

CLIP = "CLIP ViT-B/32 (OpenAI)"


@dataclass(frozen=True, kw_only=True)
class PublishedScore:
    """A score in percent.

    Attributes:
        name: a split or a mean of the protocol. metric: None is the headline.
        grade: "read" in the source named, "second-hand" from a table that repeats it, "derived" by arithmetic.
    """

    model: str
    benchmark: str
    name: str
    value: float
    protocol: str
    source: str
    metric: str | None = None
    grade: Grade = "read"


@cache
def published_scores() -> tuple[PublishedScore, ...]:
    """All of them, in the order of the file."""
    text = (files("clipsight") / "assets" / "published_scores.json").read_text(encoding="utf-8")
    data = json.loads(text)
    return tuple(
        PublishedScore(
            model=model,
            benchmark=table["benchmark"],
            name=name,
            value=value,
            protocol=table["protocol"],
            source=data["sources"][table["source"]],
            metric=table.get("metric"),
            grade=table["grade"],
        )
        for table in data["tables"]
        for model, scores in table["scores"].items()
        for name, value in scores.items()
    )


def published_models() -> tuple[str, ...]:
    """Models with a published score, in the order of the file."""
    return tuple(dict.fromkeys(one.model for one in published_scores()))
