"""`clipsight bench audit`: attribution gap, composition and guards of one model or several, on one page."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import Parameter

from clipsight.cli.bench_composition import complain_of
from clipsight.cli.bench_data import DATA, BenchmarkOptions
from clipsight.cli.bench_models import MODELS, SeveralModels, opened
from clipsight.cli.outcome import Misuse, terminal
from clipsight.cli.progress import progress_bar

if TYPE_CHECKING:
    from clipsight.bench.audit.measure import Audit


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """What is on the page, and where it goes."""

    captions: int = 200
    """How many captions the attribution gap is measured on: of the emoji world, whose roles are known, where `world` is
    among the sets, else of the first set; 0 leaves the gap out."""

    out: Path = Path("audit.html")
    """Where the page goes, an .html file; the same as data goes beside it, as .json. An .json file is written alone."""

    overwrite: bool = False
    """Replace files that exist; without it they are kept and the command fails."""

    json: bool = False
    """Print the audit as JSON on standard output and nothing else."""


PAGE = PageOptions()


def audit(
    *,
    data: BenchmarkOptions = DATA,
    models: SeveralModels = MODELS,
    page: PageOptions = PAGE,
) -> int:
    """Attribution gap, composition and guards of one model or several, in one HTML page.

    What is said of differences is said against the first model.
    """
    named, chosen = models.named(), data.chosen()
    if page.captions < 0:
        raise Misuse(f"--captions {page.captions}: give 1 or more, or 0 for no attribution gap.")
    if page.out.suffix.lower() not in (".html", ".json"):
        raise Misuse(f"--out {page.out} does not end with .html, or .json for the data alone.")
    from clipsight.bench.audit.measure import audit as measure
    from clipsight.results.io import check_writable, json_bytes

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
        sys.stdout.write(json_bytes(made.to_dict()).decode())
    else:
        _show(made)
        for file in written:
            terminal().print(f"Written to {file.resolve()}", markup=False)
    return complain_of({one.label: one.report for one in made.models})


def _show(made: "Audit") -> None:
    """What is said of each model."""
    from rich.markup import escape

    console = terminal()
    for index, one in enumerate(made.models):
        console.print(escape(one.label), style="bold")
        for line in made.findings(index):
            console.print(f"  {line}", markup=False)
        if one.without_gap:
            console.print(f"  attribution gap: not measured; {one.without_gap}", style="dim", markup=False)
