"""False captions of training captions: other ones in every epoch, the same ones whenever a run is repeated.

Swapped and replaced words come from the caption's own parse (`clipsight.roles.foils`), measured at 0.3 ms for each
kind and caption, so nothing is kept between calls.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from clipsight.roles.foils import FOIL_KINDS, FoilKind, make_foils
from clipsight.tune.data.example import Example

GIVEN = "given"
SHUFFLES: Mapping[str, int] = {"shuffle_words": 1, "shuffle_bigrams": 2}
"""Kind -> how many neighbouring words stay together."""
GROUPS: Mapping[str, tuple[str, ...]] = {
    "swap": ("swap_obj", "swap_att"),
    "replace": ("replace_obj", "replace_att", "replace_rel"),
    "add": ("add_obj", "add_att"),
    "shuffle": tuple(SHUFFLES),
}
"""Kinds that are asked for together."""
_DRAWS = 4


@dataclass(frozen=True, kw_only=True)
class FoilMaker:
    """At most `count` false captions of an example.

    They never equal the caption or each other, capitals and spaces aside. Kinds take turns, in an order that is drawn
    anew for each example, and a kind has a second turn only when the others have had theirs; a group such as "swap" is
    one kind. Whether a foil is false of the picture nobody looks; "given" are the data's own.

    Args:
        kinds: of `FOIL_KINDS`, `SHUFFLES`, `GROUPS` and "given".
        count: most foils of an example.
        seed: of the draws.

    Raises:
        ValueError: an unknown kind, none, or a count below 1.

    Example:
        >>> maker = FoilMaker(kinds=("replace_rel", "swap_obj"), count=2, seed=3)
        >>> maker(Example(picture="car.png", caption="a red car left of a small dog", spans=None), index=7, epoch=0)
        ['a red car right of a small dog', 'a small dog left of a red car']
    """

    kinds: tuple[str, ...] = ("swap", "replace", "shuffle")
    count: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        known = (*GROUPS, *FOIL_KINDS, *SHUFFLES, GIVEN)
        if unknown := [kind for kind in self.kinds if kind not in known]:
            raise ValueError(f"foil kind {unknown[0]!r} is not known; the kinds are {', '.join(known)}.")
        if not self.kinds or self.count < 1:
            raise ValueError(
                f"foils were asked for with kinds={self.kinds!r} and count={self.count}; name at least one kind and a "
                "count from 1, or leave out the objective that needs them."
            )

    def __call__(self, example: Example, index: int, epoch: int) -> list[str]:
        """The foils of an example, in the order they were drawn; [] when its caption allows none.

        Args:
            index: number of the example in its collection. epoch: how often all have been seen before.
        """
        rng = random.Random(f"{self.seed}:{epoch}:{index}")
        turns = [_drawn(kind, example, rng) for kind in rng.sample(self.kinds, len(self.kinds))]
        seen, made = {_plain(example.caption)}, []
        while turns and len(made) < self.count:
            turn = turns.pop(0)
            fresh = next((foil for foil in turn if _plain(foil) not in seen), None)
            if fresh is not None:
                made.append(fresh)
                seen.add(_plain(fresh))
                turns.append(turn)
        return made


def _drawn(kind: str, example: Example, rng: random.Random) -> Iterator[str]:
    """Foils of a kind or a group, made when they are asked for."""
    if kind == GIVEN:
        yield from rng.sample(example.foils, len(example.foils))
        return
    members = list(GROUPS.get(kind, (kind,)))
    rng.shuffle(members)
    for _ in range(_DRAWS):
        for member in tuple(members):
            foil = _one(member, example.caption, rng)
            if foil is None:
                members.remove(member)
            else:
                yield foil


def _one(kind: str, caption: str, rng: random.Random) -> str | None:
    """One foil of a kind, None where the caption allows none."""
    if kind in SHUFFLES:
        return _shuffled(caption, SHUFFLES[kind], rng)
    made = make_foils(caption, [cast(FoilKind, kind)], seed=rng.getrandbits(32)).made
    return made[0].foil if made else None


def _shuffled(caption: str, together: int, rng: random.Random) -> str | None:
    """The words in another order; a last full stop stays last, which says nothing about the order."""
    body = caption.rstrip(" .!?")
    words = body.split()
    pieces = [" ".join(words[i : i + together]) for i in range(0, len(words), together)]
    if len(pieces) < 2:
        return None
    rng.shuffle(pieces)
    return " ".join(pieces) + caption[len(body) :].strip()


def _plain(text: str) -> str:
    """What two captions that say the same letter by letter have in common."""
    return " ".join(text.casefold().split())
