"""`clipsight bench composition`: does the model read who does what to whom?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from clipsight.cli.bench import read_part
from clipsight.cli.bench_data import DATA, BenchmarkOptions, ChosenBenchmarks
from clipsight.cli.bench_models import MODELS, SeveralModels, opened
from clipsight.cli.options import JsonOutput, ModelOptions
from clipsight.cli.outcome import FAILURE, SUCCESS, UsageError, print_error, say
from clipsight.cli.progress import progress_bar, waiting
from clipsight.cli.registry import verb

if TYPE_CHECKING:
    from clipsight.bench.composition import Comparison, Report
    from clipsight.bench.runner import Share


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """What to show beside the scores."""

    compare: bool = False
    """Show published scores of the same protocol beside these, with their grade and the difference."""

    compare_to: Annotated[tuple[str, ...], Parameter(show_default=False)] = ()
    """Only compare with these published models, such as "NegCLIP"."""


@verb(3, group="bench")
def composition(
    *,
    data: BenchmarkOptions = DATA,
    models: SeveralModels = MODELS,
    part: str | None = None,
    rows: CompareOptions = CompareOptions(),
    output: JsonOutput = JsonOutput(),
) -> int:
    """Run compositional benchmarks: does the model read who does what to whom?

    Each score comes with the number of items, the score of chance, the share of ties, what is missing, and guards. The
    JSON document is a list with one row per split and per mean, with everything needed to reproduce it.

    Args:
        part: Compute only one part of the features into --cache, such as `2/4` for the second of four processes. When
            all parts are done, run the same command without --part to get the scores.
    """
    named, chosen = models.named(), data.chosen()
    share = _read_part(part, data)
    if share is not None:
        return _encode(named, data, chosen, share)
    with waiting():
        from clipsight.bench.composition import compare, published_models

    for name in rows.compare_to:
        if name not in published_models():
            raise UsageError(
                f"--compare-to {name!r}: the published models are {', '.join(published_models())}."
            )
    output.check()
    reports = measured(named, data, chosen)
    wanted = rows.compare_to or None if rows.compare or rows.compare_to else ()
    beside = {label: compare(report, wanted) for label, report in reports.items()}
    if not output.write(_documents(reports, beside)):
        from clipsight.cli.bench_tables import show_published, show_scores

        show_scores(reports, chosen.without)
        if wanted != ():
            show_published(beside)
        output.say_where()
    return report_failures(reports)


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


def report_failures(reports: Mapping[str, "Report"]) -> int:
    """Print what could not be measured, each once; the exit code."""
    failures = dict.fromkeys(failure for report in reports.values() for failure in report.failures)
    for failure in failures:
        print_error(failure)
    return FAILURE if failures else SUCCESS


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
        say(
            f"{label}: part {share.index + 1} of {share.count} of the features is in {data.cache}. When all parts are "
            "there, run the same command without --part to get the scores."
        )
    return SUCCESS


def _read_part(word: str | None, data: BenchmarkOptions) -> "Share | None":
    """The share of the work that `2/4` means.

    Raises:
        UsageError: not of that form, or no cache to put the part into.
    """
    if word is None:
        return None
    share = read_part(word)
    if data.cache is None:
        raise UsageError(
            f"--part {word} computes features for other processes; say where with --cache FOLDER."
        )
    return share
