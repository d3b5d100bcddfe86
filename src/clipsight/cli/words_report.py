"""`clipsight words --corpus`: do objects take the attribution that relations and attributes should have?"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter

from clipsight.cli.bench_models import SeveralModels, opened
from clipsight.cli.options import DEFAULT_MODEL, MODEL, ModelOptions, OutputOptions
from clipsight.cli.outcome import SUCCESS, UsageError, print_json, say, terminal
from clipsight.cli.paths import refuse_inputs
from clipsight.cli.progress import progress_bar, waiting

if TYPE_CHECKING:
    from clipsight.bench.word_gap import ModelWords, WordsReport

LEGEND = (
    "γ: how many times as much an object word receives as a composition word, that is an attribute or a relation; "
    "controlled: the typical word at equal position, frequency and number of tokens. Brackets: 95 % interval."
)


@Parameter(name="*", group=MODEL)
@dataclass(frozen=True, kw_only=True)
class WordsModels(SeveralModels):
    """Which model scores the words; with --corpus several, side by side."""

    # One word each: an image may follow.
    model: Annotated[tuple[str, ...], Parameter(consume_multiple=False, show_default=" ".join)] = (
        DEFAULT_MODEL,
    )
    """As for `clipsight explain`. With --corpus, repeat it to compare several models, or give one model several
    --pretrained."""

    pretrained: Annotated[tuple[str, ...], Parameter(consume_multiple=False, show_default=False)] = ()
    """open_clip tag, or path of a weight file, as for `clipsight explain`. With several models, one for each --model in
    the same order; `none` for a model that needs none."""

    label: Annotated[tuple[str, ...], Parameter(consume_multiple=False, show_default=False)] = ()
    """Names of the models in the report. Default to model name and weights."""

    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    """Precision of the models. Scores are always float32."""

    def one(self) -> ModelOptions:
        """The model, where one is meant.

        Raises:
            UsageError: several are given.
        """
        named = self.named()
        if len(named) > 1:
            raise UsageError(
                f"{len(named)} models are given, but an image is scored by one; several need --corpus."
            )
        return next(iter(named.values()))


@Parameter(name="*", group=Group("Corpus", sort_key=0))
@dataclass(frozen=True, kw_only=True)
class CorpusReport:
    """A whole corpus instead of an image."""

    corpus: str | None = None
    """Captions to analyse instead of images and --text: a .tsv, .csv, .jsonl, COCO .json or .txt file, or scenes of the
    emoji world (`world:101,102,103:100`). Which roles receive the attribution, with intervals and controls?"""

    report: Path | None = None
    """File for the report: .html, with all figures in a .json beside it, or .json alone."""

    methods: Annotated[tuple[str, ...], Parameter(consume_multiple=True, show_default=False)] = ()
    """Attributions to run, such as `attention.rollout` or `perturbation.drop`. Defaults to all that the model and the
    corpus allow; the report names them."""

    layers: Annotated[bool, Parameter(negative="--no-layers")] = True
    """Also run attention and Grad-CAM at every block."""

    images_in: Path | None = None
    """Folder that image names are relative to. Defaults to the folder of the corpus."""

    captions_alone: bool = False
    """Ignore the images; only attributions that need none are run."""

    limit: int | None = None
    """Maximum number of captions; the first ones are used."""

    batch: int = 32
    """Captions and images per pass. Smaller batches need less memory."""

    work: Path | None = None
    """Folder for intermediate results, so that an interrupted run continues and a second run with the same model and
    corpus is fast. By default they lie beside the report and are removed when it is written."""

    def refuse_alone(self) -> None:
        """Refuse options that mean nothing without --corpus.

        Raises:
            UsageError: one is given.
        """
        plain = CorpusReport()
        for name in ("report", "methods", "layers", "images_in", "captions_alone", "limit", "batch", "work"):
            if getattr(self, name) != getattr(plain, name):
                raise UsageError(f"--{name.replace('_', '-')} needs --corpus, which is not given.")


CORPUS = CorpusReport()
MODELS = WordsModels()


def report_words(
    asked: CorpusReport, models: WordsModels, output: OutputOptions, *, roles: str = "auto"
) -> int:
    """Analyse a corpus, write the report, print its verdict.

    Args:
        asked: corpus, report and how. models: which. output: whether files are replaced, and whether JSON is printed.
        roles: "auto" takes those of the corpus, else the rules.

    Raises:
        UsageError: neither a report nor --json, or options that mean nothing here.
    """
    if roles == "none":
        raise UsageError("--roles none leaves a --corpus nothing to compare; leave it out.")
    if asked.report is None and not output.json:
        raise UsageError("--corpus needs --report out.html, or --json.")
    if asked.report is not None and asked.report.suffix.lower() not in (".html", ".json"):
        raise UsageError(f"--report {asked.report} does not end with .html or .json.")
    if output.out is not None or output.format:
        raise UsageError("--out and --format need an image; a --corpus is written to --report.")
    if asked.batch < 1 or (asked.limit is not None and asked.limit < 1):
        raise UsageError("--batch and --limit must be 1 or more.")
    named = models.named()
    with waiting():
        from clipsight.bench.word_gap import Corpus, CorpusOptions, analyse_words
        from clipsight.results import check_writable
    try:
        corpus = Corpus(
            asked.corpus or "",
            CorpusOptions(
                roles=roles, images=asked.images_in, pictures=not asked.captions_alone, limit=asked.limit
            ),
        )
    except (ValueError, FileNotFoundError) as error:
        raise UsageError(f"--corpus: {error}") from error
    if asked.report is not None:
        asked.report.parent.mkdir(parents=True, exist_ok=True)
        written = (asked.report, asked.report.with_suffix(".json"))
        if os.path.exists(asked.corpus or ""):
            refuse_inputs(written, [asked.corpus or ""])
        for file in written:
            check_writable(file, overwrite=output.overwrite)
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
    files = () if asked.report is None else report.save(asked.report, overwrite=output.overwrite)
    if asked.work is None and work is not None:
        _clear(work)
    if output.json:
        print_json(report.to_dict())
    else:
        _show(report, files)
    return SUCCESS


def _clear(work: Path) -> None:
    """Remove the parts of a finished run, and their folder if nothing else is in it."""
    for part in work.glob(f"*-{'?' * 24}.npz"):
        part.unlink()
    if work.is_dir() and not any(work.iterdir()):
        work.rmdir()


def _show(report: "WordsReport", files: Sequence[Path]) -> None:
    from clipsight.bench.word_gap import verdict

    for model in report.models:
        say(f"{model.label}, {report.corpus['corpus']}", style="bold")
        _table(model)
        for line in verdict(model):
            say(line)
        for line in model.named[:3]:
            say(f"left out: {line}", style="dim")
        if model.malformed > 3:
            say(f"{model.malformed:,} rows were left out.", style="dim")
        for name, why in model.left_out.items():
            say(f"note: {name} was not run: {why}.", style="dim")
        say("")
    say(LEGEND, style="dim")
    if files:
        say(f"Written to {', '.join(str(file.resolve()) for file in files)}")


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
