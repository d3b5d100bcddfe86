"""Choose the contents of a scene: objects, their appearance, and the relations that clearly hold."""

from collections.abc import Sequence

import numpy as np

from clipsight.world.scene import SceneObject, SceneRelation, Size
from clipsight.world.splits import Split, color_held_out, relation_held_out
from clipsight.world.sprites import COLORS, DAMAGES, nouns

_EXTENT: dict[Size, tuple[float, float]] = {"small": (0.24, 0.32), "large": (0.42, 0.54)}
_APART = 0.42  # sprites whose centres are nearer than this share of their summed extents would overlap
_TRIES = 1000


def draw_objects(
    rng: np.random.Generator, split: Split, count: int | None = None
) -> tuple[tuple[SceneObject, ...], tuple[SceneRelation, ...]]:
    """Objects (back to front) and their clear relations, obeying the split.

    Training scenes hold no held-out combination. A held-out scene that has a colour or a relation holds at least one.
    """
    if count is None:
        count = int(rng.choice([1, 2, 3, 4], p=[0.35, 0.4, 0.15, 0.1]))
    counted = count > 1 and rng.random() < 0.2
    colored = rng.random(count) < 0.6
    if counted:
        colored[:] = colored[0]
    for _ in range(_TRIES):
        objects = _draw(rng, count, counted, colored)
        relations = clear_relations(objects)
        held = [color_held_out(o.color, o.name) for o in objects if o.color is not None]
        held += [relation_held_out(objects[r.subject].name, r.name, objects[r.other].name) for r in relations]
        if not any(held) if split == "train" else (any(held) or not held):
            return objects, relations
    raise RuntimeError(f"no {split} scene of {count} objects in {_TRIES} draws")


def _draw(
    rng: np.random.Generator, count: int, counted: bool, colored: np.ndarray
) -> tuple[SceneObject, ...]:
    names = nouns()
    chosen = [names[i] for i in rng.choice(len(names), 1 if counted else count, replace=False)] * (
        count if counted else 1
    )
    palette = list(COLORS)
    colors = [palette[i] for i in rng.choice(len(palette), count, replace=False)]
    if counted:
        colors = colors[:1] * count
    large = rng.random(count) < (0.5 if count < 3 else 0.25)
    sizes: list[Size] = ["large" if flag else "small" for flag in large]
    extents = [float(rng.uniform(*_EXTENT[size])) for size in sizes]
    in_front = count == 2 and not counted and rng.random() < 0.2
    centers = _overlapping(rng, extents) if in_front else _spread(rng, extents)
    return tuple(
        SceneObject(
            name=chosen[i],
            color=colors[i] if colored[i] else None,
            size=sizes[i],
            damage=DAMAGES[rng.integers(len(DAMAGES))] if rng.random() < 0.12 else None,
            center=centers[i],
            extent=extents[i],
            mirrored=bool(rng.random() < 0.5),
            angle=float(rng.uniform(-15, 15)),
        )
        for i in range(count)
    )


def _inside(rng: np.random.Generator, extent: float) -> tuple[float, float]:
    x, y = rng.uniform(extent * 0.5, 1 - extent * 0.5, 2)
    return float(x), float(y)


def _spread(rng: np.random.Generator, extents: Sequence[float]) -> list[tuple[float, float]]:
    """Centres that keep the sprites apart; the roomiest of many draws when none keeps them all apart."""
    best: list[tuple[float, float]] = []
    best_gap = -np.inf
    for _ in range(80):
        centers = [_inside(rng, extent) for extent in extents]
        gap = min(
            (
                np.hypot(a[0] - b[0], a[1] - b[1]) - _APART * (ea + eb)
                for i, (a, ea) in enumerate(zip(centers, extents, strict=True))
                for b, eb in zip(centers[:i], extents[:i], strict=True)
            ),
            default=0.0,
        )
        if gap >= 0:
            return centers
        if gap > best_gap:
            best, best_gap = centers, gap
    return best


def _overlapping(rng: np.random.Generator, extents: Sequence[float]) -> list[tuple[float, float]]:
    """Two centres so near that the second sprite covers a part of the first."""
    back = _inside(rng, extents[0])
    angle = rng.uniform(0, 2 * np.pi)
    distance = rng.uniform(0.24, 0.29) * sum(extents)
    half = extents[1] * 0.4
    x, y = (
        np.clip(c + f(angle) * distance, half, 1 - half) for c, f in zip(back, (np.cos, np.sin), strict=True)
    )
    return [back, (float(x), float(y))]


def clear_relations(objects: Sequence[SceneObject]) -> tuple[SceneRelation, ...]:
    """Unambiguous relations between objects of different names, in both wordings."""
    found: list[SceneRelation] = []
    for i, first in enumerate(objects):
        for j, second in enumerate(objects[i + 1 :], i + 1):
            if first.name == second.name:
                continue
            dx, dy = (b - a for a, b in zip(first.center, second.center, strict=True))
            reach = first.extent + second.extent
            if np.hypot(dx, dy) < 0.31 * reach:
                found += [
                    SceneRelation(subject=j, name="in front of", other=i),
                    SceneRelation(subject=i, name="behind", other=j),
                ]
            elif abs(dx) > 1.5 * abs(dy) and abs(dx) > 0.4 * reach:
                west, east = (i, j) if dx > 0 else (j, i)
                found += [
                    SceneRelation(subject=west, name="left of", other=east),
                    SceneRelation(subject=east, name="right of", other=west),
                ]
            elif abs(dy) > 1.5 * abs(dx) and abs(dy) > 0.4 * reach:
                high, low = (i, j) if dy > 0 else (j, i)
                found += [
                    SceneRelation(subject=high, name="above", other=low),
                    SceneRelation(subject=low, name="below", other=high),
                ]
    return tuple(found)
