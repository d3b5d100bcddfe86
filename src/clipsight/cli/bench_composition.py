"""`clipsight bench composition`: does the model read who does what to whom?"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from clipsight.cli.bench import check_rows_file
from clipsight.cli.bench_data import DATA, BenchmarkOptions, ChosenBenchmarks
from clipsight.cli.bench_models import MODELS, SeveralModels, opened
from clipsight.cli.options import ModelOptions
from clipsight.cli.outcome import DONE, FAILED, Misuse, complain, terminal
from clipsight.cli.progress import progress_bar

if TYPE_CHECKING:
    from clipsight.bench.composition import Comparison, Report
    from clipsight.bench.runner import Share


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RowsOptions:
    """What is shown, and where the rows go."""

    compare: bool = False
    """Show published scores of the same protocol beside these, with their grade and the difference."""

    compare_to: Annotated[tuple[str, ...], Parameter(show_default=False)] = ()
    """Only those of this published model, such as "NegCLIP"; repeat it for several."""

    out: Path | None = None
    """Also write the rows into this .json file."""

    overwrite: bool = False
    """Replace a file that exists; without it it is kept and the command fails."""

    json: bool = False
    """Print the rows as JSON on standard output and nothing else: a list, one row for each split and each mean, with
    everything that is needed to make it again."""


def composition(
    *,
    data: BenchmarkOptions = DATA,
    models: SeveralModels = MODELS,
    part: str | None = None,
    rows: RowsOptions = RowsOptions(),
) -> int:
    """Does the model read who does what to whom? The compositional benchmarks, on everyone's protocol.

    A score comes with the number of items, what chance reaches, how often a tie decided, and what is missing; guards
    stand beside it.

    Args:
        part: `2/4`: only make the second of four parts of the features, in a process of its own, into --cache. When
            all parts are done, the same command without it gives the scores.
    """
    named, chosen = models.named(), data.chosen()
    share = _read_part(part, data)
    check_rows_file(rows.out)
    if share is not None:
        return _encode(named, data, chosen, share)
    from clipsight.bench.composition import compare, published_models
    from clipsight.results.io import atomic_write, check_writable, json_bytes

    for name in rows.compare_to:
        if name not in published_models():
            raise Misuse(f"--compare-to {name!r}: the published models are {', '.join(published_models())}.")
    if rows.out is not None:
        rows.out.parent.mkdir(parents=True, exist_ok=True)
        check_writable(rows.out, overwrite=rows.overwrite)
    reports = measured(named, data, chosen)
    wanted = rows.compare_to or None if rows.compare or rows.compare_to else ()
    beside = {label: compare(report, wanted) for label, report in reports.items()}
    document = json_bytes(_documents(reports, beside))
    if rows.out is not None:
        with atomic_write(rows.out, overwrite=rows.overwrite) as file:
            file.write(document)
    if rows.json:
        sys.stdout.write(document.decode())
    else:
        from clipsight.cli.bench_tables import show_published, show_scores

        show_scores(reports, chosen.without)
        if wanted != ():
            show_published(beside)
        if rows.out is not None:
            terminal().print(f"Written to {rows.out.resolve()}", markup=False)
    return complain_of(reports)


def measured(
    models: Mapping[str, ModelOptions], data: BenchmarkOptions, chosen: ChosenBenchmarks
) -> dict[str, "Report"]:
    """A report of each model, by label."""
    from clipsight.bench.composition import evaluate

    reports = {}
    for label, lens in opened(dict(models)):
        with progress_bar(label) as progress:
            reports[label] = evaluate(
                lens,
                chosen.benchmarks,
                data.annotations,
                data.images,
                guards=chosen.guards,
                protocol=data.protocol,
                limit=data.limit,
                view=data.view,
                batch=data.batch,
                workers=data.workers,
                cache=data.cache,
                options=chosen.options,
                progress=progress,
            )
    return reports


def complain_of(reports: Mapping[str, "Report"]) -> int:
    """What could not be measured, each once; the exit code."""
    failures = dict.fromkeys(failure for report in reports.values() for failure in report.failures)
    for failure in failures:
        complain(failure)
    return FAILED if failures else DONE


def _documents(
    reports: Mapping[str, "Report"], beside: Mapping[str, list["Comparison"]]
) -> list[dict[str, Any]]:
    from clipsight.bench.composition import rows_beside

    first = next(iter(reports.values()))
    return [
        {"label": label, **row}
        for label, report in reports.items()
        for row in rows_beside(report, beside[label], None if report is first else first)
    ]


def _encode(
    models: Mapping[str, ModelOptions], data: BenchmarkOptions, chosen: ChosenBenchmarks, share: "Share"
) -> int:
    from clipsight.bench.composition import encode

    assert data.cache is not None
    for label, lens in opened(dict(models)):
        with progress_bar(label) as progress:
            encode(
                lens,
                chosen.benchmarks,
                data.annotations,
                data.images,
                data.cache,
                guards=chosen.guards,
                share=share,
                protocol=data.protocol,
                limit=data.limit,
                view=data.view,
                batch=data.batch,
                workers=data.workers,
                options=chosen.options,
                progress=progress,
            )
        terminal().print(
            f"{label}: part {share.index + 1} of {share.count} of the features is in {data.cache}. When all parts are "
            "there, the same command without --part gives the scores.",
            markup=False,
        )
    return DONE


def _read_part(word: str | None, data: BenchmarkOptions) -> "Share | None":
    """The share of the work that `2/4` means.

    Raises:
        Misuse: not of that form, or no cache to put the part into.
    """
    if word is None:
        return None
    from clipsight.bench.runner import Share

    try:
        share = Share.parse(word)
    except ValueError as error:
        raise Misuse(f"--part {error}") from error
    if data.cache is None:
        raise Misuse(f"--part {word} makes features for others to find; say where with --cache FOLDER.")
    return share
