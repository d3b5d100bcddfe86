"""VL-CheckList (2207.00221): a phrase against one with an object, an attribute or a relation exchanged.

56 files by what is exchanged and where the pictures are from; the authors score the first 1,000 records of each.
"""

from collections.abc import Iterator

from clipsight.bench.composition.benchmark import Annotation, Benchmark, BenchmarkFiles, reader
from clipsight.bench.composition.item import Item
from clipsight.bench.composition.protocol import Counting, Protocol, ProtocolMean
from clipsight.records import BadRow, Row

_ATTRIBUTES = {
    "vaw": {"action": 3039, "color": None, "material": 11835, "size": 15321, "state": 4939},
    "vg": {"action": 1892, "color": 11569, "material": 2470, "size": 2695, "state": 941},
}
_RELATIONS = {"hake_action": None, "swig_action": 25150, "vg/action": 12733, "vg/spatial": 30650}
_OBJECTS = {
    "Location": {
        "hake_obj": {"center": None, "margin": 10062, "mid": None},
        "swig_agent": {"center": None, "margin": 260, "mid": 5074},
        "swig_destination": {"center": 1063, "margin": 45, "mid": 530},
        "swig_item": {"center": 4163, "margin": 88, "mid": 1715},
        "swig_tool": {"center": 4056, "margin": 121, "mid": 2226},
        "vg_obj": {"center": None, "margin": 8291, "mid": None},
        "vg_subj": {"center": 25383, "margin": 5974, "mid": 26294},
    },
    "Size": {
        "hake_obj": {"large": None, "medium": 30910, "small": 6210},
        "swig_agent": {"large": None, "medium": 442, "small": 48},
        "swig_destination": {"large": 1520, "medium": 109, "small": 9},
        "swig_item": {"large": 5070, "medium": 742, "small": 154},
        "swig_tool": {"large": 4643, "medium": 1452, "small": 308},
        "vg_obj": {"large": None, "medium": 30725, "small": 13702},
        "vg_subj": {"large": 26167, "medium": 20930, "small": 10554},
    },
}
"""Records by file, counted at @6f8d6a3; None where the file is above what could be read there."""
_COLLECTIONS = {"vaw": "visual_genome", "vg": "visual_genome", "hake": "hake", "swig": "swig"}
_FIRST = {"*": Counting(first=1000)}


def _annotation(path: str, rows: int | None, pictures: str) -> Annotation:
    return Annotation(split=path, files=(f"data/{path}.json",), rows=rows, collection=_COLLECTIONS[pictures])


def _object_path(aspect: str, kind: str, value: str) -> str:
    data = kind.split("_")[0]
    folder = f"{data}_{aspect.lower()}"
    inner = f"{kind}/" if data == "swig" else ""
    return f"Object/{aspect}/{folder}/{inner}{kind}_{value}"


def _object_means(aspect: str) -> tuple[ProtocolMean, ...]:
    values = next(iter(_OBJECTS[aspect].values()))
    return tuple(
        ProtocolMean(
            name=f"Object {aspect} {value}",
            of=tuple(_object_path(aspect, kind, value) for kind in _OBJECTS[aspect]),
        )
        for value in values
    )


_ATTRIBUTE = ProtocolMean(
    name="Attribute",
    of=tuple(
        ProtocolMean(name=f"Attribute {kind}", of=tuple(f"Attribute/{data}/{kind}" for data in _ATTRIBUTES))
        for kind in _ATTRIBUTES["vg"]
    ),
)
_RELATION = ProtocolMean(
    name="Relation",
    of=(
        ProtocolMean(
            name="Relation action",
            of=("Relation/hake_action", "Relation/swig_action", "Relation/vg/action"),
        ),
        ProtocolMean(name="Relation spatial", of=("Relation/vg/spatial",)),
    ),
)
_OBJECT = ProtocolMean(name="Object", of=(*_object_means("Location"), *_object_means("Size")))
_PARTS = tuple(part for mean in (_OBJECT, _ATTRIBUTE, _RELATION) for part in (mean, *mean.of))
_ALL = ProtocolMean(name="mean of Object, Attribute, Relation", of=(_OBJECT, _ATTRIBUTE, _RELATION))
_MEANS = (_ALL, *(part for part in _PARTS if isinstance(part, ProtocolMean)))


@reader(
    Benchmark(
        id="vl_checklist",
        title="VL-CheckList",
        origin="om-ai-lab/VL-CheckList @6f8d6a3, data/**.json (no licence file; paper CC BY 4.0)",
        folders=("vl_checklist", "VL-CheckList", ""),
        annotations=(
            *(
                _annotation(f"Attribute/{data}/{kind}", rows, data)
                for data, kinds in _ATTRIBUTES.items()
                for kind, rows in kinds.items()
            ),
            *(
                _annotation(f"Relation/{name}", rows, name.replace("/", "_").split("_")[0])
                for name, rows in _RELATIONS.items()
            ),
            *(
                _annotation(_object_path(aspect, kind, value), rows, kind.split("_")[0])
                for aspect, kinds in _OBJECTS.items()
                for kind, values in kinds.items()
                for value, rows in values.items()
            ),
        ),
        protocols={
            "official": Protocol(counting=_FIRST, means=_MEANS),
            "vl_compo": Protocol(
                counting=_FIRST,
                means=_MEANS,
                note="that vl_compo takes the first 1,000 too is read off its scores, which come in steps of 0.1",
            ),
            "macco": Protocol(means=(_RELATION, _ATTRIBUTE)),
        },
    )
)
def vl_checklist(row: Row, source: BenchmarkFiles) -> Iterator[Item]:
    """[picture, {"POS": [phrase, …], "NEG": [phrase, …]}]; the first phrase of each counts."""
    phrases = Row(value=row.get(1), line=row.line, key=row.key)
    if not isinstance(phrases.value, dict):
        raise BadRow("its second element is not an object with POS and NEG")
    yield source.item(
        row,
        rule="pair_text",
        pictures=(source.picture(row.text(0)),),
        positives=phrases.texts("POS")[:1],
        negatives=phrases.texts("NEG")[:1],
    )
