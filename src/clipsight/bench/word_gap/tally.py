"""Sums over captions from which every figure of attribution is made, for the corpus and for each bootstrap replicate.

With r the score of a word (its tokens' summed), p = |r| / Σ|r| over the words and marks of its caption. Of a caption
S_G is the mean p of its words of group G; a caption counts for a comparison of two groups when it has words of both.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Bool, Float, Int

from clipsight.bench.resampling import Resampler
from clipsight.bench.word_gap.part import ATTRIBUTE, GROUPS, MARK, OBJECT, OTHER, RELATION, MeasuredPart, sums

AGAINST = ("composition", "attribute", "relation")
"""What objects are compared with; composition is attributes and relations."""
MEMBERS: Mapping[str, tuple[int, ...]] = {
    "object": (OBJECT,),
    "attribute": (ATTRIBUTE,),
    "relation": (RELATION,),
    "composition": (ATTRIBUTE, RELATION),
    "other": (OTHER,),
}
REGRESSORS = ("object", "attribute", "relation", "position", "position²", "log frequency", "pieces")
FLOOR = 1e-3
"""Shares below this count as this where the logarithm is taken: a tenth of a percent of the caption."""


class RoleTally:
    """Takes parts one after the other; `statistics` reads the sums.

    Args:
        columns: number of columns of scores.
        frequency: of each lower-case word, how often the corpus has it.
        resampler: of clusters.
        shuffles: how many times the roles of each caption are dealt out anew among its words, as control.
        seed: of the dealing.

    Attributes:
        sums: name -> sums over captions, first axis the rows of weights, last axis columns where there are any.
        captions: captions added, comparable: of these, captions with an object and a composition word.
    """

    def __init__(
        self,
        columns: int,
        frequency: Mapping[str, int],
        resampler: Resampler,
        shuffles: int = 20,
        seed: int = 0,
    ) -> None:
        self._columns, self._frequency, self._resampler = columns, frequency, resampler
        self._shuffles, self._rng = shuffles, np.random.default_rng(seed)
        self.sums: dict[str, np.ndarray] = {}
        self.captions = self.comparable = self.words = self.compared_words = 0
        self.floored = np.zeros(columns)
        self.silent = np.zeros(columns)

    def add(self, part: MeasuredPart) -> None:
        """Take a part's captions.

        Raises:
            ValueError: a score that is not finite.
        """
        if not np.isfinite(part.scores).all():
            row, column = np.argwhere(~np.isfinite(part.scores))[0]
            raise ValueError(
                f"the score of {part.words[row]!r} in {part.captions[part.caption[row]]!r:.80} is not finite (column "
                f'{column}); half precision that overflows is the usual cause. Load the model with dtype="float32".'
            )
        weights = self._resampler.weights(part.clusters)
        scores = part.scores.astype(np.float64)
        share, totals = _shares(np.abs(scores), part.caption, len(part))
        signed = scores / np.where(totals > 0, totals, 1)[part.caption]
        means = {group: _means(share, part, group) for group in MEMBERS}
        counts = {group: count for group, (_, count) in means.items()}
        for group, (mean, count) in means.items():
            self._gather(f"words {group}", weights, count > 0, mean)
            self._gather(f"signed {group}", weights, count > 0, _means(signed, part, group)[0])
        for other in AGAINST:
            both = (counts["object"] > 0) & (counts[other] > 0)
            self._gather(f"object over {other}", weights, both, means["object"][0])
            self._gather(f"{other} under object", weights, both, means[other][0])
        compared = (counts["object"] > 0) & (counts["composition"] > 0)
        for number, group in enumerate(GROUPS):
            there = (part.role == number)[:, None]
            self._gather(f"share {group}", weights, compared, sums(share * there, part.caption, len(part)))
        positive, _ = _shares(np.maximum(scores, 0), part.caption, len(part))
        for group in ("object", "composition"):
            self._gather(f"positive {group}", weights, compared, _means(positive, part, group)[0])
        self._shuffle(part, share, weights, compared)
        self._regress(part, share, weights, compared)
        self.captions += len(part)
        self.comparable += int(compared.sum())
        self.words += int((part.role != MARK).sum())
        self.silent += (totals[compared] == 0).sum(0)

    def count(self, name: str) -> Float[np.ndarray, " R"]:
        """Weighted number of captions of a sum."""
        return self.sums[f"count of {name}"]

    def mean(self, name: str) -> Float[np.ndarray, "R M"]:
        """A sum over the number of its captions, NaN where there are none."""
        count = self.count(name)[:, None]
        return np.divide(self.sums[name], count, out=np.full(self.sums[name].shape, np.nan), where=count > 0)

    def _gather(
        self,
        name: str,
        weights: Float[np.ndarray, "R N"],
        chosen: Bool[np.ndarray, " N"],
        values: Float[np.ndarray, "N K"],
    ) -> None:
        some = weights[:, chosen]
        self._add(name, some @ values[chosen])
        self._add(f"count of {name}", some.sum(1))

    def _add(self, name: str, values: np.ndarray) -> None:
        self.sums[name] = self.sums[name] + values if name in self.sums else values

    def _shuffle(
        self,
        part: MeasuredPart,
        share: Float[np.ndarray, "W M"],
        weights: Float[np.ndarray, "R N"],
        compared: Bool[np.ndarray, " N"],
    ) -> None:
        """Roles dealt out anew among the words of each caption: with them nothing can depend on the role."""
        own = np.flatnonzero(part.role != MARK)
        caption, role = part.caption[own], part.role[own]
        found = {group: np.zeros((len(part), self._columns)) for group in ("object", "composition")}
        for _ in range(self._shuffles):
            dealt = role[np.lexsort((self._rng.random(len(own)), caption))]
            for group in found:
                there = np.isin(dealt, MEMBERS[group])[:, None]
                count = sums(there.astype(float), caption, len(part))
                found[group] += sums(share[own] * there, caption, len(part)) / np.maximum(count, 1)
        for group, values in found.items():
            self._gather(f"shuffled {group}", weights, compared, values / max(self._shuffles, 1))

    def _regress(
        self,
        part: MeasuredPart,
        share: Float[np.ndarray, "W M"],
        weights: Float[np.ndarray, "R N"],
        compared: Bool[np.ndarray, " N"],
    ) -> None:
        """Products for the regression of log p on group and controls, all taken relative to the caption's mean."""
        own = np.flatnonzero((part.role != MARK) & compared[part.caption])
        caption, role = part.caption[own], part.role[own]
        frequency = np.array([self._frequency[part.words[index].lower()] for index in own], float).reshape(-1)
        position = part.position[own]
        x = np.stack(
            [
                *(role == number for number in (OBJECT, ATTRIBUTE, RELATION)),
                position,
                position**2,
                np.log(np.maximum(frequency, 1)),
                part.pieces[own],
            ],
            axis=1,
        ).astype(float)
        y = np.log(np.maximum(share[own], FLOOR))
        x, y = (_within(values, caption, len(part)) for values in (x, y))
        k = x.shape[1]
        xx = sums((x[:, :, None] * x[:, None, :]).reshape(-1, k * k), caption, len(part))
        xy = sums((x[:, :, None] * y[:, None, :]).reshape(-1, k * self._columns), caption, len(part))
        self._add("xx", (weights @ xx).reshape(-1, k, k))
        self._add("xy", (weights @ xy).reshape(-1, k, self._columns))
        self.floored += (share[own] < FLOOR).sum(0)
        self.compared_words += len(own)


def frequencies(parts: Iterable[MeasuredPart]) -> dict[str, int]:
    """How often each word stands in the captions, capitals aside."""
    found: dict[str, int] = {}
    for part in parts:
        for word, role in zip(part.words, part.role, strict=True):
            if role != MARK:
                found[word.lower()] = found.get(word.lower(), 0) + 1
    return found


def _shares(
    sizes: Float[np.ndarray, "W M"], caption: Int[np.ndarray, " W"], count: int
) -> tuple[Float[np.ndarray, "W M"], Float[np.ndarray, "N M"]]:
    """Sizes over their caption's total, 0 in a caption that has none; and the totals."""
    totals = sums(sizes, caption, count)
    return sizes / np.where(totals > 0, totals, 1)[caption], totals


def _means(
    values: Float[np.ndarray, "W M"], part: MeasuredPart, group: str
) -> tuple[Float[np.ndarray, "N M"], Float[np.ndarray, " N"]]:
    """Mean of each caption's words of a group, 0 where it has none; and how many it has."""
    there = np.isin(part.role, MEMBERS[group])[:, None].astype(float)
    count = sums(there, part.caption, len(part))
    return sums(values * there, part.caption, len(part)) / np.maximum(count, 1), count[:, 0]


def _within(
    values: Float[np.ndarray, "W K"], caption: Int[np.ndarray, " W"], count: int
) -> Float[np.ndarray, "W K"]:
    """Values less their caption's mean."""
    size = sums(np.ones((len(values), 1)), caption, count)
    return values - (sums(values, caption, count) / np.maximum(size, 1))[caption]
