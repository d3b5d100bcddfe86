"""`clipsight words --corpus`: do objects take the attribution that relations and attributes should have?"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from clipsight.cli.bench_models import SeveralModels, opened
from clipsight.cli.options import DEFAULT_MODEL, ModelOptions, Repeated
from clipsight.cli.outcome import DONE, Misuse, side_terminal, terminal
from clipsight.cli.progress import progress_bar

if TYPE_CHECKING:
    from clipsight.bench.word_gap import ModelWords, WordsReport

LEGEND = (
    "γ: how many times as much an object word gets as a composition word, an attribute or a relation word; "
    "controlled: the typical word at equal position, frequency and number of tokens. Brackets: 95 %."
)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class WordsModels(SeveralModels):
    """Which model weighs the words; with --corpus several, side by side."""

    # One word each: a picture may stand behind.
    model: Annotated[tuple[str, ...], Parameter(show_default=" ".join)] = (DEFAULT_MODEL,)
    """As for `clipsight explain`. With --corpus several, side by side: repeat it, or give one model several
    --pretrained."""

    pretrained: Repeated = ()
    """open_clip tag, or path of a weight file, as for `clipsight explain`; for several models one for each --model in
    their order, `none` for a model that needs no such word."""

    label: Repeated = ()
    """What each of several models is called; its name and weights where it is left out."""

    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    """Precision of the models; scores are float32 always."""

    def one(self) -> ModelOptions:
        """The model, where one is meant.

        Raises:
            Misuse: several are given.
        """
        named = self.named()
        if len(named) > 1:
            raise Misuse(
                f"{len(named)} models are given, and a picture is weighed by one; several go with --corpus."
            )
        return next(iter(named.values()))


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CorpusReport:
    """A whole corpus instead of a picture."""

    corpus: str | None = None
    """A corpus of captions instead of pictures and --text, .tsv, .csv, .jsonl, COCO's .json or .txt, or scenes of the
    emoji world (`world:101,102,103:100`): which roles take the attribution, with intervals and controls?"""

    report: Path | None = None
    """Where the report of a --corpus goes, .html with all figures as .json beside it, or .json alone."""

    methods: Annotated[tuple[str, ...], Parameter(consume_multiple=True, show_default=False)] = ()
    """Which attributions a --corpus is asked by, such as `attention.rollout` or `perturbation.drop`. Without it all
    that model and corpus allow, which are named in the report."""

    layers: Annotated[bool, Parameter(negative="--no-layers")] = True
    """With --corpus: ask attention and Grad-CAM at every block too."""

    images_in: Path | None = None
    """Folder that the pictures of a --corpus are named from; without it the corpus's own folder."""

    captions_alone: bool = False
    """Leave the pictures of a --corpus out; only attributions that need none are asked."""

    limit: int | None = None
    """At most so many captions of a --corpus, the first ones."""

    batch: int = 32
    """Captions of a --corpus, and pictures, in one pass: less needs less memory."""

    work: Path | None = None
    """Folder where measures of a --corpus are kept, so that an interrupted run goes on, and another with the same
    model and corpus is quick. Without one: beside the report, and removed when it is written."""

    def refuse_alone(self) -> None:
        """Refuse options that say nothing without --corpus.

        Raises:
            Misuse: one is given.
        """
        plain = CorpusReport()
        for name in ("report", "methods", "layers", "images_in", "captions_alone", "limit", "batch", "work"):
            if getattr(self, name) != getattr(plain, name):
                raise Misuse(f"--{name.replace('_', '-')} goes with --corpus, which is not given.")


CORPUS = CorpusReport()
MODELS = WordsModels()


def report_words(
    asked: CorpusReport,
    models: WordsModels,
    *,
    roles: str = "auto",
    overwrite: bool = False,
    json: bool = False,
) -> int:
    """Analyse a corpus, write the report, print what it comes to.

    Args:
        asked: corpus, report and how. models: which. roles: "auto" is what the corpus says itself, else the rules.
        overwrite: replace a report that exists. json: print all figures as JSON and nothing else.

    Raises:
        Misuse: no report and no --json, or options that say nothing.
    """
    if roles == "none":
        raise Misuse("--roles none leaves a --corpus nothing to compare; leave it out.")
    if asked.report is None and not json:
        raise Misuse("--corpus goes with --report out.html, or with --json.")
    if asked.report is not None and asked.report.suffix.lower() not in (".html", ".json"):
        raise Misuse(f"--report {asked.report} does not end with .html or .json.")
    if asked.batch < 1 or (asked.limit is not None and asked.limit < 1):
        raise Misuse("--batch and --limit are 1 or more.")
    named = models.named()
    with side_terminal().status("starting ..."):
        from clipsight.bench.word_gap import Corpus, CorpusOptions, analyse_words
        from clipsight.results.io import check_writable, json_bytes
    try:
        corpus = Corpus(
            asked.corpus or "",
            CorpusOptions(
                roles=roles, images=asked.images_in, pictures=not asked.captions_alone, limit=asked.limit
            ),
        )
    except (ValueError, FileNotFoundError) as error:
        raise Misuse(f"--corpus: {error}") from error
    if asked.report is not None:
        asked.report.parent.mkdir(parents=True, exist_ok=True)
        for file in (asked.report, asked.report.with_suffix(".json")):
            check_writable(file, overwrite=overwrite)
    work = asked.work or (None if asked.report is None else asked.report.with_suffix(".parts"))
    with progress_bar("words") as progress:
        report = analyse_words(
            opened(named),
            corpus,
            asked.methods or None,
            layers=asked.layers,
            folder=work,
            batch=asked.batch,
            progress=progress,
        )
    files = () if asked.report is None else report.save(asked.report, overwrite=overwrite)
    if asked.work is None and work is not None:
        _clear(work)
    if json:
        sys.stdout.write(json_bytes(report.to_dict()).decode())
    else:
        _show(report, files)
    return DONE


def _clear(work: Path) -> None:
    """Take away the parts of a run that is done, and their folder if nothing else is in it."""
    for part in work.glob(f"*-{'?' * 24}.npz"):
        part.unlink()
    if work.is_dir() and not any(work.iterdir()):
        work.rmdir()


def _show(report: "WordsReport", files: Sequence[Path]) -> None:
    from clipsight.bench.word_gap import verdict

    console = terminal()
    for model in report.models:
        console.print(f"{model.label}, {report.corpus['corpus']}", style="bold", markup=False)
        _table(model)
        for line in verdict(model):
            console.print(line, markup=False)
        for line in model.named[:3]:
            console.print(f"left out: {line}", style="dim", markup=False)
        if model.malformed > 3:
            console.print(f"{model.malformed:,} rows were left out.", style="dim", markup=False)
        for name, why in model.left_out.items():
            console.print(f"note: {name} was not asked: {why}.", style="dim", markup=False)
        console.print()
    console.print(LEGEND, style="dim", markup=False)
    if files:
        console.print(f"Written to {', '.join(str(file.resolve()) for file in files)}", markup=False)


def _table(model: "ModelWords") -> None:
    from rich.table import Table

    from clipsight.bench.word_gap.verdict import span

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("attribution", no_wrap=True)
    for name in ("γ", "attributes", "relations", "controlled"):
        table.add_column(name, justify="right", overflow="fold")
    for row in model.setups:
        gaps = (*row.figures.gap.values(), row.figures.controlled["composition"])
        # The interval below its value: the table needs no more than a terminal's width.
        table.add_row(row.column.name, *(span(gap).replace(" (", "\n(") for gap in gaps))
    terminal().print(table)
