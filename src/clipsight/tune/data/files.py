"""Training data in tables, lines of JSON, and COCO's files of captions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clipsight.records import BadRow, Malformed, Row, csv_rows, json_rows, jsonl_rows
from clipsight.records.columns import PICTURE, PictureFiles, require_column
from clipsight.tune.data.gathering import Gathering
from clipsight.tune.data.records import Said, read_record

SUFFIXES = (".tsv", ".csv", ".jsonl")
_TRAINING = ("train", "restval")
"""Of Karpathy's splits those that one trains on."""


def as_named(place: Any) -> str:
    """A picture's file."""
    return str(place)


def gather_table(path: Path, images: Path, into: Gathering) -> None:
    """Rows of a table or of lines of JSON; names of columns are those of `clipsight.records.columns`."""
    pictures = PictureFiles(images)
    rows = (jsonl_rows if path.suffix.lower() == ".jsonl" else csv_rows)(path, path.name)
    for row in rows:
        if into.full:
            return
        if isinstance(row, Malformed):
            into.malformed.append(row)
            continue
        try:
            captions = read_record(row, own_roles=into.own_roles)
            named = row.text(require_column(row, PICTURE))
            into.add(pictures.find(named), captions, f"{path.name}:{row.line}")
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
    for picture, captions in (said or {}).items():
        for _ in captions or ():
            reason = f"a caption of the picture {picture:.40}, which 'images' does not list"
            into.pass_over(path.name, tables["annotations"].line, reason)


def _coco(image: Row, said: dict[str, list[str] | None]) -> tuple[str, list[str]]:
    """The file and the captions of a picture, which are taken out."""
    number = image.word("id")
    captions = said.get(number, [])
    if captions is None:
        raise BadRow(f"the id {number:.40} stands twice")
    said[number] = None
    return image.text("file_name"), captions


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


def _annotated(table: Row, file: str, into: Gathering) -> dict[str, list[str] | None]:
    """Picture id -> its captions; None where they were taken."""
    if not isinstance(table.value, list):
        into.pass_over(file, table.line, "'annotations' is not a list")
        return {}
    captions: dict[str, list[str]] = {}
    for number, one in _elements(table):
        try:
            captions.setdefault(one.word("image_id"), []).append(one.text("caption"))
        except BadRow as error:
            into.pass_over(file, one.line, f"annotations[{number}]: {error}")
    return dict(captions)


def _elements(table: Row) -> Iterator[tuple[int, Row]]:
    for number, value in enumerate(table.value):
        yield number, Row(value=value, line=table.line, key=str(number))
