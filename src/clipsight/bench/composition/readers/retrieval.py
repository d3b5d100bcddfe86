"""Retrieval among COCO's and Flickr30k's pictures: captions find their picture, pictures one of their captions.

Karpathy's test pictures (5,000 and 1,000), as his own files or those of Salesforce name them; and COCO's val2017, which
nobody publishes scores of, but whose pictures are the ones that SugarCrepe needs.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from clipsight.bench.composition.benchmark import Annotation, Benchmark, BenchmarkFiles, json_file, reader
from clipsight.bench.composition.item import Item
from clipsight.bench.composition.protocol import Protocol, ProtocolMean
from clipsight.bench.composition.rules import RANKS
from clipsight.records import BadRow, Malformed, Row

TEST = "karpathy_test"
_SIDES = {"i2t": "picture to captions", "t2i": "caption to pictures"}


def recalls(split: str) -> tuple[ProtocolMean, ...]:
    """Recall at each depth, both ways, as figures of their own."""
    return tuple(
        ProtocolMean(name=f"{side} R@{k}", of=(split,), metric=f"{side}@{k}")
        for side in _SIDES
        for k in RANKS
    )


def captioned(source: BenchmarkFiles) -> Iterator[Row | Malformed]:
    """A record for each picture, {"image", "caption"}, whichever of the three forms the file has.

    Salesforce's is a list of them. Karpathy's object holds "images", each with its "split" and "sentences"; those of
    the test split count. COCO's holds "images" and "annotations" apart.
    """
    tables: dict[str, Row] = {}
    for row in json_file(source):
        if isinstance(row, Malformed) or row.key.isdecimal():
            yield row
        else:
            tables[row.key] = row
    if "images" in tables:
        yield from (_coco if "annotations" in tables else _karpathy)(tables, source)
    elif tables:
        yield Malformed(file=source.name, line=1, reason="it is an object without 'images'")


def _karpathy(tables: dict[str, Row], source: BenchmarkFiles) -> Iterator[Row | Malformed]:
    def plain(one: Row) -> dict[str, Any] | None:
        if one.text("split") != "test":
            return None
        sentences = one.get("sentences")
        if not isinstance(sentences, list):
            raise BadRow("'sentences' is not a list")
        folder = one.maybe("filepath")
        return {
            "image": f"{folder}/{one.text('filename')}" if folder else one.text("filename"),
            "caption": [Row(value=said, line=one.line, key="").text("raw") for said in sentences],
        }

    yield from _each(tables["images"], source, plain)


def _coco(tables: dict[str, Row], source: BenchmarkFiles) -> Iterator[Row | Malformed]:
    captions: dict[str, list[str]] = {}
    taken: set[str] = set()

    def note(one: Row) -> None:
        captions.setdefault(one.word("image_id"), []).append(one.text("caption"))

    def plain(one: Row) -> dict[str, Any]:
        name, number = one.text("file_name"), one.word("id")
        if number in taken:
            raise BadRow(f"the id {number:.40} stands twice")
        taken.add(number)
        return {"image": name, "caption": captions.get(number, [])}

    yield from _each(tables["annotations"], source, note)
    yield from _each(tables["images"], source, plain)
    for number in captions.keys() - taken:
        reason = f"{len(captions[number])} captions of the picture {number:.40}, which 'images' does not list"
        yield Malformed(file=source.name, line=tables["annotations"].line, reason=reason)


def _each(
    table: Row, source: BenchmarkFiles, make: Callable[[Row], dict[str, Any] | None]
) -> Iterator[Row | Malformed]:
    """What is made of the elements of a list inside the file; where nothing is, the element does not count."""
    if not isinstance(table.value, list):
        yield Malformed(file=source.name, line=table.line, reason=f"{table.key!r} is not a list")
        return
    for index, value in enumerate(table.value):
        one = Row(value=value, line=table.line, key=str(index))
        try:
            made = make(one)
        except BadRow as error:
            reason = f"element {index} of {table.key!r}, which begins there: {error}"
            yield Malformed(file=source.name, line=table.line, reason=reason)
        else:
            if made is not None:
                yield replace(one, value=made)


def _item(row: Row, source: BenchmarkFiles) -> Iterator[Item]:
    """{"image", "caption": [one or more]}."""
    yield source.item(
        row,
        rule="retrieval",
        pictures=(source.picture(row.text("image")),),
        positives=row.texts("caption"),
    )


_NOTE = (
    "All captions of a file count; scripts that keep five a picture have 25,000 of COCO's 25,010. With fewer pictures "
    "than the release recall is higher: such a score compares with others on the same pictures alone."
)
_ORIGIN = (
    "{title}'s Karpathy split: {file} of cs.stanford.edu/people/karpathy/deepimagesent, or {salesforce} of the "
    "Salesforce research bucket"
)

reader(
    Benchmark(
        id="coco_retrieval",
        title="COCO retrieval",
        origin=_ORIGIN.format(title="COCO", file="dataset_coco.json", salesforce="coco_karpathy_test.json")
        + "; captions_val2017.json of COCO's annotations_trainval2017.zip",
        folders=("coco", "coco/annotations", "aro", "annotations", ""),
        annotations=(
            Annotation(
                split=TEST,
                files=("coco_karpathy_test.json", "dataset_coco.json"),
                rows=5000,
                collection="coco_val2014",
            ),
            Annotation(
                split="val2017", files=("captions_val2017.json",), rows=5000, collection="coco_val2017"
            ),
        ),
        rows=captioned,
        protocols={"official": Protocol(means=recalls(TEST))},
        notes=(_NOTE,),
        guard=True,
    )
)(_item)

reader(
    Benchmark(
        id="flickr30k_retrieval",
        title="Flickr30k retrieval",
        origin=_ORIGIN.format(
            title="Flickr30k", file="dataset_flickr30k.json", salesforce="flickr30k_test.json"
        ),
        folders=("flickr30k", "aro", ""),
        annotations=(
            Annotation(
                split=TEST,
                files=("flickr30k_test.json", "dataset_flickr30k.json"),
                rows=1000,
                collection="flickr30k",
            ),
        ),
        rows=captioned,
        protocols={"official": Protocol(means=recalls(TEST))},
        notes=(_NOTE,),
        guard=True,
    )
)(_item)
