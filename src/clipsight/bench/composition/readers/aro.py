"""ARO (2210.01936): Visual Genome's relations and attributes with their parts exchanged, and captions out of order.

Pictures of the first two are cropped to the box of the two objects. The orders are made from the captions of COCO and
Flickr30k (`clipsight.bench.composition.order`), or read as they were made before.
"""

from collections.abc import Iterator

import numpy as np

from clipsight.bench.composition.benchmark import Annotation, Benchmark, BenchmarkFiles, reader
from clipsight.bench.composition.item import Item
from clipsight.bench.composition.order import order_options, spacy_tagger
from clipsight.bench.composition.protocol import Counting, Protocol, ProtocolMean
from clipsight.bench.composition.relations import MACCO, NOTEBOOK
from clipsight.records import BadRow, Row

_LEAST_PAIRS = 25
_ATTRIBUTION = Counting(average="macro", least=_LEAST_PAIRS)
_ORDERS = ("coco_order", "flickr30k_order")
_OPTIONS = 5
_ORDER_NOTE = (
    "The order tasks are made with a tagger and a seed: their scores compare only where the captions are the same, and "
    "scripts that take an arg max count a shuffle that changed nothing as right, where it is a tie here."
)


@reader(
    Benchmark(
        id="aro",
        title="ARO",
        origin="mertyg/vision-language-models-are-bows @81fdd20 (MIT), whose Google Drive holds the two visual_genome "
        "files and vgr_vga_images.zip; captions of the orders are the Salesforce research bucket's "
        "coco_karpathy_test.json and flickr30k_test.json",
        folders=("aro", "ARO", ""),
        annotations=(
            Annotation(
                split="vg_relation", files=("visual_genome_relation.json",), rows=23_937, collection="aro"
            ),
            Annotation(
                split="vg_attribution",
                files=("visual_genome_attribution.json",),
                rows=28_748,
                collection="aro",
            ),
            Annotation(
                split="coco_order",
                files=("coco_order.json", "coco_karpathy_test.json"),
                rows=None,
                collection="coco_val2014",
            ),
            Annotation(
                split="flickr30k_order",
                files=("flickr30k_order.json", "flickr30k_test.json"),
                rows=None,
                collection="flickr30k",
            ),
        ),
        protocols={
            "official": Protocol(
                counting={
                    "vg_relation": Counting(average="macro", drop=NOTEBOOK),
                    "vg_attribution": _ATTRIBUTION,
                },
                note="157 relations are left out, as in the public notebook",
            ),
            "vl_compo": Protocol(
                counting={
                    "vg_relation": Counting(average="macro", drop=NOTEBOOK),
                    "vg_attribution": _ATTRIBUTION,
                },
                means=(ProtocolMean(name="mean of 4", of=("vg_relation", "vg_attribution", *_ORDERS)),),
            ),
            "macco": Protocol(
                counting={
                    "vg_relation": Counting(average="macro", drop=MACCO),
                    "vg_attribution": _ATTRIBUTION,
                },
                means=(ProtocolMean(name="Order", of=_ORDERS),),
                note="160 relations are left out",
            ),
        },
        notes=(_ORDER_NOTE,),
    )
)
def aro(row: Row, source: BenchmarkFiles) -> Iterator[Item]:
    """Two captions and a box, or a picture's captions to shuffle, or five captions as shuffled before."""
    if source.annotation.split in _ORDERS:
        yield from _order(row, source)
        return
    if source.annotation.split == "vg_relation":
        group = row.text("relation_name")
    else:
        attributes = row.texts("attributes")
        if len(attributes) != 2:
            raise BadRow(f"'attributes' holds {len(attributes)} words, not 2")
        group = "_".join(attributes)
    yield source.item(
        row,
        rule="pair_text",
        pictures=(
            source.picture(row.text("image_path"), crop=row.box("bbox_x", "bbox_y", "bbox_w", "bbox_h")),
        ),
        positives=(row.text("true_caption"),),
        negatives=(row.text("false_caption"),),
        group=group,
    )


def _order(row: Row, source: BenchmarkFiles) -> Iterator[Item]:
    picture = source.picture(row.text("image"))
    if row.maybe("caption_options") is not None:
        made = {row.key: row.texts("caption_options")}
    else:
        captions = row.texts("caption")
        tagger = source.options.tagger or spacy_tagger()
        made = {
            f"{row.key}/{index}": order_options(
                caption, tagger, np.random.default_rng((source.options.seed, int(row.key), index))
            )
            for index, caption in enumerate(captions)
        }
    for key, (true, *shuffled) in made.items():
        if not true or len(shuffled) != _OPTIONS - 1:
            raise BadRow(f"caption {key} gives {1 + len(shuffled)} options with {true!r} as the true one")
        yield source.item(
            row, key=key, rule="kway_text", pictures=(picture,), positives=(true,), negatives=tuple(shuffled)
        )
