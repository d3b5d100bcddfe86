"""What a caption claims, independent of its wording; and whether it is true of a scene."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from clipsight.world.scene import Damage, FoilKind, SceneObject, SceneRelation, Size
from clipsight.world.splits import INVERSE
from clipsight.world.sprites import COLORS, nouns

STATES: dict[str, tuple[Damage | None, ...]] = {
    "scratched": ("scratch",),
    "stained": ("stain",),
    "with a hole": ("hole",),
    "damaged": ("scratch", "stain", "hole"),
    "broken": ("scratch", "stain", "hole"),
    "intact": (None,),
    "flawless": (None,),
}
"""The words for a sprite's state and the damages they are true of."""


ALSO: dict[str, tuple[str, ...]] = {
    "pine tree": ("tree",),
    "palm tree": ("tree",),
    "taxi": ("car",),
    "sailboat": ("ship",),
    "ship": ("sailboat",),
    "motorcycle": ("scooter", "bicycle"),
    "scooter": ("motorcycle",),
    "teddy bear": ("bear",),
    "panda": ("bear",),
    "koala": ("bear",),
    "shark": ("fish",),
    "whale": ("fish",),
    "dolphin": ("fish",),
    "cupcake": ("birthday cake",),
    "wolf": ("dog",),
    "unicorn": ("horse",),
    "rose": ("tulip",),
    "alarm clock": ("watch",),
    "boot": ("high heel",),
}
"""What else a person might call a sprite: no foil puts these names in the place of something absent."""


@dataclass(frozen=True, kw_only=True)
class Mention:
    """One noun phrase: `count` objects of that name with these properties; None claims nothing."""

    noun: str
    count: int = 1
    color: str | None = None
    size: Size | None = None
    state: str | None = None

    def fits(self, item: SceneObject) -> bool:
        """Whether the words are true of the object."""
        return (
            item.name == self.noun
            and (self.color is None or item.color == self.color)
            and (self.size is None or item.size == self.size)
            and (self.state is None or item.damage in STATES[self.state])
        )


@dataclass(frozen=True, kw_only=True)
class Statement:
    """Noun phrases; with `relation`, there are exactly two, and it relates the first to the second."""

    mentions: tuple[Mention, ...]
    relation: str | None = None


def holds(statement: Statement, objects: Sequence[SceneObject], relations: Sequence[SceneRelation]) -> bool:
    """Whether the statement is true of the scene."""
    if any(sum(map(m.fits, objects)) < m.count for m in statement.mentions):
        return False
    if statement.relation is None:
        return True
    first, second = statement.mentions
    return any(
        r.name == statement.relation and first.fits(objects[r.subject]) and second.fits(objects[r.other])
        for r in relations
    )


def mention(
    objects: Sequence[SceneObject], index: int, rng: np.random.Generator, *, full: bool = False
) -> Mention:
    """A noun phrase for an object; `full` always names its colour, otherwise properties are random."""
    item = objects[index]
    state = None
    fitting = [s for s, kinds in STATES.items() if item.damage in kinds]
    if rng.random() < (0.8 if item.damaged else 0.04):
        state = fitting[rng.integers(len(fitting))]
    return Mention(
        noun=item.name,
        color=item.color if full or rng.random() < 0.85 else None,
        size=item.size if rng.random() < 0.25 else None,
        state=state,
    )


def counted(objects: Sequence[SceneObject], rng: np.random.Generator) -> Mention | None:
    """A phrase such as "three red dogs" when all objects share one name, else None."""
    if len(objects) < 2 or len({o.name for o in objects}) > 1:
        return None
    shared = {o.color for o in objects}
    color = objects[0].color if len(shared) == 1 and rng.random() < 0.85 else None
    return Mention(noun=objects[0].name, count=len(objects), color=color)


def draw_statements(
    objects: Sequence[SceneObject],
    relations: Sequence[SceneRelation],
    rng: np.random.Generator,
    count: int = 5,
) -> list[Statement]:
    """True statements: the whole scene first, then relations and parts of it, in turn."""
    whole = counted(objects, rng)
    found = []
    for turn in range(count):
        if whole is not None:
            found.append(
                Statement(mentions=(replace(whole, color=whole.color if turn % 2 else objects[0].color),))
            )
        elif turn in (1, 3) and relations:
            picked = relations[int(rng.integers(len(relations)))]
            pair = tuple(mention(objects, i, rng) for i in (picked.subject, picked.other))
            found.append(Statement(mentions=pair, relation=picked.name))
        else:
            order = rng.permutation(len(objects))
            kept = order if turn < 3 else order[: rng.integers(1, len(objects) + 1)]
            found.append(Statement(mentions=tuple(mention(objects, int(i), rng) for i in kept)))
    return found


def draw_foils(
    objects: Sequence[SceneObject], relations: Sequence[SceneRelation], rng: np.random.Generator
) -> list[tuple[FoilKind, Statement, Statement]]:
    """(kind, true statement, false statement): one of every kind that the scene allows, each change minimal."""
    if len({o.name for o in objects}) < len(objects):
        return []
    order = [int(i) for i in rng.permutation(len(objects))][:2]
    told = tuple(mention(objects, i, rng, full=True) for i in order)
    listed = Statement(mentions=told)
    shown = {o.name for o in objects}
    absent = [n for n in nouns() if not any(n == s or n in ALSO.get(s, ()) for s in shown)]
    stranger = absent[rng.integers(len(absent))]
    at = int(rng.integers(len(told)))
    drawn: list[tuple[FoilKind, Statement, Statement]] = [
        ("replace_obj", listed, _with(listed, at, replace(told[at], noun=stranger))),
        ("add_obj", listed, Statement(mentions=(*told, Mention(noun=stranger)))),
    ]
    unused = [c for c in COLORS if c not in {m.color for m in told}]
    other = unused[rng.integers(len(unused))]
    plain = [i for i, m in enumerate(told) if m.color is not None]
    if plain:
        pick = plain[rng.integers(len(plain))]
        silent = _with(listed, pick, replace(told[pick], color=None))
        drawn.append(("replace_att", listed, _with(listed, pick, replace(told[pick], color=other))))
        drawn.append(("add_att", silent, _with(silent, pick, replace(told[pick], color=other))))
    else:
        sizes: dict[Size, Size] = {"small": "large", "large": "small"}
        item = objects[order[at]]
        sized, silent = (_with(listed, at, replace(told[at], size=size)) for size in (item.size, None))
        wrong = replace(told[at], size=sizes[item.size])
        drawn.append(("replace_att", sized, _with(listed, at, wrong)))
        drawn.append(("add_att", silent, _with(listed, at, wrong)))
    if len(told) == 2 and told[0].color and told[1].color:
        first, second = told
        swapped = (replace(first, color=second.color), replace(second, color=first.color))
        drawn.append(("swap_att", listed, Statement(mentions=swapped)))
    if relations:
        picked = relations[int(rng.integers(len(relations)))]
        pair = tuple(mention(objects, i, rng) for i in (picked.subject, picked.other))
        related = Statement(mentions=pair, relation=picked.name)
        drawn.append(("replace_rel", related, replace(related, relation=INVERSE[picked.name])))
        drawn.append(("swap_obj", related, replace(related, mentions=pair[::-1])))
    return [(kind, true, false) for kind, true, false in drawn if not holds(false, objects, relations)]


def _with(statement: Statement, index: int, changed: Mention) -> Statement:
    mentions = list(statement.mentions)
    mentions[index] = changed
    return replace(statement, mentions=tuple(mentions))
