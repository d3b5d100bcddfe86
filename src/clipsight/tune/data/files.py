"""Training data in tables, lines of JSON, and COCO's files of captions."""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import blake2b, file_digest
from pathlib import Path

from clipsight.records import (
    PICTURE,
    BadRow,
    Malformed,
    PictureFiles,
    Row,
    csv_rows,
    json_rows,
    jsonl_rows,
    require_column,
)
from clipsight.store import NAMED_LIMIT, Store, content_hash, file_stamp
from clipsight.tune.data.example import Example, Place
from clipsight.tune.data.gathering import Gathering
from clipsight.tune.data.options import Progress
from clipsight.tune.data.records import read_record

SUFFIXES = (".tsv", ".csv", ".jsonl")
_KIND, _HASH = "contents", {"hash": "blake2b, 16 bytes"}
_READERS, _TOLD = 8, 1000
_TRAINING = ("train", "restval")
"""Of Karpathy's splits those that one trains on."""


class FilePictures:
    """Pictures of files, by their path.

    Args:
        cache: folder where their hashes are kept; None takes them each time.
    """

    def __init__(self, cache: Path | None) -> None:
        self._cache = cache

    def __call__(self, place: Place) -> str:
        """The file itself."""
        return str(place)

    def contents(self, places: Sequence[Place], progress: Progress | None = None) -> dict[Place, str]:
        """A hash of the bytes of each file, "" where it cannot be read; of one that was not touched it is kept."""
        store = None if self._cache is None else Store(self._cache, NAMED_LIMIT)
        known: dict[str, str] = {}
        for pack in () if store is None else store.packs(_KIND, _HASH):
            known.update(json.loads(pack))
        found: dict[Place, str] = {}
        new: dict[str, str] = {}
        with ThreadPoolExecutor(_READERS) as pool:
            for done, (place, (stamp, mark)) in enumerate(
                zip(places, pool.map(partial(_content, known=known), places), strict=True), 1
            ):
                found[place] = mark
                if stamp and stamp not in known:
                    new[stamp] = mark
                if progress is not None and done % _TOLD == 0:
                    progress("pictures", done, len(places))
        if store is not None and new:
            store.add(_KIND, _HASH, json.dumps(new).encode())
        return found


def _content(place: Place, known: Mapping[str, str]) -> tuple[str, str]:
    """(state of the file, hash of its bytes), both "" where it cannot be read."""
    try:
        stamp = content_hash(json.dumps(file_stamp(str(place))))
        if stamp in known:
            return stamp, known[stamp]
        with open(str(place), "rb") as file:
            return stamp, file_digest(file, partial(blake2b, digest_size=16)).hexdigest()
    except OSError:
        return "", ""


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
                into.add(
                    pictures.find(name), [Example(picture="", caption=caption) for caption in captions], key
                )
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
