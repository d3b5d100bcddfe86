"""SugarCrepe (2306.14610): captions of COCO against fluent wrong ones, made by adding, replacing or swapping.

Files are objects from an index as text to a record; an index is missing in `swap_obj`, so values are counted, not keys.
"""

from collections.abc import Iterator

from clipsight.bench.composition.benchmark import Annotation, Benchmark, BenchmarkFiles, reader
from clipsight.bench.composition.item import Item
from clipsight.bench.composition.protocol import Protocol, ProtocolMean
from clipsight.records import Row

COUNTS = {
    "add_att": 692,
    "add_obj": 2062,
    "replace_att": 788,
    "replace_obj": 1652,
    "replace_rel": 1406,
    "swap_att": 666,
    "swap_obj": 245,
}
SUBSETS = tuple(COUNTS)
_TYPES = tuple(
    ProtocolMean(name=kind, of=tuple(subset for subset in SUBSETS if subset.startswith(kind)))
    for kind in ("add", "replace", "swap")
)
_ALL = ProtocolMean(name="mean of 7 subsets", of=SUBSETS)
_OTHERS = (
    ProtocolMean(name="mean of 3 types", of=_TYPES),
    ProtocolMean(name="all items", of=SUBSETS, weights="items"),
    *_TYPES,
)


@reader(
    Benchmark(
        id="sugarcrepe",
        title="SugarCrepe",
        origin="RAIVNLab/sugar-crepe @0047054, data/*.json (MIT)",
        folders=("sugarcrepe", "sugar-crepe", "sugar-crepe/data", "sugarcrepe/data", ""),
        annotations=tuple(
            Annotation(split=name, files=(f"{name}.json",), rows=count, collection="coco_val2017")
            for name, count in COUNTS.items()
        ),
        protocols={
            "official": Protocol(
                means=(_ALL, *_OTHERS),
                note="the authors print the subsets; papers average them in three ways",
            ),
            "vl_compo": Protocol(means=(_ALL, *_OTHERS)),
            "macco": Protocol(
                means=(
                    ProtocolMean(name="Relation", of=("replace_rel",)),
                    ProtocolMean(name="Attribute", of=("add_att", "replace_att", "swap_att")),
                )
            ),
        },
    )
)
def sugarcrepe(row: Row, source: BenchmarkFiles) -> Iterator[Item]:
    """{"filename", "caption", "negative_caption"}."""
    yield source.item(
        row,
        rule="pair_text",
        pictures=(source.picture(row.text("filename")),),
        positives=(row.text("caption"),),
        negatives=(row.text("negative_caption"),),
    )
