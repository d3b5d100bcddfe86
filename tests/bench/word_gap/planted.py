"""Parts of captions whose scores are chosen, for figures that are known beforehand."""

from collections.abc import Callable, Sequence

import numpy as np

from clipsight.bench.word_gap.part import GROUPS, MeasuredPart

Word = tuple[str, str, float]
"""Word, role, score."""
LETTERS = {"o": "object", "t": "attribute", "r": "relation", "x": "other", ".": "mark"}


def part_of(captions: Sequence[Sequence[Word]], clusters: Sequence[str] | None = None) -> MeasuredPart:
    """A part with one column of scores; every word is one token."""
    words = [(row, *word) for row, caption in enumerate(captions) for word in caption]
    position = []
    for caption in captions:
        count = sum(role != "mark" for _, role, _ in caption)
        at = np.cumsum([role != "mark" for _, role, _ in caption]) - 1
        position += [max(place, 0) / max(count - 1, 1) for place in at]
    nothing = np.full(len(captions), np.nan)
    return MeasuredPart(
        captions=tuple(" ".join(word for word, _, _ in caption) for caption in captions),
        clusters=tuple(clusters or (f"picture {row}" for row in range(len(captions)))),
        caption=np.array([row for row, *_ in words], np.int64),
        role=np.array([GROUPS.index(role) for _, _, role, _ in words], np.int64),
        words=tuple(word for _, word, _, _ in words),
        position=np.array(position, float),
        pieces=np.ones(len(words)),
        scores=np.array([[score] for *_, score in words], np.float32),
        similarity=nothing,
        removed=np.full((len(captions), 4), np.nan),
        foil_of=np.zeros(0, np.int64),
        foil_kinds=(),
        foil_drops=np.zeros(0),
    )


def drawn(
    count: int,
    score: Callable[[str, float, np.random.Generator], float],
    seed: int = 0,
    orders: Sequence[str] = ("toxrxto",),
) -> MeasuredPart:
    """Captions with roles in one of the orders (letters of `LETTERS`); `score` gets role, position and a generator."""
    rng = np.random.default_rng(seed)
    captions = []
    for _ in range(count):
        order = orders[rng.integers(len(orders))]
        last = len(order) - 1
        captions.append(
            [
                (f"{letter}{rng.integers(20)}", LETTERS[letter], score(LETTERS[letter], at / last, rng))
                for at, letter in enumerate(order)
            ]
        )
    return part_of(captions)
