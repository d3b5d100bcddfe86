"""Cola, multi-object (2305.03689): two pictures and two captions with the attributes exchanged.

The authors score the picture side alone: each caption must find its picture.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath

from clipsight.bench.composition.benchmark import Annotation, Benchmark, BenchmarkFiles, reader
from clipsight.bench.composition.item import Item
from clipsight.bench.composition.protocol import Protocol
from clipsight.records import Row


@reader(
    Benchmark(
        id="cola",
        title="Cola (multi-object)",
        origin="arijitray1993/COLA @1fa52fb, data/COLA_multiobjects_matching_benchmark.json (MIT)",
        folders=("cola", "COLA", "Cola", ""),
        annotations=(
            Annotation(
                split="multi_object",
                files=("data/COLA_multiobjects_matching_benchmark.json",),
                rows=210,
                collection="cola",
            ),
        ),
        protocols={"official": Protocol()},
    )
)
def cola(row: Row, source: BenchmarkFiles) -> Iterator[Item]:
    """[address of picture 1, caption 1, address of picture 2, caption 2]; pictures are found by file name."""
    yield source.item(
        row,
        rule="both_image",
        pictures=tuple(source.picture(PurePosixPath(row.text(place)).name) for place in (0, 2)),
        positives=(row.text(1), row.text(3)),
    )
