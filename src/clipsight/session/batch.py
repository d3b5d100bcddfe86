"""Several pictures: all are read before any is encoded; those of one size are encoded together."""

import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from clipsight.errors import ClipsightWarning, PictureError
from clipsight.features import ImageFeatures, Recipe
from clipsight.pictures import PictureSource
from clipsight.session.encoded import EncodedPicture
from clipsight.session.engine import Engine

_MOST_NAMED = 20
"""Unreadable pictures of a list that an error names."""
Picture = TypeVar("Picture", bound=EncodedPicture)


def see_all(images: Sequence[PictureSource], see: Callable[[PictureSource], Picture]) -> list[Picture]:
    """Every picture, read before any is encoded.

    Raises:
        PictureError: one for all that cannot be read, each with its place in `images` from 0.
    """
    seen, refused = [], []
    for place, image in enumerate(images):
        try:
            seen.append(see(image))
        except PictureError as error:
            refused.append(f"[{place}] {error}")
    if refused:
        more = f" And {len(refused) - _MOST_NAMED:,} more." if len(refused) > _MOST_NAMED else ""
        raise PictureError(
            f"{len(refused):,} of {len(images):,} pictures cannot be read, so none was encoded; take them out of the "
            f"list: {' '.join(refused[:_MOST_NAMED])}{more}"
        )
    return seen


def encode_together(engine: Engine, seen: Sequence[EncodedPicture], recipe: Recipe, batch: int) -> None:
    """Encode pictures of one size in common passes and hand each its features."""
    if batch < 1:
        raise ValueError(f"batch={batch}; at least one picture goes in a pass.")
    sizes: dict[tuple[int, int], list[EncodedPicture]] = {}
    for one in seen:
        sizes.setdefault(one.size, []).append(one)
    for pending in sizes.values():
        while pending:
            part = pending[:batch]
            try:
                features = engine.features(torch.cat([one.pixels for one in part]), recipe)
            except RuntimeError as error:  # torch.OutOfMemoryError is one; Apple's MPS raises it bare
                if len(part) == 1 or "out of memory" not in str(error):
                    raise
                batch = len(part) // 2
                note = f"Memory ran out with {len(part)} pictures in a pass; went on with {batch}."
                warnings.warn(note, ClipsightWarning, stacklevel=3)
                for one in pending:
                    one.notes = (*one.notes, note)
                continue
            for row, one in enumerate(part):
                rows = slice(row, row + 1)
                one.keep(recipe, ImageFeatures(patches=features.patches[rows], pooled=features.pooled[rows]))
                one.forget_pixels()
            pending = pending[batch:]
