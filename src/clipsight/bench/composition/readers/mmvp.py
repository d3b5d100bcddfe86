"""MMVP-VLM (2401.06209): pairs of pictures that one encoder takes for the same, with a statement for each.

Rows come in pairs: an odd question id and the even one after it. Statements are put behind "a photo of".
"""

from collections.abc import Iterator

from clipsight.bench.composition.benchmark import Annotation, Benchmark, BenchmarkFiles, reader, table_file
from clipsight.bench.composition.item import Item
from clipsight.bench.composition.protocol import Counting, Protocol, ProtocolMean
from clipsight.records import BadRow, Malformed, Row

PATTERNS = (
    "Orientation and Direction",
    "Presence of Specific Features",
    "State and Condition",
    "Quantity and Count",
    "Positional and Relational Context",
    "Color and Appearance",
    "Structural Characteristics",
    "Texts",
    "Viewpoint and Perspective",
)
_PROMPT = "a photo of {}"
_ALL = ProtocolMean(name="mean of 9 patterns", of=PATTERNS)
_PAIRS = 135


def pairs(source: BenchmarkFiles) -> Iterator[Row | Malformed]:
    """Two consecutive lines of the table as one record; a line whose partner is not beside it is malformed."""
    waiting: Row | None = None
    for row in table_file(source):
        if isinstance(row, Malformed):
            yield row
        elif _odd(row):
            yield from _alone(waiting, source)
            waiting = row
        elif waiting is not None:
            yield Row(value={"first": waiting.value, "second": row.value}, line=waiting.line, key=waiting.key)
            waiting = None
        else:
            yield from _alone(row, source)
    yield from _alone(waiting, source)


def _odd(row: Row) -> bool:
    number = row.value.get("Question ID", "").strip()
    return number.isdecimal() and int(number) % 2 == 1


def _alone(row: Row | None, source: BenchmarkFiles) -> Iterator[Malformed]:
    if row is not None:
        reason = "the other question of its pair is not beside it"
        yield Malformed(file=source.name, line=row.line, reason=reason)


@reader(
    Benchmark(
        id="mmvp_vlm",
        title="MMVP-VLM",
        origin="Hugging Face MMVP/MMVP_VLM: Questions.csv and the folder MLLM_VLM Images",
        folders=("mmvp_vlm", "MMVP_VLM", "mmvp", ""),
        annotations=(Annotation(split="all", files=("Questions.csv",), rows=_PAIRS, collection="mmvp_vlm"),),
        rows=pairs,
        protocols={
            "official": Protocol(means=(_ALL,)),
            "vl_compo": Protocol(counting={"*": Counting(metric="group")}, means=(_ALL,)),
        },
    )
)
def mmvp_vlm(row: Row, source: BenchmarkFiles) -> Iterator[Item]:
    """Two of {"Question ID", "Type", "Statement"}; the picture is Type/ID.jpg."""
    both = [Row(value=row.get(name), line=row.line, key=row.key) for name in ("first", "second")]
    pattern = both[0].text("Type").strip()
    numbers = [int(one.number("Question ID")) for one in both]
    if numbers[1] != numbers[0] + 1:
        raise BadRow(f"questions {numbers[0]} and {numbers[1]} stand together and are no pair")
    yield source.item(
        row,
        key=str(numbers[0]),
        split=pattern,
        rule="both_image",
        pictures=tuple(source.picture(f"{pattern}/{number}.jpg") for number in numbers),
        positives=tuple(_PROMPT.format(one.text("Statement")) for one in both),
    )
