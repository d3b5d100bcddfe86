"""From an annotations folder to the items of a benchmark, and what was not as it should be."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from clipsight.bench.composition.benchmark import READERS, Annotation, Benchmark, BenchmarkFiles, ReadOptions
from clipsight.bench.composition.item import Item
from clipsight.bench.composition.pictures import COLLECTIONS
from clipsight.errors import ClipsightError, Unsupported
from clipsight.records import BadRow, Malformed


class DataAbsent(ClipsightError, FileNotFoundError):
    """None of a benchmark's annotation files is there; the message draws the folders that are expected."""


@dataclass(frozen=True, kw_only=True)
class FileRead:
    """An annotation file as it was read: `rows` are its records, malformed ones included."""

    split: str
    file: str
    sha256: str
    rows: int
    malformed: int


@dataclass(frozen=True, kw_only=True)
class Absent:
    """A file of a benchmark that was not read, and why."""

    annotation: Annotation
    reason: str


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What an annotations folder holds of a benchmark.

    Attributes:
        items: in the order of the files and their records.
        files: those that were read. absent: those that were not.
        malformed: records that were passed over.
    """

    benchmark: Benchmark
    items: tuple[Item, ...]
    files: tuple[FileRead, ...]
    absent: tuple[Absent, ...]
    malformed: tuple[Malformed, ...]


def read_benchmark(
    benchmark: Benchmark, annotations: Path | None, options: ReadOptions | None = None
) -> Reading:
    """Read what is there of a benchmark.

    Args:
        annotations: the folder that holds the benchmark's own, or that one itself; the emoji world needs none.
        options: what some readers must be told.

    Raises:
        DataAbsent: none of its files could be read.
    """
    options = options or ReadOptions()
    items: list[Item] = []
    files: list[FileRead] = []
    absent: list[Absent] = []
    malformed: list[Malformed] = []
    for annotation in benchmark.annotations:
        sources = list(_sources(benchmark, annotation, annotations, options))
        if not sources:
            absent.append(Absent(annotation=annotation, reason="no such file"))
        for source in sources:
            try:
                found, bad, rows = _read(benchmark, source)
            except Unsupported as error:
                absent.append(Absent(annotation=annotation, reason=str(error)))
                continue
            items += found
            malformed += bad
            mark = hashlib.sha256(source.path.read_bytes()).hexdigest() if source.path.is_file() else ""
            files.append(
                FileRead(split=annotation.split, file=source.name, sha256=mark, rows=rows, malformed=len(bad))
            )
    if not files:
        raise DataAbsent(absence(benchmark, annotations, absent))
    return Reading(
        benchmark=benchmark,
        items=tuple(items),
        files=tuple(files),
        absent=tuple(absent),
        malformed=tuple(malformed),
    )


def is_there(benchmark: Benchmark, annotations: Path | None, options: ReadOptions) -> bool:
    """Whether there is anything to read of a benchmark, without reading it."""
    if "zero_shot" in benchmark.collections:
        return bool(options.zero_shot)
    return any(True for one in benchmark.annotations for _ in _sources(benchmark, one, annotations, options))


def absence(benchmark: Benchmark, annotations: Path | None, absent: list[Absent] | None = None) -> str:
    """Why nothing was read, and the folders that are expected."""
    where = f"{annotations} has none of its files" if annotations else "no annotations folder was given"
    reasons = dict.fromkeys(one.reason for one in absent or () if one.reason != "no such file")
    if reasons:
        where = (
            f"none of its files in {annotations} could be read" if annotations else "nothing could be read"
        )
    said = f" {' '.join(reasons)}" if reasons else ""
    below = "" if benchmark.tree else ", below the folder that is given as annotations and as pictures"
    return (
        f"{benchmark.title} was asked for, and {where}.{said} They come from {benchmark.origin}; the usual cause is "
        f"another place or name. Expected{below}:\n\n{expected_tree(benchmark)}"
    )


def expected_tree(benchmark: Benchmark) -> str:
    """The annotation files and the picture folders of a benchmark as a tree, with the records of each release file."""
    if benchmark.tree:
        return benchmark.tree
    paths: dict[PurePosixPath, str] = {}
    for one in benchmark.annotations:
        if one.files:
            first, *others = (PurePosixPath(file) for file in one.files)
            said = [f"{one.rows:,} records"] if one.rows else []
            said += [f"or {other.name}" for other in others if other.name != first.name]
            paths[benchmark.folders[0] / first] = ", ".join(said)
    lines = ["annotations/", *_branches({path.parts: note for path, note in paths.items()})]
    drawn = [COLLECTIONS[name] for name in benchmark.collections if COLLECTIONS[name].folders]
    for index, one in enumerate(drawn):
        last = index == len(drawn) - 1
        others = ", ".join(folder or "pictures itself" for folder in one.folders[1:])
        lines += [
            *([] if index else ["pictures/"]),
            f"{'└' if last else '├'}── {one.folders[0]}/   {one.title}",
        ]
        lines += [f"{' ' if last else '│'}     or in {others}"]
    return "\n".join(lines)


def _read(benchmark: Benchmark, source: BenchmarkFiles) -> tuple[list[Item], list[Malformed], int]:
    """(items, malformed records, records) of one file."""
    make = READERS[benchmark.id]
    items: list[Item] = []
    bad: list[Malformed] = []
    rows = 0
    for row in benchmark.rows(source):
        rows += 1
        if isinstance(row, Malformed):
            bad.append(row)
            continue
        try:
            items += list(make(row, source))
        except BadRow as error:
            bad.append(Malformed(file=source.name, line=row.line, reason=str(error)))
    return items, bad, rows


def _sources(
    benchmark: Benchmark, annotation: Annotation, annotations: Path | None, options: ReadOptions
) -> Iterator[BenchmarkFiles]:
    """The files of an annotation that are there; one without a file if it needs none."""
    if not annotation.files:
        yield BenchmarkFiles(
            benchmark=benchmark.id, annotation=annotation, path=Path(), name=annotation.split, options=options
        )
    elif annotations is not None:
        for folder, path in _matches(benchmark, annotation, annotations):
            name = path.relative_to(folder).as_posix()
            yield BenchmarkFiles(
                benchmark=benchmark.id, annotation=annotation, path=path, name=name, options=options
            )


def _matches(benchmark: Benchmark, annotation: Annotation, annotations: Path) -> list[tuple[Path, Path]]:
    """(folder, file) of the first name that is there."""
    for pattern in annotation.files:
        for name in _spellings(pattern):
            for part in benchmark.folders:
                folder = annotations / part
                if found := sorted(path for path in folder.glob(name) if path.is_file()):
                    return [(folder, path) for path in found]
    return []


def _spellings(name: str) -> list[str]:
    """A file's name in the release, without `data/`, and flattened; then the same of excerpts."""
    short = name.removeprefix("data/")
    whole = dict.fromkeys((name, short, name.replace("/", "__"), short.replace("/", "__")))
    paths = [PurePosixPath(one) for one in whole]
    return [*whole, *(str(path.with_name(f"{path.stem}_first*{path.suffix}")) for path in paths)]


def _branches(paths: dict[tuple[str, ...], str], indent: str = "") -> list[str]:
    """A tree's lines; files of a folder before its sub-folders' lines, in the order given."""
    below: dict[str, dict[tuple[str, ...], str]] = {}
    for (first, *rest), note in paths.items():
        below.setdefault(first, {})[tuple(rest)] = note
    lines = []
    for index, (name, inner) in enumerate(below.items()):
        last = index == len(below) - 1
        note = inner.get(())
        folder = note is None
        lines.append(
            f"{indent}{'└── ' if last else '├── '}{name}{'/' if folder else f'   {note}' if note else ''}"
        )
        if folder:
            lines += _branches(inner, indent + ("    " if last else "│   "))
    return lines
