"""An audit: where a model's attribution goes, what it reads of composition, and what it can do besides, side by side.

A gain in composition can be bought with recognition or retrieval, and a benchmark can be won by shortcuts. The audit
puts the attribution gap, the benchmarks and the guards of one model or several on one page.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipsight.bench.audit.findings import findings
from clipsight.bench.composition import (
    Comparison,
    ReadOptions,
    Report,
    compare,
    evaluate,
    get_benchmark,
    guards_at_hand,
    read_benchmark,
    rows_beside,
)
from clipsight.bench.composition.pictures import ImageRoot
from clipsight.bench.report_files import write_report
from clipsight.bench.runner import Progress
from clipsight.bench.word_gap import ModelWords, analyse_captions, attribution_gap
from clipsight.bench.word_gap.world_captions import CAPTIONS, world_captions
from clipsight.errors import ClipsightError
from clipsight.results import FORMAT
from clipsight.session.lens import Lens

Gap = Callable[[Lens], ModelWords]
"""Measures where a model's attribution goes."""


@dataclass(frozen=True, kw_only=True)
class Audited:
    """One model.

    Attributes:
        label: what it is called.
        report: its scores, guards included.
        beside: published scores of the same protocol.
        gap: where its attribution goes; None where that was not measured, and `without_gap` says why.
    """

    label: str
    report: Report
    beside: tuple[Comparison, ...]
    gap: ModelWords | None
    without_gap: str = ""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Several models, side by side; what is said of differences is said against the first one.

    Attributes:
        asked: benchmarks. without: guards that were not measured because there are no data.
        captions: which captions the attribution gap is of, in words.
    """

    models: tuple[Audited, ...]
    asked: tuple[str, ...]
    without: tuple[str, ...]
    captions: str

    def findings(self, index: int) -> tuple[str, ...]:
        """What is to be said of a model, in sentences."""
        return findings(self.models, index)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: the rows of `bench composition`, the figures of the gap, and the findings."""
        return {
            "kind": "audit",
            "format": FORMAT,
            "asked": list(self.asked),
            "guards_without_data": list(self.without),
            "captions": self.captions,
            "models": [
                {
                    "label": one.label,
                    "findings": list(self.findings(index)),
                    "rows": rows_beside(one.report, one.beside),
                    "notes": list(one.report.notes),
                    "failures": list(one.report.failures),
                    "gap": None if one.gap is None else one.gap.to_dict(),
                    "without_gap": one.without_gap,
                }
                for index, one in enumerate(self.models)
            ],
        }

    def to_html(self) -> str:
        """One page without outside parts and without scripts."""
        from clipsight.bench.audit.page import page

        return page(self)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> tuple[Path, ...]:
        """Write .json, or .html and the same as .json beside it. Gives back the paths, the one asked for first.

        Raises:
            ValueError: another suffix. FileExistsError and others of `clipsight.results.io.atomic_write`.
        """
        return write_report(path, self.to_dict(), self.to_html, overwrite=overwrite)


def audit(
    models: Iterable[tuple[str, Lens]],
    benchmarks: Sequence[str] = ("world",),
    annotations: Path | None = None,
    images: Path | None = None,
    *,
    guards: Sequence[str] | None = None,
    without: Sequence[str] = (),
    captions: int = 200,
    gap: Gap | None = None,
    options: ReadOptions | None = None,
    watch: Callable[[str], AbstractContextManager[Progress | None]] = lambda label: nullcontext(),
    **settings: Any,
) -> Audit:
    """Is it better, by whose count, and at what cost?

    Args:
        models: (label, model), asked one after the other; an iterator may load them one by one.
        benchmarks, annotations, images, options: as for `clipsight.bench.composition.evaluate`.
        guards: ids to measure beside; None takes those whose data are there.
        without: guards that the page is to call unmeasured.
        captions: how many captions the attribution gap is measured on, 0 for none: of the emoji world, whose roles are
            known, where it is among the benchmarks; else true captions of the first benchmark, roles by the rules.
        gap: measures it otherwise.
        watch: opens, for a label, what is told how far the work is (see `evaluate`).
        settings: further arguments of `evaluate`: protocol, limit, view, batch, workers, cache.

    Raises:
        ValueError: as `evaluate`; no model, or two of one label.

    Example:
        >>> import clipsight
        >>> lens = clipsight.load("clipsight-tiny")
        >>> few = ReadOptions(world_seeds=(1,), world_count=3)
        >>> made = audit([("tiny", lens)], captions=0, options=few)
        >>> [model.label for model in made.models]
        ['tiny']
    """
    options = options or ReadOptions()
    if guards is None:
        guards, without = guards_at_hand(benchmarks, annotations, options)
    said = "It was not asked for."
    if gap is None and captions:
        gap, said = _gap(benchmarks, annotations, images, options, captions)
    audited: list[Audited] = []
    for label, lens in models:
        if label in (one.label for one in audited):
            raise ValueError(f"two models are called {label!r}; give each a label of its own.")
        with watch(label) as progress:
            report = evaluate(
                lens,
                benchmarks,
                annotations,
                images,
                guards=guards,
                options=options,
                progress=progress,
                **settings,
            )
            found, why = _measured(gap, lens, said, progress)
        beside = tuple(compare(report))
        audited.append(Audited(label=label, report=report, beside=beside, gap=found, without_gap=why))
    if not audited:
        raise ValueError("no model was given to audit; give (label, lens) of one or more.")
    return Audit(
        models=tuple(audited),
        asked=tuple(benchmarks),
        without=tuple(without),
        captions=said if any(one.gap is not None for one in audited) else "",
    )


def _measured(
    gap: Gap | None, lens: Lens, said: str, progress: Progress | None
) -> tuple[ModelWords | None, str]:
    """(figures, why there are none)."""
    if gap is None:
        return None, said
    tell = progress or (lambda what, done, total: None)
    tell("attribution", 0, 1)
    try:
        return gap(lens), ""
    except (ClipsightError, ValueError) as error:
        # A tower that cannot be looked into still has scores: the reason takes the place of its figures.
        return None, " ".join(str(error).split())
    finally:
        tell("attribution", 1, 1)


def _gap(
    benchmarks: Sequence[str],
    annotations: Path | None,
    images: Path | None,
    options: ReadOptions,
    captions: int,
) -> tuple[Gap | None, str]:
    """(what measures the gap, of which captions); without captions None, and why there are none."""
    if "world" in benchmarks:
        count = max(1, captions // (CAPTIONS * len(options.world_seeds)))
        seeds = options.world_seeds
        return (
            lambda lens: analyse_captions(lens, world_captions(seeds, count)),
            f"captions of {count * len(seeds)} held-out scenes of the emoji world, whose roles are known",
        )
    benchmark = get_benchmark(benchmarks[0])
    try:
        items = read_benchmark(benchmark, annotations, options).items
    except FileNotFoundError:
        return None, f"{benchmark.title} was not there to take captions from."
    root = ImageRoot(images)
    there = [
        one for one in items if one.pictures and one.positives and root.find(one.pictures[0]) is not None
    ]
    if not there:
        return None, f"No item of {benchmark.title} has a caption and its picture."
    few = (
        [there[index * len(there) // captions] for index in range(captions)]
        if captions < len(there)
        else there
    )
    return (
        lambda lens: attribution_gap(lens, few, images),
        f"captions of {len(few):,} items of {benchmark.title}, roles by the rules",
    )
