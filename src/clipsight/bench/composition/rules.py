"""When an item is answered: comparisons of similarities, each of which must be strict.

Scripts that take an arg max count a tie as right wherever the right caption stands first. Here a tie never wins, and
how often ties decided is a figure of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

Cell = tuple[int, int]
"""(row, column) of an item's scores; rows are its pictures, then its texts where a rule compares those too."""
StrictOrder = tuple[Cell, Cell]
"""The score in the first cell must be strictly higher than the one in the second."""
Sizes = tuple[int, int | None]
"""Fewest and most; None is no limit."""


class ItemOutcome(NamedTuple):
    """What became of n items under one metric.

    `ties`: not won, but won if every exact tie were broken in favour of the item. Wins and ties are disjoint.
    """

    wins: Bool[np.ndarray, " n"]
    ties: Bool[np.ndarray, " n"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One figure that a rule gives.

    Attributes:
        comparisons: those of an item with (K pictures, P positives, N negatives).
        chance: share won by random scores of (K pictures, L texts).
        won: by "all" of the comparisons; or "between", by some, while others are lost.
    """

    comparisons: Callable[[int, int, int], tuple[StrictOrder, ...]]
    chance: Callable[[int, int], float]
    won: Literal["all", "between"] = "all"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How items of one shape are decided.

    Attributes:
        correct: when an item is answered, in words.
        headline: the metric that stands for the rule where a protocol names no other.
        pictures, positives, negatives: how many of each an item has.
        compares_texts: whether texts are compared with texts too.
        classifies: whether the item's class is asked for, among `Item.choices`.
    """

    id: str
    correct: str
    metrics: Mapping[str, Metric]
    headline: str
    pictures: Sizes = (1, 1)
    positives: Sizes = (1, 1)
    negatives: Sizes = (0, 0)
    compares_texts: bool = False
    classifies: bool = False

    def misfit(self, pictures: int, positives: int, negatives: int) -> str:
        """What is wrong with an item of this shape, "" when nothing is."""
        for name, got, (least, most) in (
            ("pictures", pictures, self.pictures),
            ("positive texts", positives, self.positives),
            ("negative texts", negatives, self.negatives),
        ):
            if got < least or (most is not None and got > most):
                wanted = f"{least}" if most == least else f"{least} to {'many' if most is None else most}"
                return f"the rule {self.id} takes {wanted} {name}, got {got}"
        return ""


def _positive_over_negatives(pictures: int, positives: int, negatives: int) -> tuple[StrictOrder, ...]:
    return tuple(
        ((0, first), (0, positives + wrong)) for first in range(positives) for wrong in range(negatives)
    )


def _first_over_negative(pictures: int, positives: int, negatives: int) -> tuple[StrictOrder, ...]:
    return (((0, 0), (0, positives)),)


def _both_over_last_negative(pictures: int, positives: int, negatives: int) -> tuple[StrictOrder, ...]:
    last = positives + negatives - 1
    return ((0, 0), (0, last)), ((0, 1), (0, last))


def _first_picture_over_others(pictures: int, positives: int, negatives: int) -> tuple[StrictOrder, ...]:
    return tuple(((0, 0), (other, 0)) for other in range(1, pictures))


def _own_text(pictures: int, positives: int, negatives: int) -> tuple[StrictOrder, ...]:
    return ((0, 0), (0, 1)), ((1, 1), (1, 0))


def _own_picture(pictures: int, positives: int, negatives: int) -> tuple[StrictOrder, ...]:
    return ((0, 0), (1, 0)), ((1, 1), (0, 1))


def _both_sides(pictures: int, positives: int, negatives: int) -> tuple[StrictOrder, ...]:
    return _own_text(2, 2, 0) + _own_picture(2, 2, 0)


def _paraphrases_together(pictures: int, positives: int, negatives: int) -> tuple[StrictOrder, ...]:
    """⟨P₁,P₂⟩ above ⟨P₁,N⟩ and ⟨P₂,N⟩; the texts' rows follow the pictures'."""
    first = pictures
    return ((first, 1), (first, 2)), ((first, 1), (first + 1, 2))


def _among_texts(pictures: int, texts: int) -> float:
    return 1 / texts


def _among_pictures(pictures: int, texts: int) -> float:
    return 1 / pictures


def _always(share: float) -> Callable[[int, int], float]:
    return lambda pictures, texts: share


_WINOGROUND = {
    "text": Metric(comparisons=_own_text, chance=_always(1 / 4)),
    "image": Metric(comparisons=_own_picture, chance=_always(1 / 4)),
    "group": Metric(comparisons=_both_sides, chance=_always(1 / 6)),
}
RANKS = (1, 5, 10)
"""Depths of retrieval at which recall is counted."""
TOPS = (1, 5)
"""Depths of classification."""

RULES: dict[str, Rule] = {
    rule.id: rule
    for rule in (
        Rule(
            id="pair_text",
            correct="the right caption scores higher than the wrong one",
            metrics={"accuracy": Metric(comparisons=_positive_over_negatives, chance=_among_texts)},
            headline="accuracy",
            negatives=(1, 1),
        ),
        Rule(
            id="kway_text",
            correct="the right caption scores higher than every other",
            metrics={"accuracy": Metric(comparisons=_positive_over_negatives, chance=_among_texts)},
            headline="accuracy",
            negatives=(1, None),
        ),
        Rule(
            id="pair_image",
            correct="the right picture scores higher than the wrong one",
            metrics={"accuracy": Metric(comparisons=_first_picture_over_others, chance=_among_pictures)},
            headline="accuracy",
            pictures=(2, 2),
        ),
        Rule(
            id="kway_image",
            correct="the right picture scores higher than every other",
            metrics={"accuracy": Metric(comparisons=_first_picture_over_others, chance=_among_pictures)},
            headline="accuracy",
            pictures=(2, None),
        ),
        Rule(
            id="wino",
            correct="text: each picture prefers its own caption; image: each caption its own picture; group: both",
            metrics=_WINOGROUND,
            headline="group",
            pictures=(2, 2),
            positives=(2, 2),
        ),
        Rule(
            id="both_image",
            correct="each caption prefers its own picture; text and group as for Winoground beside it",
            metrics=_WINOGROUND,
            headline="image",
            pictures=(2, 2),
            positives=(2, 2),
        ),
        Rule(
            id="itt_tot",
            correct="itt: both paraphrases score higher than the wrong caption; tot: the paraphrases are nearer to "
            "each other than either is to it",
            metrics={
                "itt": Metric(comparisons=_positive_over_negatives, chance=_always(1 / 3)),
                "tot": Metric(comparisons=_paraphrases_together, chance=_always(1 / 3)),
            },
            headline="itt",
            positives=(2, 2),
            negatives=(1, 1),
            compares_texts=True,
        ),
        Rule(
            id="tot",
            correct="the paraphrases are nearer to each other than either is to the wrong caption; no picture is asked",
            metrics={"tot": Metric(comparisons=_paraphrases_together, chance=_always(1 / 3))},
            headline="tot",
            pictures=(0, 0),
            positives=(2, 2),
            negatives=(1, 1),
            compares_texts=True,
        ),
        Rule(
            id="aug_pos",
            correct="original: the caption beats the wrong one; augmented: so does its rewording; brittle: the wrong "
            "one lies between the two",
            metrics={
                "original": Metric(comparisons=_first_over_negative, chance=_always(1 / 2)),
                "augmented": Metric(comparisons=_both_over_last_negative, chance=_always(1 / 3)),
                "brittle": Metric(comparisons=_both_over_last_negative, chance=_always(1 / 3), won="between"),
            },
            headline="augmented",
            positives=(2, 2),
            negatives=(1, 2),
        ),
        Rule(
            id="retrieval",
            correct="a caption of the picture is among the k nearest of all captions (i2t), the picture among the k "
            "nearest of all pictures to its caption (t2i)",
            metrics={},
            headline="t2i@1",
            positives=(1, None),
        ),
        Rule(
            id="classes",
            correct="the picture's class is the nearest of all classes (top1), or among the five nearest (top5)",
            metrics={},
            headline="top1",
            positives=(0, 0),
            classifies=True,
        ),
    )
}


def decide(rule: Rule, scores: Float[np.ndarray, "n R L"], positives: int) -> dict[str, ItemOutcome]:
    """What becomes of n items of one shape, by metric.

    Args:
        rule: any but "retrieval", whose items compete with each other, see `picture_recall`; and "classes", see
            `text_recall`.
        scores: similarities of R = K pictures with L texts, positives first; for rules that compare texts R = K + L,
            with the similarities of the texts among themselves below the pictures'.
        positives: how many of the L texts are positives.

    Example:
        >>> decide(RULES["pair_text"], np.array([[[0.3, 0.2]], [[0.2, 0.2]]]), 1)["accuracy"].wins.tolist()
        [True, False]
    """
    rows, texts = scores.shape[1:]
    pictures = rows - texts if rule.compares_texts else rows
    found = {}
    for name, metric in rule.metrics.items():
        higher, lower = zip(*metric.comparisons(pictures, positives, texts - positives), strict=True)
        first, second = (scores[:, *np.array(cells).T] for cells in (higher, lower))
        won, lost, asked = (first > second).sum(1), (first < second).sum(1), len(higher)
        if metric.won == "all":
            wins = np.equal(won, asked)
            ties = np.equal(lost, 0) & ~wins
        else:
            wins = np.greater(won, 0) & np.greater(lost, 0)
            ties = np.less(won + lost, asked) & np.greater(won + lost, 0)
        found[name] = ItemOutcome(wins, ties)
    return found


def picture_recall(
    scores: Float[np.ndarray, "n M"], own: Bool[np.ndarray, "n M"], ranks: Sequence[int] = RANKS
) -> dict[int, ItemOutcome]:
    """By k: is one of the picture's own captions among the k nearest of all M captions?

    A foreign caption that ties with the best own one stands before it.
    """
    best = np.where(own, scores, -np.inf).max(1, keepdims=True)
    return _recalled(((scores >= best) & ~own).sum(1), ((scores > best) & ~own).sum(1), ranks)


def text_recall(
    scores: Float[np.ndarray, "m N"], owner: Int[np.ndarray, " m"], ranks: Sequence[int] = RANKS
) -> dict[int, ItemOutcome]:
    """By k: is the caption's picture among the k nearest of all N pictures? Ties stand before it.

    The same asks for a picture's class among N classes.
    """
    own = np.take_along_axis(scores, owner[:, None], axis=1)
    before = (scores >= own).sum(1) - 1
    return _recalled(before, (scores > own).sum(1), ranks)


def _recalled(
    before: Int[np.ndarray, " n"], surely_before: Int[np.ndarray, " n"], ranks: Sequence[int]
) -> dict[int, ItemOutcome]:
    found = {}
    for k in ranks:
        wins = np.less(before, k)
        found[k] = ItemOutcome(wins, np.less(surely_before, k) & ~wins)
    return found
