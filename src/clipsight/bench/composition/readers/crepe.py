"""CREPE (2212.07796): a caption of a region of Visual Genome among about five wrong ones; the region is cropped.

Productivity asks this of captions of 4 to 12 atoms, for three ways to go wrong; systematicity is for models that were
trained on CC12M, YFCC15M or LAION-400M only, by whether the compounds occur there.
"""

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath

from clipsight.bench.composition.benchmark import Annotation, Benchmark, BenchmarkFiles, reader, table_file
from clipsight.bench.composition.item import Item
from clipsight.bench.composition.protocol import Protocol, ProtocolMean
from clipsight.records import BadRow, Row

KINDS = ("atom", "swap", "negate")
_COMPOUNDS = tuple((seen, data) for seen in ("seen", "unseen") for data in ("cc12m", "yfcc", "laion"))
_NEGATIVES = {
    "valid_hard_negs_atom": "atom",
    "valid_hard_negs_comp": "comp",
    "valid_hard_negs_combined": "combined",
}
_ALL = ProtocolMean(name="mean of atom, swap, negate", of=KINDS)


@reader(
    Benchmark(
        id="crepe",
        title="CREPE",
        origin="RAIVNLab/CREPE @1fa81c4, data/prod_hard_negatives.zip and data/syst_hard_negatives.zip, unpacked "
        "(no licence)",
        folders=("crepe", "crepe/prod_hard_negatives", "crepe/syst_hard_negatives", "CREPE/data", ""),
        annotations=(
            *(
                Annotation(
                    split=kind,
                    files=(
                        f"{kind}/prod_vg_hard_negs_{kind}_complexity_*.csv",
                        f"prod_hard_negatives/{kind}/prod_vg_hard_negs_{kind}_complexity_*.csv",
                        f"prod_vg_hard_negs_{kind}_complexity_*.csv",
                        f"prod_vg_hard_negs_{kind}_all*.csv",
                    ),
                    rows=None,
                    collection="visual_genome",
                )
                for kind in KINDS
            ),
            *(
                Annotation(
                    split=f"{seen}_in_{data}",
                    files=(
                        f"syst_vg_hard_negs_{seen}_compounds_in_{data}.csv",
                        f"syst_hard_negatives/syst_vg_hard_negs_{seen}_compounds_in_{data}.csv",
                    ),
                    rows=None,
                    collection="visual_genome",
                )
                for seen, data in _COMPOUNDS
            ),
        ),
        rows=table_file,
        protocols={"official": Protocol(means=(_ALL,)), "vl_compo": Protocol(means=(_ALL,))},
        notes=(
            "Systematicity (seen_in_…, unseen_in_…) means something for models trained on that very data only.",
        ),
    )
)
def crepe(row: Row, source: BenchmarkFiles) -> Iterator[Item]:
    """image_id, caption, hard_negs (a list as Python writes it) or three valid_hard_negs_…, x, y, width, height, n."""
    picture = source.picture(f"{row.word('image_id').strip()}.jpg", crop=row.box("x", "y", "width", "height"))
    productive = source.annotation.split in KINDS
    wrong = {name: _listed(row, name) for name in (("hard_negs",) if productive else _NEGATIVES)}
    if not any(wrong.values()):
        raise BadRow("it has no wrong captions")
    for name, negatives in wrong.items():
        if negatives:
            kind = "" if productive else f"_{_NEGATIVES[name]}"
            yield source.item(
                row,
                key=f"{PurePosixPath(source.name).stem}/{row.key}",
                split=source.annotation.split + kind,
                rule="kway_text",
                pictures=(picture,),
                positives=(row.text("caption"),),
                negatives=negatives,
                group=(row.maybe("n") or "").strip(),
            )


def _listed(row: Row, name: str) -> tuple[str, ...]:
    """The texts of a list written as Python writes it."""
    cell = row.get(name)
    try:
        texts = ast.literal_eval(cell)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise BadRow(f"{name!r} is not a list as Python writes it") from None
    if texts == []:
        return ()
    return Row(value={name: texts}, line=row.line, key=row.key).texts(name)
