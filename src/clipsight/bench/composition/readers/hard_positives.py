"""Hard Positives (2409.17958): the wrong caption against the caption and against a rewording that is just as true.

Two files stand side by side, `data/` with the caption and `swapped_data/` with its rewording, row by row. Accuracy by
the first alone rewards a model that dislikes any change of words.
"""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from clipsight.bench.composition.benchmark import Annotation, Benchmark, BenchmarkFiles, reader
from clipsight.bench.composition.item import Item
from clipsight.bench.composition.protocol import Protocol, ProtocolMean
from clipsight.records import BadRow, Malformed, Row, json_rows

_FILES = {
    "replace_att": ("vl_checklist_attributes", 10_575, "visual_genome"),
    "replace_rel": ("vl_checklist_relations", 16_868, "visual_genome"),
    "swap": ("visual_genome_attribution", 28_748, "aro"),
}
_METRICS = ("augmented", "original", "brittle")
_MEANS = tuple(
    ProtocolMean(name=f"replace, {metric}", of=("replace_att", "replace_rel"), metric=metric, weights="items")
    for metric in _METRICS
)


def both(source: BenchmarkFiles) -> Iterator[Row | Malformed]:
    """The record with the caption and the record with its rewording as one."""
    twin = _twin(source.path)
    name = f"{source.name} beside {twin.name if twin else 'swapped_data'}"
    if twin is None:
        yield Malformed(file=source.name, line=1, reason="its twin in swapped_data is not there")
        return
    for first, second in zip_longest(json_rows(source.path, source.name), json_rows(twin, str(twin.name))):
        if isinstance(first, Row) and isinstance(second, Row):
            yield Row(
                value={"caption": first.value, "rewording": second.value}, line=first.line, key=first.key
            )
        elif isinstance(first, Malformed):
            yield first
        elif isinstance(second, Malformed):
            yield second
        else:
            there = first or second
            assert there is not None
            yield Malformed(file=name, line=there.line, reason="one of the two files has no such record")


def _twin(path: Path) -> Path | None:
    """The file of the rewordings: in the folder `swapped_data` beside `data`, or with that in its own name."""
    options = (
        path.parent.parent / "swapped_data" / path.name,
        path.parent / "swapped_data" / path.name,
        path.with_name(f"swapped_{path.name}"),
        path.with_name(f"swapped_data__{path.name}"),
    )
    return next((file for file in options if file.is_file()), None)


@reader(
    Benchmark(
        id="hard_positives",
        title="Hard Positives",
        origin="amitakamath/hard_positives @33addaa, data/ and swapped_data/ (no licence)",
        folders=("hard_positives", "hard-positives", ""),
        annotations=tuple(
            Annotation(split=split, files=(f"data/{file}.json",), rows=rows, collection=collection)
            for split, (file, rows, collection) in _FILES.items()
        ),
        rows=both,
        protocols={"official": Protocol(means=_MEANS)},
        guard=True,
    )
)
def hard_positives(row: Row, source: BenchmarkFiles) -> Iterator[Item]:
    """Two of {"image_path", "true_caption", "false_caption"}; boxes are cropped where both halves have one."""
    caption, rewording = (
        Row(value=row.get(name), line=row.line, key=row.key) for name in ("caption", "rewording")
    )
    file = caption.text("image_path")
    if rewording.text("image_path") != file:
        raise BadRow(f"its halves are about {file!r} and {rewording.text('image_path')!r}")
    crop = (
        caption.box("bbox_x", "bbox_y", "bbox_w", "bbox_h") if caption.maybe("bbox_x") is not None else None
    )
    wrong = dict.fromkeys((caption.text("false_caption"), rewording.text("false_caption")))
    yield source.item(
        row,
        rule="aug_pos",
        pictures=(source.picture(file.removeprefix("data/"), crop=crop),),
        positives=(caption.text("true_caption"), rewording.text("true_caption")),
        negatives=tuple(wrong),
    )
