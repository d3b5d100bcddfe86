"""A model asked about every caption of a corpus, in parts that are written and found again.

Each part's file bears a mark of all that it depends on: the model's state, the code that asks, the columns, the
captions with their roles, pictures and foils. A part whose mark fits is taken as it is; another is made anew. An
interrupted run loses the part that it was at.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from clipsight.bench.composition.encoder import LensEncoder
from clipsight.bench.word_gap.caption import CorpusCaption
from clipsight.bench.word_gap.columns import Column
from clipsight.bench.word_gap.corpus_measurer import CorpusMeasurer
from clipsight.bench.word_gap.part import MeasuredPart
from clipsight.records import Malformed
from clipsight.session.lens import Lens
from clipsight.store import code_of

PART = 128
"""Rows of a part: what an interrupted run loses at most."""
NAMED = 20
"""Malformed rows that are named; the others are counted."""

Progress = Callable[[str, int, int], None]
"""Called with the model's label, how many captions are done, and roughly how many there are."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A corpus that was asked about.

    Attributes:
        parts: gives the parts from the first on, each time it is called.
        captions: how many. cut: of these, captions whose end the model does not see.
        malformed: rows that were left out. named: the first of them, as `file:line: reason`.
        extractors: what found the roles.
        kept: parts that were found from a run before.
    """

    parts: Callable[[], Iterable[MeasuredPart]]
    captions: int
    cut: int
    malformed: int
    named: tuple[str, ...]
    extractors: tuple[str, ...]
    kept: int


def measure(
    lens: Lens,
    corpus: Iterable[CorpusCaption | Malformed],
    columns: Sequence[Column],
    *,
    folder: Path | None = None,
    batch: int = 32,
    about: int = 0,
    label: str = "captions",
    progress: Progress | None = None,
) -> Measured:
    """Ask a model about a corpus.

    Args:
        lens: the model. corpus: captions in their order. columns: what is asked.
        folder: where parts are kept, for this model and others; None keeps them in memory.
        batch: captions, and pictures, in one pass.
        about: roughly how many captions there are. label: what the model is called. Both for `progress`.
        progress: called after each part.

    Raises:
        Unsupported: a model without a tokenizer.
    """
    asker = CorpusMeasurer(lens, columns, batch)
    state = [
        LensEncoder(lens).about.mark,
        code_of("attribution", "bench", "checkpoints", "language", "pictures", "roles", "towers"),
        [column.to_dict() for column in columns],
    ]
    held: list[MeasuredPart | tuple[Path, str]] = []
    named: list[str] = []
    extractors: dict[str, None] = {}
    captions = cut = malformed = kept = 0
    for some in _parts(corpus):
        read = [one for one in some if isinstance(one, CorpusCaption)]
        wrong = [str(one) for one in some if isinstance(one, Malformed)]
        extractors |= dict.fromkeys(f"{one.roles.extractor} {one.roles.version}" for one in read)
        mark = _mark([state, [_facts(one) for one in read]])
        path = None if folder is None else folder / f"{_mark(state)}-{len(held):06d}.npz"
        part = None if path is None else MeasuredPart.load(path, mark)
        kept += part is not None
        if part is None:
            part = asker.ask(read)
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                part.save(path, mark)
        held.append(part if path is None else (path, mark))
        captions += len(part)
        cut += part.cut
        malformed += len(wrong) + len(part.broken)
        named += [*wrong, *part.broken][: max(NAMED - len(named), 0)]
        if progress is not None:
            progress(label, captions, max(about, captions))
    return Measured(
        parts=lambda: map(_taken, held),
        captions=captions,
        cut=cut,
        malformed=malformed,
        named=tuple(named),
        extractors=tuple(extractors),
        kept=kept,
    )


def _parts(corpus: Iterable[CorpusCaption | Malformed]) -> Iterator[list[CorpusCaption | Malformed]]:
    rows = iter(corpus)
    while some := list(islice(rows, PART)):
        yield some


def _taken(held: MeasuredPart | tuple[Path, str]) -> MeasuredPart:
    if isinstance(held, MeasuredPart):
        return held
    part = MeasuredPart.load(*held)
    if part is None:
        raise FileNotFoundError(
            f"{held[0]} is gone or was changed while it was read; run the command again, and leave the folder alone."
        )
    return part


def _facts(one: CorpusCaption) -> list[Any]:
    picture = one.picture
    if isinstance(picture, str | Path) and Path(picture).is_file():
        known = Path(picture).stat()
        seen: Any = [str(picture), known.st_size, known.st_mtime_ns]
    else:
        # What is drawn when needed is told by its name, what is missing by its path.
        seen = str(picture) if isinstance(picture, str | Path) else picture is not None
    return [one.file, one.line, one.caption, one.cluster, one.roles.roles, one.foils, seen]


@cache
def _mark(facts: Any) -> str:
    return hashlib.blake2b(json.dumps(facts, default=str).encode(), digest_size=12).hexdigest()
