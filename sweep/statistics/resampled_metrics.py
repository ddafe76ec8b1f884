"""Metrics under resampling: from image weights (B, n) to values (B,)."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Truth = NDArray[np.bool_]
Statistic = Callable[[Numbers], Numbers]
"""Function from image weights (B, n) to the B values of a metric; NaN where it is undefined."""


def mean_of(statistics: Sequence[Statistic]) -> Statistic:
    """Return the mean of a metric over seeds that were evaluated on the same images."""
    return lambda weights: np.mean([statistic(weights) for statistic in statistics], axis=0)


def difference(one: Statistic, other: Statistic) -> Statistic:
    """Return the difference of two metrics, `one` minus `other`, on the same images."""
    return lambda weights: one(weights) - other(weights)


def share_of(right: Truth, among: Truth | None = None) -> Statistic:
    """Return the share of right images (n,), of all or `among` some: accuracy, sensitivity, specificity."""
    chosen = np.ones(len(right)) if among is None else among.astype(np.float64)
    both = chosen * right

    def share(weights: Numbers) -> Numbers:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((weights @ both) / (weights @ chosen))

    return share


def balanced_accuracy(right: Truth, positive: Truth) -> Statistic:
    """Return the mean of sensitivity and specificity."""
    return mean_of([share_of(right, positive), share_of(right, ~positive)])


def roc_auc(scores: Numbers, positive: Truth) -> Statistic:
    """Return the area under the ROC curve: the probability that a positive outranks a negative; a tie counts half."""
    order, groups = _ties(scores)

    def area(weights: Numbers) -> Numbers:
        ordered = weights[:, order]
        positives = np.add.reduceat(ordered * positive[order], groups, axis=1)
        negatives = np.add.reduceat(ordered * ~positive[order], groups, axis=1)
        above = negatives.sum(axis=1, keepdims=True) - negatives.cumsum(axis=1) + negatives / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            # From the highest score down: a positive stands above the negatives that come later.
            return np.asarray((positives * above).sum(axis=1) / (positives.sum(axis=1) * negatives.sum(axis=1)))

    return area


def average_precision(scores: Numbers, positive: Truth) -> Statistic:
    """Return average precision: the mean of the precision at each positive's score (step area, no trapezoids)."""
    area = decisions_precision(scores, positive, np.arange(len(scores)))
    return lambda weights: area(weights.T)


def decisions_precision(
    scores: Numbers, positive: Truth, images: NDArray[np.int64]
) -> Callable[[NDArray[np.floating]], Numbers]:
    """Return the average precision of m decisions (m,), each about one of n `images`.

    The result is a function of image weights (n, B): images are the first axis, since the sums at all thresholds are
    one product with a sparse matrix.
    """
    order = np.argsort(-scores, kind="stable")
    # Equal scores are one threshold; of those only such matter as let a positive in.
    thresholds = np.cumsum(np.r_[False, np.diff(scores[order]) != 0])
    letting_in, row_of_hit = np.unique(thresholds[positive[order]], return_inverse=True)
    row = np.searchsorted(letting_in, thresholds)
    known = row < len(letting_in)
    let_in = _counting(row[known], images[order][known], len(letting_in))
    hits_in = _counting(row_of_hit, images[order][positive[order]], len(letting_in))

    def area(weights: NDArray[np.floating]) -> Numbers:
        everything = np.cumsum(let_in(weights), axis=0)
        hits = hits_in(weights)
        found = np.cumsum(hits, axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(everything > 0, found / everything, 0)
            return np.asarray((hits * precision).sum(axis=0, dtype=np.float64) / hits.sum(axis=0, dtype=np.float64))

    return area


def _counting(
    rows: NDArray[np.int64], images: NDArray[np.int64], count: int
) -> Callable[[NDArray[np.floating]], NDArray[np.floating]]:
    """Return a function that sums the image weights (n, B) in each of `count` rows; `rows` is ascending."""
    from scipy.sparse import csr_array

    starts = np.r_[0, np.cumsum(np.bincount(rows, minlength=count))]
    ones = np.ones(len(images), dtype=np.float32)
    return lambda weights: np.asarray(csr_array((ones, images, starts), shape=(count, len(weights))) @ weights)


def _ties(scores: Numbers) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices in descending order of score, and the start of each group of equal scores."""
    order = np.argsort(-scores, kind="stable")
    return order, np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])
