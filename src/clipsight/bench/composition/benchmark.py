"""Benchmarks by id: what each is made of, which files it needs, and who turns its records into items."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipsight.bench.composition.item import Item, PictureRef
from clipsight.bench.composition.order import Tagger
from clipsight.bench.composition.protocol import Protocol
from clipsight.records import Malformed, Row, csv_rows, json_rows, jsonl_rows


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What some readers must be told.

    Attributes:
        tagger: who says what part of speech a word is; the order tasks are made with it.
        seed: of the shuffles of the order tasks.
        world_seeds, world_count: which scenes of the emoji world, and how many of each seed.
        world_size: side of these scenes in pixels.
        zero_shot: folders of class folders, or tables with `filepath` and `label`, to classify pictures of.
        templates: what class names of these are put into: a set ("IN80", "IN7", …), sentences with "{}", or None.
    """

    tagger: Tagger | None = None
    seed: int = 1
    world_seeds: tuple[int, ...] = (101, 102, 103)
    world_count: int = 100
    world_size: int = 112
    zero_shot: tuple[Path, ...] = ()
    templates: str | tuple[str, ...] | None = "IN80"


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """A file of a benchmark's release.

    Attributes:
        split: what its items count for; readers may split it further.
        files: where it is looked for below the benchmark's folder, "*" as in glob; the first that is there is taken,
            with all of its matches. Names with "__" for "/", and excerpts called `NAME_first50.json`, are found too.
        rows: records of the release, all matches together; None where nobody stated it.
        tagged: how many of their items bear a tag.
        collection: where its pictures are; a key of `COLLECTIONS`.
    """

    split: str
    files: tuple[str, ...]
    rows: int | None
    collection: str = ""
    tagged: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BenchmarkFiles:
    """One annotation file at hand, for a reader.

    Attributes:
        name: the file as found below the folder.
    """

    benchmark: str
    annotation: Annotation
    path: Path
    name: str
    options: ReadOptions

    def item(
        self,
        row: Row,
        *,
        rule: str,
        pictures: tuple[PictureRef, ...],
        positives: tuple[str, ...],
        key: str | None = None,
        split: str | None = None,
        **others: Any,
    ) -> Item:
        """An item of this file: `Item` with what the file knows filled in; the key is the record's unless given."""
        part = self.annotation.split if split is None else split
        return Item(
            id=f"{self.benchmark}/{part}/{row.key if key is None else key}",
            benchmark=self.benchmark,
            split=part,
            rule=rule,
            pictures=pictures,
            positives=positives,
            source=self.name,
            line=row.line,
            **others,
        )

    def picture(
        self, file: str, crop: tuple[float, float, float, float] | None = None, collection: str | None = None
    ) -> PictureRef:
        """A picture of this file's collection, unless another is given."""
        return PictureRef(file=file, crop=crop, collection=collection or self.annotation.collection)


RecordsOf = Callable[[BenchmarkFiles], Iterator[Row | Malformed]]
"""The records of a file."""
ItemsOf = Callable[[Row, BenchmarkFiles], Iterable[Item]]
"""The items of a record; `BadRow` when it is not one."""


def json_file(source: BenchmarkFiles) -> Iterator[Row | Malformed]:
    """A JSON list or object; one value a line where the name ends with .jsonl."""
    read = jsonl_rows if source.path.suffix == ".jsonl" else json_rows
    return read(source.path, source.name)


def table_file(source: BenchmarkFiles) -> Iterator[Row | Malformed]:
    """A table with commas, and a line of names."""
    return csv_rows(source.path, source.name)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A benchmark: what it is made of, where it comes from, how it is counted.

    Attributes:
        title: its name in papers.
        origin: repository and commit, or data set, and licence.
        folders: below the annotations folder, where its files are looked for; "" is that folder itself.
        annotations: its files. rows: how the records of one are found.
        protocols: by name; "official" is always among them.
        notes: what someone who compares its scores should know.
        guard: whether it asks for what a model could do before, so that a gain bought elsewhere is seen.
        tree: what is expected, drawn, where annotations and collections do not say it.
    """

    id: str
    title: str
    origin: str
    folders: tuple[str, ...]
    annotations: tuple[Annotation, ...]
    protocols: Mapping[str, Protocol]
    rows: RecordsOf = json_file
    notes: tuple[str, ...] = ()
    guard: bool = False
    tree: str = ""

    @property
    def collections(self) -> tuple[str, ...]:
        """Where its pictures are, each once."""
        return tuple(dict.fromkeys(one.collection for one in self.annotations if one.collection))


BENCHMARKS: dict[str, Benchmark] = {}
READERS: dict[str, ItemsOf] = {}


def reader(benchmark: Benchmark) -> Callable[[ItemsOf], ItemsOf]:
    """Register a benchmark with the decorated function, which makes the items of its records.

    Raises:
        ValueError: the id is taken, or no protocol is called "official".
    """
    if benchmark.id in BENCHMARKS:
        raise ValueError(
            f"a benchmark with the id {benchmark.id!r} is registered already; give yours another."
        )
    if "official" not in benchmark.protocols:
        raise ValueError(f'{benchmark.id}: no protocol is called "official"; every benchmark has that one.')
    BENCHMARKS[benchmark.id] = benchmark

    def register(make: ItemsOf) -> ItemsOf:
        READERS[benchmark.id] = make
        return make

    return register


def get_benchmark(id: str) -> Benchmark:
    """The benchmark of this id.

    Raises:
        ValueError: none has it.
    """
    if (known := BENCHMARKS.get(id)) is not None:
        return known
    near = difflib.get_close_matches(id, BENCHMARKS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise ValueError(f"no benchmark is called {id!r}{hint} The benchmarks are {', '.join(benchmark_ids())}.")


def benchmark_ids() -> tuple[str, ...]:
    """Ids of all benchmarks, in alphabetical order."""
    return tuple(sorted(BENCHMARKS))
