"""Make scenes: seeded, independent of each other, by split."""

from collections.abc import Iterator

import numpy as np

from clipsight.world.captions import word
from clipsight.world.layout import draw_objects
from clipsight.world.render import render
from clipsight.world.scene import Foil, Scene
from clipsight.world.splits import SPLITS, Split
from clipsight.world.statements import draw_foils, draw_statements

MIN_SIZE = 32


def check_request(split: Split, size: int, seed: int, count: int = 1) -> None:
    """Refuse arguments that allow no scene.

    Raises:
        ValueError: unknown split, size below 32, negative seed or count.
    """
    if split not in SPLITS:
        raise ValueError(f"no split named {split!r}; known: {', '.join(SPLITS)}")
    if size < MIN_SIZE:
        raise ValueError(f"size is {size} pixels; a scene needs at least {MIN_SIZE} to show small sprites")
    if seed < 0 or count < 0:
        raise ValueError(f"seed {seed}, count {count}: neither may be negative")


def make_scene(
    index: int, seed: int = 0, split: Split = "heldout", size: int = 112, objects: int | None = None
) -> Scene:
    """Scene number `index` of a seed; see `make_scenes`."""
    check_request(split, size, seed)
    if objects is not None and objects not in (1, 2, 3, 4):
        raise ValueError(f"objects is {objects}; a scene holds 1 to 4")
    seeds = [SPLITS.index(split), seed, index, objects or 0]
    scene = _drawn(np.random.default_rng(seeds), index, seed, split, size, objects)
    again = 0
    while not all(mask.any() for mask in scene.masks):  # one sprite hides another wholly
        again += 1
        scene = _drawn(np.random.default_rng([*seeds, again]), index, seed, split, size, objects)
    return scene


def _drawn(
    rng: np.random.Generator, index: int, seed: int, split: Split, size: int, objects: int | None
) -> Scene:
    placed, relations = draw_objects(rng, split, objects)
    statements = draw_statements(placed, relations, rng)
    styles = rng.integers(2**31, size=len(statements))
    captions = tuple(word(s, int(style)) for s, style in zip(statements, styles, strict=True))
    foils = []
    for kind, true, false in draw_foils(placed, relations, rng):
        style = int(rng.integers(2**31))
        caption, foil = word(true, style), word(false, style)
        foils.append(
            Foil(
                caption=caption.text,
                foil=foil.text,
                kind=kind,
                caption_spans=caption.spans,
                foil_spans=foil.spans,
            )
        )
    image, masks, damage_masks = render(placed, size, rng)
    return Scene(
        image=image,
        masks=masks,
        damage_masks=damage_masks,
        objects=placed,
        relations=relations,
        captions=captions,
        foils=tuple(foils),
        split=split,
        seed=seed,
        index=index,
    )


def make_scenes(
    count: int, seed: int = 0, split: Split = "heldout", size: int = 112, objects: int | None = None
) -> Iterator[Scene]:
    """Scenes of the emoji world, with their full ground truth.

    Args:
        count: how many.
        seed: scenes of a seed and a split are always the same, for any count; splits never share one.
        split: "train" never shows the held-out colour×object and object×relation×object combinations; "heldout" shows
            at least one of them in every scene that has a colour or a relation.
        size: side of the square picture in pixels, at least 32.
        objects: 1 to 4 for exactly so many, None for a mixture.

    Yields:
        `Scene`: picture, masks, objects, relations, captions with spans and roles, foils.

    Raises:
        ValueError: unknown split, size or objects out of range.

    Example:
        >>> scene = next(make_scenes(1, seed=3))
        >>> scene.image.size
        (112, 112)
    """
    check_request(split, size, seed, count)
    for index in range(count):
        yield make_scene(index, seed, split, size, objects)
