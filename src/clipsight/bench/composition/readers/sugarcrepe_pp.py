"""SugarCrepe++ (2406.11171): two captions that say the same in other words, and a wrong one that shares their words."""

from collections.abc import Iterator

from clipsight.bench.composition.benchmark import Annotation, Benchmark, Source, reader
from clipsight.bench.composition.item import Item
from clipsight.bench.composition.protocol import Mean, Protocol
from clipsight.bench.composition.reading import Row

COUNTS = {"replace_att": 788, "replace_obj": 1652, "replace_rel": 1406, "swap_att": 666, "swap_obj": 245}
SUBSETS = tuple(COUNTS)
_OFFICIAL = Protocol(
    means=(
        Mean(name="ITT, mean of 5 subsets", of=SUBSETS, metric="itt"),
        Mean(name="TOT, mean of 5 subsets", of=SUBSETS, metric="tot"),
    ),
    note="both conditions of TOT are asked, as in the authors' code; their README states the first alone",
)


@reader(
    Benchmark(
        id="sugarcrepe_pp",
        title="SugarCrepe++",
        origin="Sri-Harsha/scpp @c083bbf, data/*.json (MIT; the README says CC BY 4.0)",
        folders=("sugarcrepe_pp", "scpp/data", "scpp", "sugarcrepe_pp/data", ""),
        annotations=tuple(
            Annotation(split=name, files=(f"{name}.json",), rows=count, collection="coco_val2017")
            for name, count in COUNTS.items()
        ),
        protocols={"official": _OFFICIAL},
    )
)
def sugarcrepe_pp(row: Row, source: Source) -> Iterator[Item]:
    """{"id", "filename", "caption", "caption2", "negative_caption"}."""
    yield source.item(
        row,
        key=row.word("id"),
        rule="itt_tot",
        pictures=(source.picture(row.text("filename")),),
        positives=(row.text("caption"), row.text("caption2")),
        negatives=(row.text("negative_caption"),),
    )
