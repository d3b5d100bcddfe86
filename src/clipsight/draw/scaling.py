"""From raw signed scores to drawn fractions. Nothing here changes a result: scaling belongs to drawing."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Number = int | float
ScaleChoice = Literal["own", "shared"] | tuple[Number, Number]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The scores that are drawn as nothing (`low`) and as full colour (`high`).

    `clipped` says that scores below `low` exist and are drawn like `low`. `note` is a plain sentence
    when the map cannot be drawn in the ordinary way (constant, NaN, nothing above zero), else "".
    """

    low: Number
    high: Number
    clipped: bool = False
    note: str = ""

    @property
    def signed(self) -> bool:
        """True when zero is the middle: the scale shows scores above and below it."""
        return self.high > 0 and self.low == -self.high

    @property
    def flat(self) -> bool:
        """True when there is nothing to tell apart: everything is drawn as `low`."""
        return not self.high > self.low

    def fraction(self, scores: np.ndarray) -> np.ndarray:
        """Scores to [0, 1]; what is not finite becomes 0."""
        if self.flat:
            return np.zeros(scores.shape, np.float32)
        scaled = (scores - self.low) / (self.high - self.low)
        return np.nan_to_num(np.clip(scaled, 0, 1), nan=0.0).astype(np.float32)


def choose_scale(
    scores: np.ndarray,
    everything: np.ndarray,
    choice: ScaleChoice,
    *,
    zero: bool,
    symmetric: bool = False,
    signed: bool = False,
    noise: Number = 0.0,
) -> Scale:
    """The scale for one map `scores`, given all maps of the result as `everything`.

    Args:
        scores: of the map that is drawn.
        everything: of all maps, for "shared".
        choice: "own", "shared" or (low, high).
        zero: zero has a meaning (a contrast was subtracted), so colour starts there and not at the lowest score: a
            place below zero is one where the contrast fits better.
        symmetric: for diverging colour maps, from -m to m where m is the largest score of either sign.
        signed: where zero has a meaning, from -m to m where m is the highest score: what lies below -m is clipped, so
            that strong negative places do not fade the positive ones.
        noise: scores of this size are noise. The scale never reaches from nothing to full colour in less.

    Errors: ValueError for a `choice` that is neither "own", "shared" nor (low, high) with low < high.
    """
    finite = scores[np.isfinite(scores)]
    note = _note(scores, finite, zero=zero and choice == "own" and not symmetric)
    if not isinstance(choice, str):
        return _given(finite, choice, note)
    if choice not in ("own", "shared"):
        raise ValueError(f'scale {choice!r} is unknown; give "own", "shared" or (low, high) in score units.')
    pool = finite if choice == "own" else everything[np.isfinite(everything)]
    if pool.size == 0 or finite.size == 0:
        return Scale(low=0.0, high=0.0, note=note)
    low, high = float(pool.min()), float(pool.max())
    if _constant(low, high):
        return Scale(low=low, high=low, note=note)
    if symmetric:
        high = max(abs(low), abs(high), noise)
        return Scale(low=-high, high=high, note=note)
    if zero:
        high = max(high, noise, 0.0) or (-low if signed else 0.0)
        low = -high if signed else 0.0
    high = max(high, low + noise)
    return Scale(low=low, high=high, clipped=float(finite.min()) < low, note=note)


def _given(finite: np.ndarray, choice: tuple[Number, Number], note: str) -> Scale:
    low, high = float(choice[0]), float(choice[1])
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(
            f"scale ({low}, {high}) is not a range; give (low, high) with low < high, both finite."
        )
    return Scale(low=low, high=high, clipped=bool(finite.size) and float(finite.min()) < low, note=note)


def _constant(low: float, high: float) -> bool:
    return high - low <= 1e-6 * max(abs(low), abs(high))  # below what float32 scores can tell apart


def _note(scores: np.ndarray, finite: np.ndarray, *, zero: bool) -> str:
    if finite.size == 0:
        return "No score of this map is a finite number: nothing is drawn."
    missing = scores.size - finite.size
    if missing:
        return f"{missing} of {scores.size} patches have no finite score and are left clear."
    low, high = float(finite.min()), float(finite.max())
    if _constant(low, high):
        return f"Constant map: every patch scores {low:.4g}, so no place stands out."
    if zero and high <= 0:
        return "No patch scores above zero: the contrast fits better everywhere."
    return ""
