"""The captions of a compositional benchmark, for the same analysis."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from clipsight.bench.composition.item import Item
from clipsight.bench.composition.pictures import ImageRoot
from clipsight.bench.word_gap.analysis import analyse_captions
from clipsight.bench.word_gap.caption import CorpusCaption, FoilPair
from clipsight.bench.word_gap.report import ModelWords
from clipsight.errors import PictureError
from clipsight.records import Malformed
from clipsight.roles.extract import extract_roles
from clipsight.roles.foils import FOIL_KINDS
from clipsight.session.lens import Lens


def attribution_gap(
    lens: Lens,
    items: Iterable[Item],
    images: Path | None = None,
    methods: Sequence[str] | None = None,
    *,
    label: str | None = None,
    limit: int | None = None,
    replicates: int = 1000,
    seed: int = 0,
    batch: int = 32,
) -> ModelWords:
    """Do objects take the attribution in the true captions of a benchmark?

    Of each item the first caption counts, with its picture; roles are found by the rules. Its wrong captions are foils
    where the item's split is one of SugarCrepe's seven kinds.

    Args:
        lens: the model. items: of any benchmark. images: folder of the picture collections.
        methods: as for `analyse_words`. label: what the model is called.
        limit: at most so many items, the first ones.
        replicates, seed, batch: as for `analyse_words`; layers are not asked.

    Returns:
        The figures; `rows` has one for each attribution. Items without their picture are counted as malformed.
    """
    root = ImageRoot(images)
    return analyse_captions(
        lens,
        item_captions(items, root, limit),
        methods,
        label=label,
        replicates=replicates,
        seed=seed,
        batch=batch,
    )


def item_captions(
    items: Iterable[Item], root: ImageRoot, limit: int | None = None
) -> Iterator[CorpusCaption | Malformed]:
    """A caption for each item that has a picture and a caption; an equal caption of the same picture comes once."""
    seen: set[tuple[str, str]] = set()
    for item in items:
        if limit is not None and len(seen) >= limit:
            return
        if not item.pictures or not item.positives:
            continue
        ref, caption = item.pictures[0], item.positives[0]
        picture = f"{ref.collection}/{ref.file}{ref.crop or ''}"
        if (picture, caption) in seen:
            continue
        seen.add((picture, caption))
        try:
            opened = root.open(ref)
        except PictureError as error:
            yield Malformed(file=item.source or item.id, line=item.line, reason=str(error))
            continue
        foils = item.negatives if item.split in FOIL_KINDS else ()
        yield CorpusCaption(
            file=item.source or item.id,
            line=item.line,
            caption=caption,
            roles=extract_roles(caption),
            cluster=picture,
            picture=opened,
            foils=tuple(FoilPair(item.split, caption, foil) for foil in foils),
        )
