"""Training data in tables, lines of JSON, and COCO's files of captions."""

import os.path
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clipsight.bench.word_gap.fields import PICTURE, column
from clipsight.records.reading import BadRow, Malformed, Row, csv_rows, json_rows, jsonl_rows
from clipsight.tune.data.gathering import Gathering
from clipsight.tune.data.records import Said, read_record

SUFFIXES = (".tsv", ".csv", ".jsonl")
_TRAINING = ("train", "restval")
"""Of Karpathy's splits those that one trains on."""


class PictureFiles:
    """Finds pictures below a folder: the path as named, then its last part alone.

    Args:
        folder: that names begin from; absolute paths are taken as they are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._found: dict[str, str | None] = {}

    def find(self, name: str) -> str:
        """The file of a picture.

        Raises:
            BadRow: there is none.
        """
        if name not in self._found:
            tried = [os.path.join(self._folder, one) for one in (name, os.path.basename(name))]
            self._found[name] = next((path for path in tried if os.path.isfile(path)), None)
        path = self._found[name]
        if path is None:
            raise BadRow(f"there is no picture {name!r} below {self._folder}")
        return path


def as_named(place: Any) -> str:
    """A picture's file."""
    return str(place)


def gather_table(path: Path, images: Path, into: Gathering) -> None:
    """Rows of a table or of lines of JSON; names of columns are those of `clipsight.bench.word_gap.fields`."""
    pictures = PictureFiles(images)
    rows = (
        jsonl_rows(path, path.name)
        if path.suffix == ".jsonl"
        else csv_rows(path, path.name, _delimiter(path))
    )
    for row in rows:
        if into.full:
            return
        if isinstance(row, Malformed):
            into.malformed.append(row)
            continue
        try:
            captions = read_record(row, own_roles=into.own_roles)
            named = column(row, PICTURE)
            if named is None:
                raise BadRow(f"no column is called {', '.join(PICTURE[:-1])} or {PICTURE[-1]}")
            into.add(pictures.find(row.text(named)), captions, f"{path.name}:{row.line}")
        except BadRow as error:
            into.pass_over(path.name, row.line, str(error))


def gather_coco(path: Path, images: Path, into: Gathering) -> None:
    """Captions of COCO's own files ("images" and "annotations") or Karpathy's (its train and restval splits)."""
    pictures = PictureFiles(images)
    tables: dict[str, Row] = {}
    for row in json_rows(path, path.name):
        if isinstance(row, Malformed):
            into.malformed.append(row)
        else:
            tables[row.key] = row
    if "images" not in tables or not isinstance(tables["images"].value, list):
        into.pass_over(path.name, 1, "it has no list 'images', which COCO's files of captions have")
        return
    said = _annotated(tables["annotations"], path.name, into) if "annotations" in tables else None
    for number, image in _elements(tables["images"]):
        if into.full:
            return
        try:
            name, captions = _karpathy(image) if said is None else _coco(image, said)
            if captions:
                key = f"{path.name}:{Path(name).name}"
                into.add(pictures.find(name), [Said(caption=caption) for caption in captions], key)
        except BadRow as error:
            into.pass_over(path.name, image.line, f"images[{number}]: {error}")


def _coco(image: Row, said: dict[str, list[str]]) -> tuple[str, list[str]]:
    return image.text("file_name"), said.get(image.word("id"), [])


def _karpathy(image: Row) -> tuple[str, list[str]]:
    name = image.text("filename")
    if image.text("split") not in _TRAINING:
        return name, []
    sentences = image.get("sentences")
    if not isinstance(sentences, list):
        raise BadRow("'sentences' is not a list")
    folder = image.maybe("filepath")
    captions = [Row(value=one, line=image.line, key="").text("raw") for one in sentences]
    return (f"{folder}/{name}" if folder else name), captions


def _annotated(table: Row, file: str, into: Gathering) -> dict[str, list[str]]:
    """Picture id -> its captions."""
    if not isinstance(table.value, list):
        into.pass_over(file, table.line, "'annotations' is not a list")
        return {}
    captions: dict[str, list[str]] = {}
    for number, one in _elements(table):
        try:
            captions.setdefault(one.word("image_id"), []).append(one.text("caption"))
        except BadRow as error:
            into.pass_over(file, one.line, f"annotations[{number}]: {error}")
    return captions


def _elements(table: Row) -> Iterator[tuple[int, Row]]:
    for number, value in enumerate(table.value):
        yield number, Row(value=value, line=table.line, key=str(number))


def _delimiter(path: Path) -> str:
    """Tab or comma, whichever the line of names has: .csv files with tabs are common."""
    with path.open("rb") as file:
        return "\t" if b"\t" in file.readline() else ","
