"""What an analysis comes to: for each model its figures by method and layer, and all of it as plain data and pages."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from clipsight.bench.about import About
from clipsight.bench.report_files import write_report
from clipsight.bench.resampling import Interval
from clipsight.bench.word_gap.behaviour import Behaviour
from clipsight.bench.word_gap.columns import Column
from clipsight.bench.word_gap.statistics import GapFigures
from clipsight.results import FORMAT


@dataclass(frozen=True, kw_only=True)
class GapRow:
    """One attribution of one model: what is asked, and its figures."""

    column: Column
    figures: GapFigures

    def to_dict(self) -> dict[str, Any]:
        """Plain data; an interval is [value, low, high], None where it has no meaning."""
        return {**self.column.to_dict(), **_plain(asdict(self.figures))}


@dataclass(frozen=True, kw_only=True)
class ExampleCaption:
    """A caption as the model weighs it: its words and marks, the role of each, and by column its share."""

    words: tuple[str, ...]
    roles: tuple[str, ...]
    shares: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class ModelWords:
    """One model's answer.

    Attributes:
        label: what it is called. about: the model in its state.
        rows: one for each attribution, and for each layer of some.
        behaviour: what it does when words go or are replaced.
        captions, comparable, words: how many; comparable captions have an object word and a composition word.
        cut: captions whose end it does not see. malformed: rows that were left out; named: the first of them.
        extractors: what found the roles, with versions.
        left_out: attribution -> why it was not asked.
        examples: some captions.
    """

    label: str
    about: About
    rows: tuple[GapRow, ...]
    behaviour: Behaviour
    captions: int
    comparable: int
    words: int
    cut: int
    malformed: int
    named: tuple[str, ...]
    extractors: tuple[str, ...]
    left_out: Mapping[str, str]
    examples: tuple[ExampleCaption, ...]

    @property
    def setups(self) -> tuple[GapRow, ...]:
        """The rows that are no single layers."""
        return tuple(row for row in self.rows if row.column.layer is None)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **{key: value for key, value in _plain(asdict(self)).items() if key not in ("rows", "about")},
            "about": {**asdict(self.about), "mark": self.about.mark},
            "rows": [row.to_dict() for row in self.rows],
        }


@dataclass(frozen=True, kw_only=True)
class WordsReport:
    """Which words carry the match, over a corpus, for several models side by side.

    Attributes:
        corpus: what was read, and how. settings: of the statistics. versions: of the libraries.
        models: in the order asked.
    """

    corpus: Mapping[str, Any]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    models: tuple[ModelWords, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "kind": "words report",
            "format": FORMAT,
            "corpus": _plain(self.corpus),
            "settings": _plain(self.settings),
            "versions": dict(self.versions),
            "models": [model.to_dict() for model in self.models],
        }

    def to_html(self) -> str:
        """One page without outside parts."""
        from clipsight.bench.word_gap.page import page

        return page(self)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> tuple[Path, ...]:
        """Write .json, or .html and all figures as .json beside it. Gives back the paths.

        Raises:
            ValueError: another suffix. FileExistsError and others of `clipsight.results.io.atomic_write`.
        """
        return write_report(path, self.to_dict(), self.to_html, overwrite=overwrite)


def _plain(value: Any) -> Any:
    if isinstance(value, Interval):
        return [_plain(float(end)) for end in value]
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if isfinite(value) else None
    return value
