"""From what became of the items to figures: micro and macro averages, ties apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float

from clipsight.bench.composition.rules import ItemOutcome


@dataclass(frozen=True, kw_only=True)
class GroupTally:
    """One class of a macro average: items scored, and won."""

    scored: int
    wins: int

    @property
    def score(self) -> float:
        """Percent won."""
        return 100 * self.wins / self.scored


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """What became of each of n questions, by name, so that two models can be compared on the same ones.

    Attributes:
        names: each once. clusters: what a question is drawn together with: its first picture.
        groups: the class of each in the macro average. wins, ties: as in `ItemOutcome`.
    """

    names: tuple[str, ...]
    clusters: tuple[str, ...]
    groups: tuple[str, ...]
    wins: Bool[np.ndarray, " n"]
    ties: Bool[np.ndarray, " n"]


@dataclass(frozen=True, kw_only=True)
class ItemTally:
    """What a metric comes to.

    Attributes:
        scored: questions that were decided. wins, ties: of these; a tie is not a win.
        chance: percent that random scores win, mean over the questions; None where it depends on everything else.
        groups: the classes that the macro average is over, by name.
        answers: what became of each question; None where only the counts are known.
    """

    scored: int
    wins: int
    ties: int
    chance: float | None
    groups: Mapping[str, GroupTally] = field(default_factory=dict)
    answers: Answers | None = field(default=None, compare=False, repr=False)

    @property
    def micro(self) -> float | None:
        """Percent won of all questions; None when none was decided."""
        return 100 * self.wins / self.scored if self.scored else None

    @property
    def macro(self) -> float | None:
        """Mean over the groups of the percent won in each; None without a group."""
        return float(np.mean([group.score for group in self.groups.values()])) if self.groups else None

    def error(self, average: Literal["micro", "macro"]) -> float | None:
        """Standard error of the micro or macro average in points, questions taken as independent draws.

        Of a share p of n it is √(p(1−p)/n), with p = (wins + 1)/(n + 2), so that none or all won are not certain.
        Questions about one picture are not independent: of these it is a lower bound. It says how far a score may be
        from chance, never whether two models differ: for that see `clipsight.bench.composition.paired`.
        """
        parts = [(self.wins, self.scored)] if average == "micro" else _counts(self.groups)
        if not parts or not all(count for _, count in parts):
            return None
        shares = [((wins + 1) / (count + 2), count) for wins, count in parts]
        return 100 * sqrt(sum(p * (1 - p) / count for p, count in shares)) / len(parts)

    @property
    def tie_rate(self) -> float | None:
        """Percent that a tie decided."""
        return 100 * self.ties / self.scored if self.scored else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data; the groups only where there is more than one."""
        return {
            "micro": self.micro,
            "macro": self.macro,
            "scored": self.scored,
            "wins": self.wins,
            "ties": self.ties,
            "tie_rate": self.tie_rate,
            "chance": self.chance,
            **(
                {
                    "groups": {
                        name: {"score": one.score, "scored": one.scored, "wins": one.wins}
                        for name, one in self.groups.items()
                    }
                }
                if len(self.groups) > 1
                else {}
            ),
        }


def _counts(groups: Mapping[str, GroupTally]) -> list[tuple[int, int]]:
    return [(one.wins, one.scored) for one in groups.values()]


def tally(
    outcome: ItemOutcome,
    groups: Sequence[str],
    kept: Sequence[str],
    chance: Float[np.ndarray, " n"] | None = None,
    questions: Sequence[tuple[str, str]] | None = None,
) -> ItemTally:
    """The figures of n questions.

    Args:
        outcome: what became of them.
        groups: the class of each.
        kept: the classes that count for the macro average, in the order in which they are listed; those without a
            decided question drop out.
        chance: share that random scores win, of each.
        questions: name and cluster of each; None keeps the counts alone.
    """
    wins, ties = outcome
    answers = None
    if questions is not None:
        names, clusters = zip(*questions, strict=True) if questions else ((), ())
        answers = Answers(names=names, clusters=clusters, groups=tuple(groups), wins=wins, ties=ties)
    scored_in: dict[str, int] = {}
    won_in: dict[str, int] = {}
    for name, won in zip(groups, wins.tolist(), strict=True):
        scored_in[name] = scored_in.get(name, 0) + 1
        won_in[name] = won_in.get(name, 0) + won
    return ItemTally(
        scored=len(wins),
        wins=int(wins.sum()),
        ties=int(ties.sum()),
        chance=None if chance is None or not len(chance) else 100 * float(chance.mean()),
        groups={
            name: GroupTally(scored=scored_in[name], wins=won_in[name]) for name in kept if name in scored_in
        },
        answers=answers,
    )


def kept_groups(groups: Sequence[str], drop: frozenset[str] = frozenset(), least: int = 1) -> list[str]:
    """The classes that count: not dropped, and with at least so many items; sorted by name.

    Ask with all items of the split, whether their pictures are there or not, so that the classes do not depend on that.
    """
    counts: dict[str, int] = {}
    for name in groups:
        counts[name] = counts.get(name, 0) + 1
    return sorted(name for name, count in counts.items() if name not in drop and count >= least)


def together(outcome: ItemOutcome, keys: Sequence[str], whole: Mapping[str, int]) -> ItemOutcome:
    """Several items as one question: won when all are won, tied when none is lost and not all are won.

    Args:
        outcome: of n items.
        keys: which question each belongs to.
        whole: how many items each question has; one of which not all are here is left out.
    """
    members: dict[str, list[int]] = {}
    for index, key in enumerate(keys):
        members.setdefault(key, []).append(index)
    complete = [rows for key, rows in members.items() if len(rows) == whole[key]]
    wins = np.array([bool(outcome.wins[rows].all()) for rows in complete], bool)
    lost = np.array([bool((~(outcome.wins | outcome.ties)[rows]).any()) for rows in complete], bool)
    return ItemOutcome(wins, ~wins & ~lost)
