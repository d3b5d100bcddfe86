"""`clipsight bench audit`: attribution gap, composition and guards of one model or several, on one page."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import Parameter

from clipsight.cli.bench_composition import report_failures
from clipsight.cli.bench_data import DATA, BenchmarkOptions
from clipsight.cli.bench_models import MODELS, SeveralModels, opened
from clipsight.cli.options import OUTPUT
from clipsight.cli.outcome import UsageError, print_json, say
from clipsight.cli.progress import progress_bar, waiting
from clipsight.cli.registry import verb

if TYPE_CHECKING:
    from clipsight.bench.audit.measure import Audit


@Parameter(name="*", group=OUTPUT)
@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """The page."""

    captions: int = 200
    """Number of captions for the attribution gap: of the emoji world, whose roles are known, if `world` is among the
    sets, else of the first set; 0 skips the gap."""

    out: Path = Path("audit.html")
    """File for the page: .html, with the data in a .json beside it, or .json alone."""

    overwrite: bool = False
    """Replace existing files. Without it they are kept and the command fails."""

    json: bool = False
    """Print one JSON document to standard output, and nothing else."""


PAGE = PageOptions()


@verb(4, group="bench")
def audit(
    *,
    data: BenchmarkOptions = DATA,
    models: SeveralModels = MODELS,
    page: PageOptions = PAGE,
) -> int:
    """Measure attribution gap, composition and guards of one or more models, in one HTML page.

    Differences are relative to the first model.
    """
    named, chosen = models.named(), data.chosen()
    if page.captions < 0:
        raise UsageError(
            f"--captions {page.captions} is negative; give 1 or more, or 0 to skip the attribution gap."
        )
    if page.out.suffix.lower() not in (".html", ".json"):
        raise UsageError(f"--out {page.out} does not end with .html, or .json for the data alone.")
    with waiting():
        from clipsight.bench.audit.measure import audit as measure
        from clipsight.results import check_writable

    page.out.parent.mkdir(parents=True, exist_ok=True)
    for suffix in {page.out.suffix, ".json"}:
        check_writable(page.out.with_suffix(suffix), overwrite=page.overwrite)
    made = measure(
        opened(named),
        chosen.benchmarks,
        data.annotations,
        data.images,
        guards=chosen.guards,
        without=chosen.without,
        captions=page.captions,
        options=chosen.options,
        watch=progress_bar,
        protocol=data.protocol,
        limit=data.limit,
        view=data.view,
        batch=data.batch,
        workers=data.workers,
        cache=data.cache,
    )
    written = made.save(page.out, overwrite=page.overwrite)
    if page.json:
        print_json(made.to_dict())
    else:
        _show(made)
        for file in written:
            say(f"Written to {file.resolve()}")
    return report_failures({one.label: one.report for one in made.models})


def _show(made: "Audit") -> None:
    """The findings about each model."""
    for index, one in enumerate(made.models):
        say(one.label, style="bold")
        for line in made.findings(index):
            say(line, indent=2)
        if one.without_gap:
            say(f"attribution gap: not measured; {one.without_gap}", indent=2, style="dim")
