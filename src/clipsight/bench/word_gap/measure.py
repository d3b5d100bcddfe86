"""A model asked about every caption of a corpus, in parts that are written and found again.

A part's file is named by a mark of all that it depends on: the model's state, the code that asks, the columns, the
captions with their roles, pictures and foils. A part that is there is taken as it is. An interrupted run loses the part
that it was at.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from clipsight.bench.composition.encoder import LensEncoder
from clipsight.bench.runner import Failure, Progress, WorkItem, run
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
        progress: called after each part with the label, how many captions are done, and roughly how many there are.

    Raises:
        Unsupported: a model without a tokenizer.
    """
    asker = CorpusMeasurer(lens, columns, batch)
    state = _mark(
        [
            LensEncoder(lens).about.mark,
            code_of("attribution", "bench", "checkpoints", "language", "pictures", "roles", "towers"),
            [column.to_dict() for column in columns],
        ]
    )
    rows, order = _PartRows(folder), []
    named: list[str] = []
    extractors: dict[str, None] = {}
    captions = cut = malformed = 0

    def items() -> Iterator[WorkItem | Failure]:
        for some in _parts(corpus):
            yield from (
                Failure(item=f"{one.file}:{one.line}", reason=one.reason)
                for one in some
                if isinstance(one, Malformed)
            )
            read = [one for one in some if isinstance(one, CorpusCaption)]
            extractors.update(dict.fromkeys(f"{one.roles.extractor} {one.roles.version}" for one in read))
            id = f"{state}-{_mark([_facts(one) for one in read])}"
            yield WorkItem(id=id, measure=lambda read=read: asker.ask(read))

    def counted(items: Iterator[WorkItem | Failure]) -> Iterator[WorkItem | Failure]:
        nonlocal captions, cut, malformed
        for item in items:
            yield item
            left_out = [str(item)]
            if isinstance(item, WorkItem):
                part = rows.get(item.id)
                order.append(item.id)
                captions, cut, left_out = captions + len(part), cut + part.cut, list(part.broken)
                if progress is not None:
                    progress(label, captions, max(about, captions))
            malformed += len(left_out)
            named.extend(left_out[: max(NAMED - len(named), 0)])

    summary = run(items(), rows, strict=True, watch=counted)
    return Measured(
        parts=lambda: map(rows.get, order),
        captions=captions,
        cut=cut,
        malformed=malformed,
        named=tuple(named),
        extractors=tuple(extractors),
        kept=summary.reused,
    )


class _PartRows:
    """Measured parts, in memory or as files; the name of a part is a mark of all that it depends on."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._held: dict[str, MeasuredPart] = {}

    def __contains__(self, id: str) -> bool:
        return self._folder is not None and MeasuredPart.load(self._path(self._folder, id), id) is not None

    def add(self, id: str, row: MeasuredPart) -> None:
        if self._folder is None:
            self._held[id] = row
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        row.save(self._path(self._folder, id), id)

    def get(self, id: str) -> MeasuredPart:
        if self._folder is None:
            return self._held[id]
        path = self._path(self._folder, id)
        part = MeasuredPart.load(path, id)
        if part is None:
            raise FileNotFoundError(
                f"{path} is gone or was changed while it was read; run the command again, and leave the folder alone."
            )
        return part

    @staticmethod
    def _path(folder: Path, id: str) -> Path:
        return folder / f"{id}.npz"


def _parts(corpus: Iterable[CorpusCaption | Malformed]) -> Iterator[list[CorpusCaption | Malformed]]:
    rows = iter(corpus)
    while some := list(islice(rows, PART)):
        yield some


def _facts(one: CorpusCaption) -> list[Any]:
    picture = one.picture
    if isinstance(picture, str | Path) and Path(picture).is_file():
        known = Path(picture).stat()
        seen: Any = [str(picture), known.st_size, known.st_mtime_ns]
    else:
        # What is drawn when needed is told by its name, what is missing by its path.
        seen = str(picture) if isinstance(picture, str | Path) else picture is not None
    return [one.file, one.line, one.caption, one.cluster, one.roles.roles, one.foils, seen]


def _mark(facts: Any) -> str:
    return hashlib.blake2b(json.dumps(facts, default=str).encode(), digest_size=12).hexdigest()
