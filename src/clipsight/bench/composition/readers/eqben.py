"""EqBen (2303.14465): pairs that differ by little in the picture, from video, rendering and generation; as Winoground.

Annotations are lists of pairs, or lists below names of videos and subjects; the part of the benchmark is the first
folder of a picture's path. Frames of YouCook2 are arrays with blue first.
"""

from collections.abc import Iterator
from typing import Any

from clipsight.bench.composition.benchmark import Annotation, Benchmark, BenchmarkFiles, json_file, reader
from clipsight.bench.composition.item import Item
from clipsight.bench.composition.protocol import Protocol, ProtocolMean
from clipsight.records import BadRow, Malformed, Row

PARTS = (
    "eqbenag",
    "eqbengebc",
    "eqbenyoucook2",
    "eqbenkubric_loc",
    "eqbenkubric_cnt",
    "eqbenkubric_attr",
    "eqbensd",
)
_MEANS = tuple(
    ProtocolMean(
        name=f"{metric}, mean of 5",
        of=(
            "eqbenag",
            "eqbengebc",
            "eqbenyoucook2",
            ProtocolMean(
                name="Kubric", of=("eqbenkubric_loc", "eqbenkubric_cnt", "eqbenkubric_attr"), metric=metric
            ),
            "eqbensd",
        ),
        metric=metric,
    )
    for metric in ("group", "text", "image")
)


def pairs(source: BenchmarkFiles) -> Iterator[Row | Malformed]:
    """The pairs of a file, however deep they lie."""
    for row in json_file(source):
        if isinstance(row, Malformed):
            yield row
        else:
            yield from _below(row.value, row.line, row.key)


def _below(value: Any, line: int, key: str) -> Iterator[Row]:
    """A pair, or those of a list, or of an object that is none; lines are those of the outermost record."""
    if isinstance(value, list):
        inner = enumerate(value)
    elif isinstance(value, dict) and value and "image0" not in value:
        inner = value.items()
    else:
        yield Row(value=value, line=line, key=key)
        return
    for name, one in inner:
        yield from _below(one, line, f"{key}/{name}")


@reader(
    Benchmark(
        id="eqben",
        title="EqBen",
        origin="Wangt-CN/EqBen @ab6c79a (Apache-2.0): pictures and annotations in its Google Cloud bucket; the light "
        "version is eqben_subset_10percent_final.json",
        folders=("eqben", "EqBen", ""),
        annotations=(
            Annotation(
                split="all",
                files=("eqben*.json", "all_select.json", "ann_json/*.json"),
                rows=None,
                collection="eqben",
            ),
        ),
        rows=pairs,
        protocols={"official": Protocol(means=_MEANS), "vl_compo": Protocol(means=_MEANS)},
    )
)
def eqben(row: Row, source: BenchmarkFiles) -> Iterator[Item]:
    """{"image0", "caption0", "image1", "caption1"}; of a list of captions the first counts."""
    files = [row.text(f"image{index}") for index in (0, 1)]
    part = files[0].split("/")[0]
    if part not in PARTS:
        raise BadRow(f"the picture {files[0]!r} is in none of the folders {', '.join(PARTS)}")
    yield source.item(
        row,
        key=f"{source.path.stem}/{row.key}",
        split=part,
        rule="wino",
        pictures=tuple(source.picture(file) for file in files),
        positives=tuple(_caption(row, f"caption{index}") for index in (0, 1)),
    )


def _caption(row: Row, name: str) -> str:
    return row.texts(name)[0] if isinstance(row.get(name), list) else row.text(name)
