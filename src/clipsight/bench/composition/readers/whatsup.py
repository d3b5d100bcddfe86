"""What'sUp (2310.19785): where things are, in photographs made for it (A, B) and in COCO and Visual Genome.

Of A and B there are four photographs of each pair of objects; a pair of opposite prepositions, and the set of all four,
count as further questions. File names say which: `OBJECT_PREPOSITION_OBJECT.jpeg`.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath

from clipsight.bench.composition.benchmark import Annotation, Benchmark, BenchmarkFiles, reader
from clipsight.bench.composition.item import Item
from clipsight.bench.composition.protocol import Protocol, ProtocolMean
from clipsight.records import BadRow, Row

_CONTROLLED = {"A": ("controlled_images_dataset", 412), "B": ("controlled_clevr_dataset", 408)}
_ASKED = {
    "coco_one": ("coco_qa_one_obj", 2247, "coco_val2017"),
    "coco_two": ("coco_qa_two_obj", 440, "coco_val2017"),
    "vg_one": ("vg_qa_one_obj", 1160, "visual_genome"),
    "vg_two": ("vg_qa_two_obj", 291, "visual_genome"),
}
_ALL = ProtocolMean(name="mean of 6", of=(*_CONTROLLED, *_ASKED))
_OPPOSITE = {
    "left": "left and right",
    "right": "left and right",
    "on": "on and under",
    "under": "on and under",
    "in-front": "in front and behind",
    "behind": "in front and behind",
}


@reader(
    Benchmark(
        id="whatsup",
        title="What'sUp",
        origin="amitakamath/whatsup_vlms @7c1f255 (code MIT); its Google Drive holds the files and pictures",
        folders=("whatsup", "whatsup_vlms/data", "whats_up", ""),
        annotations=(
            *(
                Annotation(split=split, files=(f"{file}.json",), rows=rows, collection="whatsup")
                for split, (file, rows) in _CONTROLLED.items()
            ),
            *(
                Annotation(split=split, files=(f"{file}.json",), rows=rows, collection=collection)
                for split, (file, rows, collection) in _ASKED.items()
            ),
        ),
        protocols={
            "official": Protocol(
                means=(
                    _ALL,
                    ProtocolMean(name="controlled", of=("A", "B")),
                    ProtocolMean(name="COCO", of=("coco_one", "coco_two")),
                    ProtocolMean(name="Visual Genome", of=("vg_one", "vg_two")),
                )
            ),
            "vl_compo": Protocol(means=(_ALL,)),
            "macco": Protocol(
                means=(
                    ProtocolMean(
                        name="mean of 6", of=("A", "B", "coco_one", "coco_two", "vg_one", "coco_two")
                    ),
                ),
                note="MACCO's script scores COCO-two a second time in place of Visual-Genome-two, and so does this",
            ),
        },
    )
)
def whatsup(row: Row, source: BenchmarkFiles) -> Iterator[Item]:
    """{"image_path", "caption_options": [right, wrong, wrong, wrong]}, or [picture id, right, wrong]."""
    split = source.annotation.split
    if split in _CONTROLLED:
        right, *wrong = row.texts("caption_options")
        file = row.text("image_path").removeprefix("data/")
        if len(wrong) != 3:
            raise BadRow(f"it has {1 + len(wrong)} captions, not 4")
        group, sets = _places(file)
        yield source.item(
            row,
            rule="kway_text",
            pictures=(source.picture(file),),
            positives=(right,),
            negatives=tuple(wrong),
            group=group,
            sets=sets,
        )
        return
    name = row.word(0)
    file = f"{name.zfill(12)}.jpg" if split.startswith("coco") else f"{name}.jpg"
    yield source.item(
        row,
        rule="pair_text",
        pictures=(source.picture(file),),
        positives=(row.text(1),),
        negatives=(row.text(2),),
    )


def _places(file: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The preposition as group, and the pair and set that the photograph belongs to; by its name."""
    first, *middle, last = PurePosixPath(file).stem.split("_")
    if not middle or middle[0] not in _OPPOSITE:
        raise BadRow(f"the file name {file!r} does not say where things are")
    things = f"{first} and {last}"
    return middle[0], (("pair", f"{things}: {_OPPOSITE[middle[0]]}"), ("set", things))
