"""Measures of maps, labels and rankings against a truth that is known: pure functions on arrays."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from sklearn.metrics import average_precision_score

FPR_LIMIT = 0.3
"""False positive rate up to which the overlap of regions is measured, as MVTec AD does."""


def pixel_auroc(
    scores: Float[np.ndarray, "M pixels"], there: Bool[np.ndarray, "M pixels"]
) -> Float[np.ndarray, " M"]:
    """Area under the ROC curve of each row: how often a pixel that is there outscores one that is not, ties half.

    By ranks (Mann and Whitney's U), a sort for each row; equals scikit-learn's `roc_auc_score`, several times faster.

    Raises:
        ValueError: a score that is not finite, or a row where all pixels are there, or none.
    """
    if not np.isfinite(scores).all():
        raise ValueError(
            f"{int((~np.isfinite(scores)).any(1).sum())} of {len(scores)} maps hold values that are not finite; a "
            "division by zero in the method is the usual cause. Look at lens.patch_features(x, recipe).isfinite()."
        )
    count = there.sum(1)
    rest = there.shape[1] - count
    if not (count * rest).all():
        raise ValueError(
            "a mask covers all pixels or none, so that there is nothing to tell apart; an object that is wholly "
            "hidden is the usual cause. Leave its map out."
        )
    ordered = np.sort(scores, axis=1)
    ranks = np.empty(len(scores))
    for row, (values, line, mask) in enumerate(zip(scores, ordered, there, strict=True)):
        found = values[mask]
        ranks[row] = (np.searchsorted(line, found) + np.searchsorted(line, found, side="right")).sum() / 2
    return (ranks - count**2 / 2) / (count * rest)


def confusion_matrix(
    found: Int[np.ndarray, "H W"], there: Int[np.ndarray, "H W"], classes: int
) -> Int[np.ndarray, "C C"]:
    """Pixels by truth (row) and prediction (column); those whose truth is negative do not count."""
    kept = there >= 0
    pairs = there[kept].astype(np.int64) * classes + found[kept]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def mean_iou(confusion: Int[np.ndarray, "T T"]) -> float:
    """Mean over the classes that occur of intersection over union, in [0, 1]; NaN when none does.

    Args:
        confusion: pixels of the whole data set, truth by row, prediction by column. A class that only predictions hold
            has no line of its own in the mean; its pixels are missing from the classes they belong to.
    """
    both = confusion.diagonal()
    truth = confusion.sum(1)
    either = truth + confusion.sum(0) - both
    there = truth > 0
    return float((both[there] / either[there]).mean()) if there.any() else float("nan")


def mean_precision(values: Float[np.ndarray, "R n"], there: Bool[np.ndarray, "R n"]) -> float:
    """Average precision of each row that has something to find, their mean."""
    found = [
        average_precision_score(mask, row) for row, mask in zip(values, there, strict=True) if mask.any()
    ]
    return float(np.mean(found))


def region_overlap(
    scores: Float[np.ndarray, "B H W"],
    where: Bool[np.ndarray, "B H W"],
    counted: Bool[np.ndarray, "B H W"] | None = None,
    limit: float = FPR_LIMIT,
) -> float:
    """Area under the per-region overlap (PRO) up to a false positive rate, divided by that rate; chance limit/2.

    For a threshold, PRO is the mean over the connected regions of `where` of the share of each that reaches it, and the
    false positive rate the share of the other pixels that do, all pictures together. The area is a mean over regions of
    a mean over their pixels of how much of [0, limit] lies beyond the rate at that pixel's score; so no thresholds are
    tried, and ties are exact (the curve is straight across them).

    Args:
        scores: higher means more abnormal; comparable across the pictures.
        where: abnormal pixels. counted: the pixels that may be false positives; None is all.

    Returns:
        In [0, 1]; NaN without a region or without other pixels.

    Source: the measure of MVTec AD (Bergmann et al., IJCV 2021, §4.2).
    """
    rest = np.sort(scores[~where] if counted is None else scores[counted & ~where])
    areas = []
    for picture, mask in zip(scores, where, strict=True):
        labelled: Any = ndimage.label(mask, np.ones((3, 3)))
        regions, number = labelled
        for region in range(1, number + 1):
            found = picture[regions == region]
            above = 1 - np.searchsorted(rest, found, side="right") / max(len(rest), 1)
            reached = 1 - np.searchsorted(rest, found, side="left") / max(len(rest), 1)
            past = np.clip(limit - above, 0, None)
            across = np.minimum(reached - above, past)
            wide = np.maximum(reached - above, np.finfo(float).tiny)
            areas.append((past - across + across**2 / (2 * wide)).mean() / limit)
    return float(np.mean(areas)) if len(areas) and len(rest) else float("nan")
