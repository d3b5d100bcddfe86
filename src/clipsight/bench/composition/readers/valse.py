"""VALSE (2112.07566): a caption against a foil that names one linguistic phenomenon wrongly, eleven files.

Of the annotators' three votes at least two went to the caption in the items called validated.
"""

from collections.abc import Iterator

from clipsight.bench.composition.benchmark import Annotation, Benchmark, BenchmarkFiles, reader
from clipsight.bench.composition.item import Item
from clipsight.bench.composition.protocol import Counting, Protocol, ProtocolMean
from clipsight.records import Row

COUNTS = {
    "existence": (534, 505),
    "plurals": (1000, 851),
    "counting-hard": (1000, 868),
    "counting-small-quant": (1000, 900),
    "counting-adversarial": (756, 691),
    "relations": (614, 535),
    "action-replacement": (779, 648),
    "actant-swap": (1042, 949),
    "coreference-standard": (916, 708),
    "coreference-hard": (141, 104),
    "foil-it": (1000, 943),
}
"""Records, and those that are validated."""
VALIDATED = "validated"
_VOTES = 2
_COLLECTIONS = {
    "COCO_val2014_": "coco_val2014",
    "COCO_train2014_": "coco_train2014",
    "VisualDialog_val2018_": "visdial_val2018",
    "v7w_": "visual7w",
}
"""Collections by how their files are called; SWiG's are told by the record, all others are of COCO 2017."""
_SUBSETS = ProtocolMean(name="mean of 11 subsets", of=tuple(COUNTS))
_PHENOMENA = ProtocolMean(
    name="mean of 7 phenomena",
    of=(
        "existence",
        "plurals",
        ProtocolMean(name="counting", of=("counting-hard", "counting-small-quant", "counting-adversarial")),
        "relations",
        ProtocolMean(name="actions", of=("action-replacement", "actant-swap")),
        ProtocolMean(name="coreference", of=("coreference-standard", "coreference-hard")),
        "foil-it",
    ),
)
_VALIDATED = {"*": Counting(tag=VALIDATED)}


@reader(
    Benchmark(
        id="valse",
        title="VALSE",
        origin="Heidelberg-NLP/VALSE @2152d90, data/*.json (MIT)",
        folders=("valse", "VALSE", "VALSE/data", "valse/data", ""),
        annotations=tuple(
            Annotation(
                split=name,
                files=(f"{name}.json",),
                rows=rows,
                tagged={VALIDATED: validated},
                collection={
                    "existence": "visual7w",
                    "plurals": "coco_val2017",
                    "relations": "coco_val2017",
                    "action-replacement": "swig",
                    "actant-swap": "swig",
                    "coreference-standard": "coco_train2014",
                    "coreference-hard": "visdial_val2018",
                    "foil-it": "coco_val2014",
                }.get(name, "visual7w"),
            )
            for name, (rows, validated) in COUNTS.items()
        ),
        protocols={
            "official": Protocol(counting=_VALIDATED, means=(_SUBSETS, _PHENOMENA)),
            "vl_compo": Protocol(
                counting=_VALIDATED,
                means=(_PHENOMENA, _SUBSETS),
                note="that vl_compo averages over 7 phenomena, not 11 subsets, is read off its scores: 67.5 for CLIP "
                "is the one, 65.8 the other",
            ),
            "macco": Protocol(
                counting=_VALIDATED,
                means=(
                    ProtocolMean(
                        name="Relation",
                        of=(
                            ProtocolMean(name="Action", of=("action-replacement", "actant-swap")),
                            "relations",
                        ),
                    ),
                ),
                note="whether MACCO scored all items or the validated ones is not known; these are the validated ones",
            ),
        },
    )
)
def valse(row: Row, source: BenchmarkFiles) -> Iterator[Item]:
    """{"dataset", "image_file", "caption", "foil", "mturk": {"caption", "foil", "other"}, …}."""
    file = row.text("image_file")
    swig = row.text("dataset").lower() == "swig"
    collection = next((known for start, known in _COLLECTIONS.items() if file.startswith(start)), None)
    votes = row.maybe("mturk") or {}
    yield source.item(
        row,
        rule="pair_text",
        pictures=(source.picture(file, collection="swig" if swig else collection or "coco_val2017"),),
        positives=(row.text("caption"),),
        negatives=(row.text("foil"),),
        tags=(VALIDATED,) if isinstance(votes, dict) and votes.get("caption", 0) >= _VOTES else (),
    )
