"""Scenes of the emoji world as pictures of a benchmark: named, not stored."""

from functools import lru_cache
from typing import get_args

from PIL import Image

from clipsight.bench.composition.item import PictureRef
from clipsight.world import FoilKind, Scene, make_scene

COLLECTION = "world"
KINDS: tuple[FoilKind, ...] = get_args(FoilKind)
"""The kinds of foil, which are SugarCrepe's subsets."""


def scene_ref(seed: int, index: int, size: int, objects: int | None = None) -> PictureRef:
    """The name of a held-out scene; with a number of objects, of one that has so many."""
    file = "/".join(map(str, ("heldout", seed, index, size, *([] if objects is None else [objects]))))
    return PictureRef(file=file, collection=COLLECTION)


def is_scene(ref: PictureRef) -> bool:
    """Whether a picture is drawn rather than read."""
    return ref.collection == COLLECTION


def scene_picture(ref: PictureRef) -> Image.Image:
    """The scene's picture, RGB."""
    _, *numbers = ref.file.split("/")
    return named_scene(*map(int, numbers)).image


@lru_cache(maxsize=512)
def named_scene(seed: int, index: int, size: int, objects: int | None = None) -> Scene:
    """Held-out scene number `index` of a seed; kept, because it is asked for its foils, its name and its pixels."""
    return make_scene(index, seed, "heldout", size, objects)
