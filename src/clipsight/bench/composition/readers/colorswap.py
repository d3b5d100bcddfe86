"""ColorSwap (2402.04492): captions with two colours exchanged, and a picture for each; scored as Winoground.

The data set is released as parquet with the pictures inside. Save them as `images/img_ID_1.png` and `img_ID_2.png`, the
authors' own names, and the test rows without them as JSON.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath

from clipsight.bench.composition.benchmark import Annotation, Benchmark, BenchmarkFiles, reader
from clipsight.bench.composition.item import Item
from clipsight.bench.composition.protocol import Protocol
from clipsight.records import Row


@reader(
    Benchmark(
        id="colorswap",
        title="ColorSwap",
        origin="Hugging Face stanfordnlp/colorswap, test split (MIT), saved as test.json and images/img_ID_1.png, "
        "img_ID_2.png",
        folders=("colorswap", ""),
        annotations=(
            Annotation(
                split="test",
                files=("test.json", "test.jsonl", "text_pairs.json"),
                rows=300,
                collection="colorswap",
            ),
        ),
        protocols={"official": Protocol(), "vl_compo": Protocol()},
    )
)
def colorswap(row: Row, source: BenchmarkFiles) -> Iterator[Item]:
    """{"id", "caption_1", "caption_2", …}; pictures by "image_1", "image_url_1" or, without these, by id."""
    key = row.word("id")
    yield source.item(
        row,
        key=key,
        rule="wino",
        pictures=tuple(source.picture(_picture(row, key, index)) for index in (1, 2)),
        positives=(row.text("caption_1"), row.text("caption_2")),
    )


def _picture(row: Row, key: str, index: int) -> str:
    for name in (f"image_{index}", f"image_url_{index}"):
        if isinstance(row.maybe(name), str):
            return PurePosixPath(row.text(name)).name
    return f"img_{key}_{index}.png"
