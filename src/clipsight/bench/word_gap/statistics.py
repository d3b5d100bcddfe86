"""Figures of attribution by role: what a word of a group gets, how often more an object gets, and what explains it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from clipsight.bench.resampling import Interval, Resampler, interval, ratio
from clipsight.bench.word_gap.part import GROUPS, MeasuredPart
from clipsight.bench.word_gap.tally import AGAINST, MEMBERS, REGRESSORS, RoleTally, frequencies

_GROUP_COLUMNS = 3
_TEN = np.log(10)


@dataclass(frozen=True, kw_only=True)
class GapFigures:
    """What one column of scores (a method, or a layer of it) says of the groups.

    Shares are those of a caption's attribution, in absolute value; a figure is a mean over captions, with the interval
    over clusters of captions.

    Attributes:
        words: of each group, the share of one of its words.
        shares: of each group and of punctuation, the share of all its words, in captions with objects and composition.
        signed: as `words`, with the sign of the scores.
        gap: against each of `AGAINST`, how many times as much an object word gets: γ. 1 is no gap.
        positive: the gap against composition when negative scores count as nothing.
        shuffled: the gap against composition with roles dealt out anew: 1 but for noise, else something is wrong.
        plain: the gap as a ratio of geometric means within captions. controlled: the same, compared at equal position,
            frequency and number of tokens.
        controls: what these do by themselves: "position" last word over first; "frequency" a word ten times as frequent
            over the other; "pieces" a word of one token more over the other.
        floored: the part of words whose share was too small for a logarithm and was taken as 0.1 %.
        silent: the part of captions in which no word has any score.
    """

    words: Mapping[str, Interval]
    shares: Mapping[str, Interval]
    signed: Mapping[str, Interval]
    gap: Mapping[str, Interval]
    positive: Interval
    shuffled: Interval
    plain: Mapping[str, Interval]
    controlled: Mapping[str, Interval]
    controls: Mapping[str, Interval]
    floored: float
    silent: float


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Figures of every column, and of how many captions and words they are.

    Attributes:
        comparable: captions that have an object word and a composition word.
    """

    columns: tuple[GapFigures, ...]
    captions: int
    comparable: int
    words: int


def summarise(
    parts: Callable[[], Iterable[MeasuredPart]],
    columns: int,
    *,
    replicates: int = 1000,
    shuffles: int = 20,
    seed: int = 0,
) -> Summary:
    """Figures of a corpus that was measured in parts.

    Args:
        parts: gives the parts, from the first on, each time it is called; they are read twice and never held together.
        columns: number of columns of scores.
        replicates: bootstrap samples.
        shuffles: how many times roles are dealt out anew.
        seed: of both.

    Raises:
        ValueError: a score that is not finite, or replicates below 1.
    """
    tally = RoleTally(columns, frequencies(parts()), Resampler(replicates, seed), shuffles, seed)
    for part in parts():
        tally.add(part)
    if not tally.captions:
        return Summary(columns=(), captions=0, comparable=0, words=0)
    fits = _Fits(tally)
    return Summary(
        columns=tuple(_figures(tally, fits, column) for column in range(columns)),
        captions=tally.captions,
        comparable=tally.comparable,
        words=tally.words,
    )


def _figures(tally: RoleTally, fits: "_Fits", column: int) -> GapFigures:
    def mean(name: str) -> Interval:
        return interval(tally.mean(name)[:, column])

    def quotient(above: str, below: str) -> Interval:
        return interval(ratio(tally.sums[above][:, column], tally.sums[below][:, column]))

    return GapFigures(
        words={group: mean(f"words {group}") for group in MEMBERS},
        shares={group: mean(f"share {group}") for group in GROUPS},
        signed={group: mean(f"signed {group}") for group in MEMBERS},
        gap={other: quotient(f"object over {other}", f"{other} under object") for other in AGAINST},
        positive=quotient("positive object", "positive composition"),
        shuffled=quotient("shuffled object", "shuffled composition"),
        plain={other: fits.gap(other, column, controlled=False) for other in AGAINST},
        controlled={other: fits.gap(other, column, controlled=True) for other in AGAINST},
        controls=fits.controls(column),
        floored=float(tally.floored[column] / max(tally.compared_words, 1)),
        silent=float(tally.silent[column] / max(tally.comparable, 1)),
    )


class _Fits:
    """Least squares of log share on group alone, and on group and controls, for every row of weights at once."""

    def __init__(self, tally: RoleTally) -> None:
        k = len(REGRESSORS)
        apart = np.eye(k)
        # Attributes and relations as one group: the sum of their columns.
        together = np.delete(apart, 2, axis=1)
        together[2, 1] = 1
        self._fits = {
            (pooled, controlled): _solve(tally, basis if controlled else basis[:, : _GROUP_COLUMNS - pooled])
            for pooled, basis in ((False, apart), (True, together))
            for controlled in (False, True)
        }

    def gap(self, other: str, column: int, *, controlled: bool) -> Interval:
        """Objects over another group."""
        coefficients, known = self._fits[other == "composition", controlled]
        contrast = np.zeros(coefficients.shape[1])
        contrast[0], contrast[2 if other == "relation" else 1] = 1, -1
        return _factor(coefficients[:, :, column], known, contrast)

    def controls(self, column: int) -> dict[str, Interval]:
        """What position, frequency and pieces do at equal group."""
        coefficients, known = self._fits[False, True]
        steps = {"position": (1, 1, 0, 0), "frequency": (0, 0, _TEN, 0), "pieces": (0, 0, 0, 1)}
        return {
            name: _factor(coefficients[:, :, column], known, np.array([0, 0, 0, *step], float))
            for name, step in steps.items()
        }


def _solve(
    tally: RoleTally, basis: Float[np.ndarray, "k j"]
) -> tuple[Float[np.ndarray, "R j M"], Float[np.ndarray, "j j"]]:
    """Coefficients for the columns of a basis of the regressors, and the projection on what the corpus determines."""
    xx = basis.T @ tally.sums["xx"] @ basis
    xy = np.einsum("kj,rkm->rjm", basis, tally.sums["xy"])
    scale = np.sqrt(np.maximum(np.diagonal(xx[0]), 1e-12))  # so that one tolerance fits all regressors
    inverse = np.linalg.pinv(xx / np.outer(scale, scale), rcond=1e-9, hermitian=True) / np.outer(scale, scale)
    return inverse @ xy, inverse[0] @ xx[0]


def _factor(
    coefficients: Float[np.ndarray, "R j"], known: Float[np.ndarray, "j j"], contrast: Float[np.ndarray, " j"]
) -> Interval:
    """The exponential of a contrast; NaN where the words of the corpus do not determine it."""
    if not np.allclose(contrast @ known, contrast, atol=1e-6):
        return Interval(np.nan, np.nan, np.nan)
    return interval(np.exp(coefficients @ contrast))
