"""NegBench (2501.09425): captions that say what is not there; four to choose from, and retrieval with and without them.

Paths in its tables are to be edited to one's own folders: a picture is also found by its name alone.
"""

import ast
from collections.abc import Iterator

from clipsight.bench.composition.benchmark import Annotation, Benchmark, BenchmarkFiles, reader, table_file
from clipsight.bench.composition.item import Item
from clipsight.bench.composition.protocol import Counting, Protocol
from clipsight.records import BadRow, Row

_CHOICES = 4
_FILES = {
    "coco_mcq": ("COCO_val_mcq_llama3.1_rephrased", "coco_val2017"),
    "voc2007_mcq": ("VOC2007_mcq_llama3.1_rephrased", "voc2007"),
    "synthetic_mcq": ("synthetic_mcq_llama3.1_rephrased", "negbench"),
    "coco_retrieval": ("COCO_val_retrieval", "coco_val2017"),
    "coco_negated_retrieval": (
        "COCO_val_negated_retrieval_llama3.1_rephrased_affneg_true",
        "coco_val2017",
    ),
    "synthetic_retrieval_v1": ("synthetic_retrieval_v1", "negbench"),
    "synthetic_retrieval_v2": ("synthetic_retrieval_v2", "negbench"),
}


@reader(
    Benchmark(
        id="negbench",
        title="NegBench",
        origin="m1k2zoo/negbench @2ac009b (MIT); its Google Drive holds the tables",
        folders=("negbench", "negbench/data/images", "negbench/images", ""),
        annotations=tuple(
            Annotation(split=split, files=(f"{file}.csv",), rows=None, collection=collection)
            for split, (file, collection) in _FILES.items()
        ),
        rows=table_file,
        protocols={"official": Protocol(counting={"*retrieval*": Counting(metric="t2i@5")})},
        notes=("Users report baselines below the published ones (m1k2zoo/negbench issue 2).",),
    )
)
def negbench(row: Row, source: BenchmarkFiles) -> Iterator[Item]:
    """image_path, correct_answer, caption_0 … caption_3, correct_answer_template; or filepath, captions (a list)."""
    if "retrieval" in source.annotation.split:
        yield source.item(
            row,
            rule="retrieval",
            pictures=(source.picture(row.text("filepath").strip()),),
            positives=_captions(row),
        )
        return
    captions = [row.text(f"caption_{index}") for index in range(_CHOICES)]
    right = row.number("correct_answer")
    if right not in range(_CHOICES):
        raise BadRow(f"'correct_answer' is {right:g}, not one of 0 to {_CHOICES - 1}")
    true = captions.pop(int(right))
    yield source.item(
        row,
        rule="kway_text",
        pictures=(source.picture(row.text("image_path").strip()),),
        positives=(true,),
        negatives=tuple(captions),
        group=row.text("correct_answer_template").strip(),
    )


def _captions(row: Row) -> tuple[str, ...]:
    try:
        listed = ast.literal_eval(row.text("captions"))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise BadRow("'captions' is not a list as Python writes it") from None
    return Row(value={"captions": listed}, line=row.line, key=row.key).texts("captions")
