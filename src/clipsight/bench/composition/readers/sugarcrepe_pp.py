"""SugarCrepe++ (2406.11171): two captions that say the same in other words, and a wrong one that shares their words.

Its text-only half, TOT, needs no pictures: as a guard it says what the text tower alone came to, to which the picture
cannot help.
"""

from collections.abc import Iterator

from clipsight.bench.composition.benchmark import Annotation, Benchmark, BenchmarkFiles, reader
from clipsight.bench.composition.item import Item
from clipsight.bench.composition.protocol import Protocol, ProtocolMean
from clipsight.records import Row

COUNTS = {"replace_att": 788, "replace_obj": 1652, "replace_rel": 1406, "swap_att": 666, "swap_obj": 245}
SUBSETS = tuple(COUNTS)
_OFFICIAL = Protocol(
    means=(
        ProtocolMean(name="ITT, mean of 5 subsets", of=SUBSETS, metric="itt"),
        ProtocolMean(name="TOT, mean of 5 subsets", of=SUBSETS, metric="tot"),
    ),
    note="both conditions of TOT are asked, as in the authors' code; their README states the first alone",
)
_TEXT_ONLY = Protocol(means=(ProtocolMean(name="TOT, mean of 5 subsets", of=SUBSETS),), note=_OFFICIAL.note)
_ORIGIN = "Sri-Harsha/scpp @c083bbf, data/*.json (MIT; the README says CC BY 4.0)"
_FOLDERS = ("sugarcrepe_pp", "scpp/data", "scpp", "sugarcrepe_pp/data")


@reader(
    Benchmark(
        id="sugarcrepe_pp",
        title="SugarCrepe++",
        origin=_ORIGIN,
        folders=(*_FOLDERS, ""),
        annotations=tuple(
            Annotation(split=name, files=(f"{name}.json",), rows=count, collection="coco_val2017")
            for name, count in COUNTS.items()
        ),
        protocols={"official": _OFFICIAL},
    )
)
def sugarcrepe_pp(row: Row, source: BenchmarkFiles) -> Iterator[Item]:
    """{"id", "filename", "caption", "caption2", "negative_caption"}."""
    yield source.item(
        row,
        key=row.word("id"),
        rule="itt_tot",
        pictures=(source.picture(row.text("filename")),),
        positives=(row.text("caption"), row.text("caption2")),
        negatives=(row.text("negative_caption"),),
    )


@reader(
    Benchmark(
        id="sugarcrepe_pp_text",
        title="SugarCrepe++, texts alone",
        origin=_ORIGIN,
        folders=_FOLDERS,  # a guard is looked for unasked: files of SugarCrepe have the same names
        annotations=tuple(
            Annotation(split=name, files=(f"{name}.json",), rows=count) for name, count in COUNTS.items()
        ),
        protocols={"official": _TEXT_ONLY},
        guard=True,
    )
)
def sugarcrepe_pp_text(row: Row, source: BenchmarkFiles) -> Iterator[Item]:
    """As `sugarcrepe_pp`; the picture is not asked for."""
    yield source.item(
        row,
        key=row.word("id"),
        rule="tot",
        pictures=(),
        positives=(row.text("caption"), row.text("caption2")),
        negatives=(row.text("negative_caption"),),
    )
