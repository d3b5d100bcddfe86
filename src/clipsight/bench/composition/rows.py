"""What a benchmark comes to: its splits as rows, and what must be said beside them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from clipsight.bench.composition.benchmark import Benchmark
from clipsight.bench.composition.encoding import all_pictures, all_texts
from clipsight.bench.composition.folder import Reading, expected_tree
from clipsight.bench.composition.item import Item, PictureRef
from clipsight.bench.composition.protocol import Counting, Protocol
from clipsight.bench.composition.report import Counts, SplitRow
from clipsight.bench.composition.rules import RULES
from clipsight.bench.composition.scoring import SplitFeatures, score_items, unit
from clipsight.bench.composition.store import FeatureStore, text_key

_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A benchmark as it was read, with its items by split.

    Attributes:
        name, protocol: how it is counted.
        items: all that were read. counted: of these, those that the protocol counts.
    """

    reading: Reading
    name: str
    protocol: Protocol
    items: Mapping[str, list[Item]]
    counted: Mapping[str, list[Item]]


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Where the features of the items are, and which pictures and texts have none."""

    store: FeatureStore
    keys: Mapping[PictureRef, str]
    broken: Mapping[PictureRef, str]
    cut: frozenset[str]
    unread: Mapping[str, str] = field(default_factory=dict)

    def has(self, item: Item) -> bool:
        """Whether an item's pictures and texts all have features."""
        return all(ref in self.keys and ref not in self.broken for ref in item.pictures) and not (
            self.unread and any(text in self.unread for text in all_texts([item]))
        )


def split_row(asked: Asked, split: str, encoded: Encoded) -> SplitRow:
    """The result of a split."""
    items = asked.counted[split]
    counting = asked.protocol.of(split)
    there = [one for one in items if encoded.has(one)]
    refs, texts = all_pictures(items), all_texts(items)
    gone = [ref for ref in refs if ref not in encoded.keys or ref in encoded.broken]
    rule = RULES[asked.items[split][0].rule]
    sources = {one.source for one in asked.items[split]}
    files = [one for one in asked.reading.files if one.split == split or one.file in sources]
    return SplitRow(
        benchmark=asked.reading.benchmark.id,
        split=split,
        protocol=asked.name,
        rule=rule.id,
        metric=counting.metric or rule.headline,
        average=counting.average,
        metrics=score_items(there, items, counting.groups(items), _features(there, encoded)),
        counts=Counts(
            expected=_expected(asked.reading.benchmark, split, counting),
            items=len(asked.items[split]),
            counted=len(items),
            missing=len(items) - len(there),
            malformed=sum(one.malformed for one in files),
            pictures=len(refs),
            missing_pictures=len(gone),
            unreadable_pictures=sum(ref in encoded.broken for ref in refs),
            texts=len(texts),
            cut_texts=sum(text in encoded.cut for text in texts),
        ),
        missing_names=tuple(dict.fromkeys(ref.file for ref in gone))[:_NAMED],
        files=tuple(files),
        texts_sha256=hashlib.sha256("\n".join(texts).encode()).hexdigest(),
    )


def _features(items: Sequence[Item], encoded: Encoded) -> SplitFeatures:
    refs, texts = all_pictures(items), all_texts(items)
    if not items:
        nothing = np.zeros((0, 1), np.float32)
        return SplitFeatures(pictures=nothing, texts=nothing, picture_row={}, text_row={})
    said = unit(encoded.store.get("texts", [text_key(text) for text in texts]))
    nothing = np.zeros((0, said.shape[1]), np.float32)
    return SplitFeatures(
        pictures=unit(encoded.store.get("pictures", [encoded.keys[ref] for ref in refs]))
        if refs
        else nothing,
        texts=said,
        picture_row={ref: row for row, ref in enumerate(refs)},
        text_row={text: row for row, text in enumerate(texts)},
    )


def _expected(benchmark: Benchmark, split: str, counting: Counting) -> int | None:
    whole = next((one for one in benchmark.annotations if one.split == split), None)
    return None if whole is None else counting.expected(whole.rows, whole.tagged)


def notes(asked: Asked, protocol: str) -> list[str]:
    """What a reader of the scores should know: traps of the benchmark, of the protocol, and what was not read."""
    benchmark = asked.reading.benchmark
    said = [f"{benchmark.id}: {note}" for note in (*benchmark.notes, asked.protocol.note) if note]
    if asked.name != protocol and not benchmark.guard:
        said.append(
            f"{benchmark.id}: the protocol {protocol} is not defined for it; it was counted officially."
        )
    for reason in dict.fromkeys(one.reason for one in asked.reading.absent):
        absent = [one.annotation for one in asked.reading.absent if one.reason == reason]
        named = [one.files[0] if reason == "no such file" else one.split for one in absent]
        said.append(f"{benchmark.id}: not read, {reason.rstrip('.')}: {_few(named)}.")
    here = {
        one.split: sum(file.rows for file in asked.reading.files if file.split == one.split)
        for one in benchmark.annotations
    }
    other = [
        f"{one.split} {here[one.split]:,} of {one.rows:,}"
        for one in benchmark.annotations
        if one.rows and here[one.split] not in (0, one.rows)
    ]
    if other:
        said.append(f"{benchmark.id}: not as many records as in the release: {_few(other)}.")
    if asked.reading.malformed:
        count = len(asked.reading.malformed)
        said.append(
            f"{benchmark.id}: {count:,} malformed records were passed over, the first {asked.reading.malformed[0]}."
        )
    return said


def _few(names: Sequence[str], most: int = 7) -> str:
    shown = ", ".join(names[:most])
    return f"{shown}, … ({len(names)} in all)" if len(names) > most else shown


def unscored(asked: Asked, rows: Sequence[SplitRow], images: Path | None) -> list[str]:
    """What to say of files of which no record could be read, and when no item of a benchmark has its pictures."""
    benchmark = asked.reading.benchmark
    first = {bad.file: bad for bad in reversed(asked.reading.malformed)}
    said = [
        f"{benchmark.id}: no record of {one.file} could be read, {first[one.file]}; another file of that name is the "
        f"usual cause. It should be the one of {benchmark.origin}."
        for one in asked.reading.files
        if one.malformed and one.malformed >= one.rows
    ]
    if said or any(row.score() is not None for row in rows):
        return said
    missing = sum(row.counts.missing for row in rows)
    named = ", ".join(list(dict.fromkeys(name for row in rows for name in row.missing_names))[:_NAMED])
    return [
        f"{benchmark.id}: none of its {missing:,} items has its pictures below {images}, such as {named}; the usual "
        f"cause is another folder. Expected:\n\n{expected_tree(benchmark)}"
    ]
