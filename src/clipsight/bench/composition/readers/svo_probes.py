"""SVO-Probes (2106.09141): a sentence and two pictures; the wrong one differs in subject, verb or object.

The release is a list of addresses, many of them dead by now: how many pictures are missing says what a score is worth.
"""

from collections.abc import Iterator

from clipsight.bench.composition.benchmark import Annotation, Benchmark, BenchmarkFiles, reader, table_file
from clipsight.bench.composition.item import Item
from clipsight.bench.composition.protocol import Protocol
from clipsight.records import BadRow, Row

KINDS = ("subj_neg", "verb_neg", "obj_neg")


@reader(
    Benchmark(
        id="svo_probes",
        title="SVO-Probes",
        origin="deepmind/svo_probes @206219e, svo_probes.csv (CC BY 4.0); pictures from its addresses, saved as "
        "PICTURE_ID.jpg",
        folders=("svo_probes", "svo-probes", ""),
        annotations=(Annotation(split="all", files=("svo_probes.csv",), rows=None, collection="svo_probes"),),
        rows=table_file,
        protocols={"official": Protocol(), "vl_compo": Protocol()},
    )
)
def svo_probes(row: Row, source: BenchmarkFiles) -> Iterator[Item]:
    """sentence, pos_triplet, neg_triplet, pos_url, neg_url, pos_image_id, neg_image_id, subj_neg, verb_neg, obj_neg."""
    kinds = [kind for kind in KINDS if row.text(kind).strip().lower() in ("true", "1")]
    if not kinds:
        raise BadRow("none of subj_neg, verb_neg and obj_neg is true")
    yield source.item(
        row,
        split=kinds[0],
        rule="pair_image",
        pictures=tuple(source.picture(row.text(f"{side}_image_id").strip()) for side in ("pos", "neg")),
        positives=(row.text("sentence"),),
    )
