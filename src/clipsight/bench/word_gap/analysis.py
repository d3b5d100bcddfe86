"""The whole analysis: a corpus, a model or several, their figures."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from clipsight.bench.composition.encoder import LensEncoder
from clipsight.bench.rows import versions
from clipsight.bench.runner import Progress
from clipsight.bench.word_gap.behaviour import behaviour
from clipsight.bench.word_gap.caption import CorpusCaption
from clipsight.bench.word_gap.columns import Column, choose_columns
from clipsight.bench.word_gap.corpus import Corpus
from clipsight.bench.word_gap.measure import Measured, measure
from clipsight.bench.word_gap.part import ATTRIBUTE, GROUPS, OBJECT, RELATION, MeasuredPart
from clipsight.bench.word_gap.report import ExampleCaption, GapRow, ModelWords, WordsReport
from clipsight.bench.word_gap.statistics import summarise
from clipsight.records import Malformed
from clipsight.session.lens import Lens
from clipsight.towers.families import towers_of

_EXAMPLES = 5


def analyse_words(
    models: Iterable[Lens | tuple[str, Lens]],
    corpus: Corpus,
    methods: Sequence[str] | None = None,
    *,
    layers: bool = True,
    folder: Path | None = None,
    replicates: int = 1000,
    shuffles: int = 20,
    seed: int = 0,
    batch: int = 32,
    progress: Progress | None = None,
) -> WordsReport:
    """Do words that name objects take the attribution that relations and attributes should have?

    Args:
        models: asked one after the other, each with a label if wanted; an iterator may load them one by one.
        corpus: captions, with pictures or alone.
        methods: setups (`clipsight.bench.word_gap.columns.SETUPS`) or ids of attributions; None takes all setups.
        layers: also ask attention and Grad-CAM at every block.
        folder: where measures are kept, so that an interrupted run goes on; None keeps them in memory.
        replicates: bootstrap samples. shuffles: how often roles are dealt out anew. seed: of both.
        batch: captions, and pictures, in one pass: the memory knob.
        progress: called with a model's label, the captions done, and roughly how many there are.

    Raises:
        ValueError: an unknown method, none that model and corpus allow, no caption that can be read.
        Unsupported: a model without a tokenizer.

    Not claimed: that an attribution is faithful, or that a word of a small share would not be missed. Read the gap with
    its controls, and beside what the model does when words are replaced.

    Example:
        >>> import clipsight
        >>> report = analyse_words([clipsight.load("clipsight-tiny")], Corpus("world:101:4"), ["attention"])
        >>> report.models[0].rows[0].figures.gap["composition"]  # doctest: +SKIP
    """
    answers = []
    for one in models:
        label, lens = one if isinstance(one, tuple) else (_name(one), one)
        view = towers_of(lens.module).text
        columns, left_out = choose_columns(view, methods, pictured=corpus.pictured, layers=layers)
        if not columns:
            why = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
            raise ValueError(f"no attribution can be asked of {lens.loaded.name} with {corpus.name}: {why}.")
        measured = measure(
            lens,
            corpus,
            columns,
            folder=folder,
            batch=batch,
            about=corpus.about(),
            label=label,
            progress=progress,
        )
        if not measured.captions:
            named = "; ".join(measured.named[:3]) or "it is empty"
            raise ValueError(f"no caption of {corpus.name} could be read: {named}.")
        answers.append(_answer(label, lens, columns, measured, left_out, replicates, shuffles, seed))
    return WordsReport(
        corpus=corpus.to_dict(),
        settings={"replicates": replicates, "shuffles": shuffles, "seed": seed, "layers": layers},
        versions=versions(),
        models=tuple(answers),
    )


def analyse_captions(
    lens: Lens,
    captions: Iterable[CorpusCaption | Malformed],
    methods: Sequence[str] | None = None,
    *,
    label: str | None = None,
    replicates: int = 1000,
    shuffles: int = 20,
    seed: int = 0,
    batch: int = 32,
) -> ModelWords:
    """One model's figures over captions with pictures that are at hand, without layers; see `analyse_words`."""
    columns, left_out = choose_columns(towers_of(lens.module).text, methods, pictured=True, layers=False)
    measured = measure(lens, captions, columns, batch=batch)
    return _answer(label or _name(lens), lens, columns, measured, left_out, replicates, shuffles, seed)


def _name(lens: Lens) -> str:
    loaded = lens.loaded
    return f"{loaded.name} ({loaded.pretrained})" if loaded.pretrained else loaded.name


def _answer(
    label: str,
    lens: Lens,
    columns: Sequence[Column],
    measured: Measured,
    left_out: Mapping[str, str],
    replicates: int,
    shuffles: int,
    seed: int,
) -> ModelWords:
    summary = summarise(measured.parts, len(columns), replicates=replicates, shuffles=shuffles, seed=seed)
    return ModelWords(
        label=label,
        about=LensEncoder(lens).about,
        rows=tuple(
            GapRow(column=column, figures=figures)
            for column, figures in zip(columns, summary.columns, strict=bool(summary.captions))
        ),
        behaviour=behaviour(measured.parts, replicates=replicates, seed=seed),
        captions=summary.captions,
        comparable=summary.comparable,
        words=summary.words,
        cut=measured.cut,
        malformed=measured.malformed,
        named=measured.named,
        extractors=measured.extractors,
        left_out=left_out,
        examples=_examples(next(iter(measured.parts()), None), columns),
    )


def _examples(part: MeasuredPart | None, columns: Sequence[Column]) -> tuple[ExampleCaption, ...]:
    """The first captions with all three roles, or where there are none with two of them."""
    if part is None:
        return ()
    found: list[tuple[int, int]] = []
    for row in range(len(part)):
        roles = part.role[part.caption == row]
        named = sum(role in roles for role in (OBJECT, ATTRIBUTE, RELATION))
        if OBJECT in roles and named > 1:
            found.append((-named, row))
    chosen = sorted(found)[:_EXAMPLES]
    return tuple(_example(part, row, columns) for _, row in chosen)


def _example(part: MeasuredPart, row: int, columns: Sequence[Column]) -> ExampleCaption:
    own = np.flatnonzero(part.caption == row)
    sizes = np.abs(part.scores[own].astype(float))
    total = sizes.sum(0)
    shares = sizes / np.where(total > 0, total, 1)
    return ExampleCaption(
        words=tuple(part.words[index] for index in own),
        roles=tuple(GROUPS[part.role[index]] for index in own),
        shares={
            column.name: tuple(map(float, shares[:, place]))
            for place, column in enumerate(columns)
            if column.layer is None
        },
    )
