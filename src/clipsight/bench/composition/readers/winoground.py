"""Winoground (2204.03162): two pictures and two captions of the same words; each must prefer its own."""

from collections.abc import Iterator

from clipsight.bench.composition.benchmark import Annotation, Benchmark, BenchmarkFiles, reader
from clipsight.bench.composition.item import Item
from clipsight.bench.composition.protocol import Protocol
from clipsight.records import Row

_NOTE = (
    "400 items: one more group is a quarter of a point. MACCO also scores 171 items that need no further skills, a "
    "choice of another paper that is not part of the release and is not made here."
)


@reader(
    Benchmark(
        id="winoground",
        title="Winoground",
        origin="Hugging Face facebook/winoground (gated, research licence): data/examples.jsonl and images.zip",
        folders=("winoground", "winoground/data", ""),
        annotations=(Annotation(split="test", files=("examples.jsonl",), rows=400, collection="winoground"),),
        protocols={"official": Protocol(), "vl_compo": Protocol(), "macco": Protocol(note=_NOTE)},
        notes=(_NOTE,),
    )
)
def winoground(row: Row, source: BenchmarkFiles) -> Iterator[Item]:
    """{"id", "image_0", "image_1", "caption_0", "caption_1", "tag", "secondary_tag", "collapsed_tag", …}."""
    tags = [row.maybe(name) for name in ("collapsed_tag", "tag", "secondary_tag")]
    yield source.item(
        row,
        key=row.word("id"),
        rule="wino",
        pictures=tuple(source.picture(row.text(f"image_{index}")) for index in (0, 1)),
        positives=(row.text("caption_0"), row.text("caption_1")),
        group=tags[0] if isinstance(tags[0], str) else "",
        tags=tuple(tag for tag in tags if isinstance(tag, str) and tag),
    )
