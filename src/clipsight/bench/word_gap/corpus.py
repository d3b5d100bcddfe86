"""Captions to analyse, one at a time: from files of several kinds, or from the emoji world with its true roles.

| given | what is read |
|---|---|
| `FILE.tsv`, `FILE.csv` | a line of names, then rows; `fields` has the names |
| `FILE.jsonl` | an object a line, with the same names |
| `FILE.json` | a list of such objects; COCO's captions (`images`, `annotations`); Karpathy's split of them (`test`) |
| `FILE.txt` | a caption a line |
| `world:SEED:COUNT` | scenes of the emoji world, with pictures, true roles and foils; several seeds with commas |

Tables, lines and the world are streamed; JSON is read whole.
"""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from clipsight.bench.composition.benchmark import Annotation, BenchmarkFiles, ReadOptions
from clipsight.bench.composition.readers.retrieval import captioned
from clipsight.bench.word_gap.caption import CorpusCaption
from clipsight.bench.word_gap.fields import read_row
from clipsight.bench.word_gap.world_captions import CAPTIONS, world_captions
from clipsight.records import (
    PICTURE,
    BadRow,
    Malformed,
    Row,
    column,
    csv_rows,
    has_roles,
    jsonl_rows,
    text_rows,
)
from clipsight.roles.extract import EXTRACTORS

SUFFIXES = (".tsv", ".csv", ".jsonl", ".json", ".txt")
_WORLD = re.compile(r"world:(\d+(?:,\d+)*):(\d+)")


@dataclass(frozen=True, kw_only=True)
class CorpusOptions:
    """How a corpus is read.

    Attributes:
        roles: which words are objects, attributes, relations: "auto" is what the corpus says itself, else "rules"; or
            an extractor's id.
        images: folder that pictures are named from; None is the corpus's own.
        pictures: False leaves them out: the captions alone are analysed.
        per_picture: where a record has a list of captions, how many of them are taken.
        limit: at most so many captions; None takes all.
        foils: whether to make foils, with which replacing words is measured.
        seed: of the foils.
    """

    roles: str = "auto"
    images: Path | None = None
    pictures: bool = True
    per_picture: int = 1
    limit: int | None = None
    foils: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be read with.

        Raises:
            ValueError: an unknown extractor, or a number below 1.
        """
        if self.roles != "auto" and self.roles not in EXTRACTORS:
            raise ValueError(f"roles is {self.roles!r}; give auto or one of {', '.join(EXTRACTORS)}.")
        if self.per_picture < 1 or (self.limit is not None and self.limit < 1):
            raise ValueError(f"per_picture is {self.per_picture} and limit {self.limit}; give 1 or more.")


class Corpus:
    """Captions by name.

    Args:
        name: a file, or scenes of the world; see the head of this file.
        options: how it is read.

    Attributes:
        pictured: whether its captions have pictures.

    Raises:
        FileNotFoundError: no such file. ValueError: a name that says neither.
    """

    def __init__(self, name: str, options: CorpusOptions | None = None) -> None:
        self.name, self.options = name, options or CorpusOptions()
        self._world = _WORLD.fullmatch(name)
        if self._world is None:
            self._path = _file(name)
        elif self.options.roles not in ("auto", "column"):
            # The world's captions with roles that a tagger finds are a file: `clipsight world` writes it.
            raise ValueError(
                f"roles is {self.options.roles!r} and the scenes of {name!r} have true ones; leave roles out, or write "
                "the scenes with `clipsight world` and name the file."
            )
        self.pictured = self.options.pictures and (self._world is not None or _names_pictures(self._rows()))

    def __iter__(self) -> Iterator[CorpusCaption | Malformed]:
        """Captions in their order, and, where one cannot be read, what is wrong with it."""
        taken = 0
        for one in self._captions():
            if isinstance(one, CorpusCaption):
                if taken == self.options.limit:
                    return
                taken += 1
            yield one

    def about(self) -> int:
        """How many captions there are, roughly: for a progress bar."""
        if self._world is not None:
            found = (self._world[1].count(",") + 1) * int(self._world[2]) * CAPTIONS
        elif self._path.suffix == ".json":
            found = sum(1 for _ in self._rows()) * self.options.per_picture
        else:
            with self._path.open("rb") as file:
                found = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
        return found if self.options.limit is None else min(found, self.options.limit)

    def to_dict(self) -> dict[str, Any]:
        """What it is and how it is read, as plain data."""
        said = {
            key: str(value) if isinstance(value, Path) else value
            for key, value in asdict(self.options).items()
        }
        return {"corpus": self.name, "pictured": self.pictured, **said}

    def _captions(self) -> Iterator[CorpusCaption | Malformed]:
        if self._world is not None:
            seeds = [int(seed) for seed in self._world[1].split(",")]
            for one in world_captions(seeds, int(self._world[2])):
                yield one if self.pictured else replace(one, picture=None)
            return
        options, roles = self.options, self.options.roles
        for row in self._rows():
            if isinstance(row, Malformed):
                yield row
                continue
            try:
                said = has_roles(row)
                if roles == "auto":
                    roles = "column" if said else "rules"
                if options.roles in ("auto", "column") and said != (roles == "column"):
                    raise BadRow(
                        f"it has {'' if said else 'no '}columns of roles, unlike the first; a corpus is of one kind"
                    )
                yield from read_row(
                    row,
                    self._path.name,
                    roles=roles,
                    images=(options.images or self._path.parent) if self.pictured else None,
                    per_picture=options.per_picture,
                    foils=options.foils,
                    seed=options.seed,
                )
            except BadRow as error:
                yield Malformed(file=self._path.name, line=row.line, reason=str(error))

    def _rows(self) -> Iterator[Row | Malformed]:
        path, name = self._path, self._path.name
        if path.suffix == ".jsonl":
            return jsonl_rows(path, name)
        if path.suffix == ".json":
            return captioned(_source(path))
        if path.suffix == ".txt":
            return text_rows(path, name)
        return csv_rows(path, name)


def _file(name: str) -> Path:
    path = Path(name)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"the corpus {name!r} is neither a file of captions ({', '.join(SUFFIXES)}) nor scenes of the emoji world "
            "(world:101:100 are 100 scenes of seed 101)."
        )
    if not path.is_file():
        raise FileNotFoundError(f"the corpus {name!r} is not there; correct the name.")
    return path


def _names_pictures(rows: Iterator[Row | Malformed]) -> bool:
    first = next((row for row in rows if isinstance(row, Row) and isinstance(row.value, dict)), None)
    return first is not None and column(first, PICTURE) is not None


def _source(path: Path) -> BenchmarkFiles:
    nothing = Annotation(split="", files=(), rows=None)
    return BenchmarkFiles(benchmark="", annotation=nothing, path=path, name=path.name, options=ReadOptions())
