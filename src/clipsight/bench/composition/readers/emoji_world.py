"""The emoji world's own suite: SugarCrepe's seven kinds of foil on held-out scenes, where what is true is known."""

from collections.abc import Iterator

from clipsight.bench.composition.benchmark import Annotation, Benchmark, Source, reader
from clipsight.bench.composition.item import Item
from clipsight.bench.composition.protocol import Mean, Protocol
from clipsight.bench.composition.reading import Row
from clipsight.bench.composition.scenes import COLLECTION, KINDS, named_scene, scene_ref


def scenes(source: Source) -> Iterator[Row]:
    """(seed, index) of every scene asked for; a seed counts as line."""
    for seed in source.options.world_seeds:
        for index in range(source.options.world_count):
            yield Row(value=[seed, index], line=0, key=f"{seed}/{index}")


@reader(
    Benchmark(
        id="world",
        title="the emoji world",
        origin="clipsight.world, drawn when needed",
        folders=("",),
        annotations=(Annotation(split="held-out scenes", files=(), rows=None, collection=COLLECTION),),
        rows=scenes,
        protocols={"official": Protocol(means=(Mean(name="mean of 7 kinds", of=KINDS),))},
    )
)
def world(row: Row, source: Source) -> Iterator[Item]:
    """One item for each foil of a scene."""
    seed, index = row.get(0), row.get(1)
    size = source.options.world_size
    for foil in named_scene(seed, index, size).foils:
        yield source.item(
            row,
            split=foil.kind,
            rule="pair_text",
            pictures=(scene_ref(seed, index, size),),
            positives=(foil.caption,),
            negatives=(foil.foil,),
        )
