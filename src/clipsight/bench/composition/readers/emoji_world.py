"""The emoji world's own suite: SugarCrepe's seven kinds of foil on held-out scenes, where what is true is known.

And its own guards, which need no files: nouns of scenes with one thing, and retrieval among scenes by their captions.
"""

from collections.abc import Iterator

from clipsight.bench.composition.benchmark import Annotation, Benchmark, BenchmarkFiles, reader
from clipsight.bench.composition.item import Choices, Item
from clipsight.bench.composition.protocol import Protocol, ProtocolMean
from clipsight.bench.composition.readers.retrieval import recalls
from clipsight.bench.composition.scenes import COLLECTION, KINDS, named_scene, scene_ref
from clipsight.records import Row
from clipsight.world import nouns

_SCENES = "held-out scenes"
_NOUNS = Choices(
    classes=nouns(), names=nouns(), templates=("{}", "a photo of {}", "a picture of {}", "an image of {}")
)
_ORIGIN = "clipsight.world, drawn when needed"


def scenes(source: BenchmarkFiles) -> Iterator[Row]:
    """(seed, index) of every scene asked for; a seed counts as line."""
    for seed in source.options.world_seeds:
        for index in range(source.options.world_count):
            yield Row(value=[seed, index], line=0, key=f"{seed}/{index}")


@reader(
    Benchmark(
        id="world",
        title="the emoji world",
        origin=_ORIGIN,
        folders=("",),
        annotations=(Annotation(split=_SCENES, files=(), rows=None, collection=COLLECTION),),
        rows=scenes,
        protocols={"official": Protocol(means=(ProtocolMean(name="mean of 7 kinds", of=KINDS),))},
    )
)
def world(row: Row, source: BenchmarkFiles) -> Iterator[Item]:
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


@reader(
    Benchmark(
        id="world_nouns",
        title="nouns of the emoji world",
        origin=_ORIGIN,
        folders=("",),
        annotations=(Annotation(split="nouns", files=(), rows=None, collection=COLLECTION),),
        rows=scenes,
        protocols={"official": Protocol()},
        guard=True,
    )
)
def world_nouns(row: Row, source: BenchmarkFiles) -> Iterator[Item]:
    """A scene with one thing; which of all nouns is it?"""
    seed, index = row.get(0), row.get(1)
    size = source.options.world_size
    yield source.item(
        row,
        rule="classes",
        pictures=(scene_ref(seed, index, size, 1),),
        positives=(),
        group=named_scene(seed, index, size, 1).objects[0].name,
        choices=_NOUNS,
    )


@reader(
    Benchmark(
        id="world_retrieval",
        title="retrieval in the emoji world",
        origin=_ORIGIN,
        folders=("",),
        annotations=(Annotation(split=_SCENES, files=(), rows=None, collection=COLLECTION),),
        rows=scenes,
        protocols={"official": Protocol(means=recalls(_SCENES))},
        notes=(
            "Captions of one scene can be true of another: 100 % cannot be reached. Compare models with it.",
        ),
        guard=True,
    )
)
def world_retrieval(row: Row, source: BenchmarkFiles) -> Iterator[Item]:
    """A scene and its captions."""
    seed, index = row.get(0), row.get(1)
    size = source.options.world_size
    captions = dict.fromkeys(one.text for one in named_scene(seed, index, size).captions)
    yield source.item(
        row, rule="retrieval", pictures=(scene_ref(seed, index, size),), positives=tuple(captions)
    )
