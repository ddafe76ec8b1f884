"""Metrics of predicted numbers: R2, root mean squared error, mean absolute error, rank correlation; pure."""

import numpy as np
from numpy.typing import NDArray

from trainables.metrics import names

Numbers = NDArray[np.float64]


def number_metrics(predicted: Numbers, truth: Numbers) -> dict[str, float]:
    """Return the regression metrics of predictions (n,) and truth (n,), with equal weights for all images."""
    once = np.ones((1, len(truth)))
    return {name: float(metric(predicted, truth, once)[0]) for name, metric in NUMBER_METRICS.items()}


def weighted_r2(predicted: Numbers, truth: Numbers, weights: Numbers) -> Numbers:
    """Return 1 - squared error over variance, for image weights (B, n); NaN if all true numbers are equal."""
    own = truth - truth[:1]  # exactly 0 if all are equal, unlike their distance from a rounded mean
    mean = weights @ own / weights.sum(axis=1)
    spread = (weights * np.square(own - mean[:, None])).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Numbers = np.where(spread > 0, 1.0 - weights @ np.square(predicted - truth) / spread, np.nan)
    return found


def weighted_rmse(predicted: Numbers, truth: Numbers, weights: Numbers) -> Numbers:
    """Return the root of the mean squared error, for image weights (B, n)."""
    return np.asarray(np.sqrt(weights @ np.square(predicted - truth) / weights.sum(axis=1)))


def weighted_mae(predicted: Numbers, truth: Numbers, weights: Numbers) -> Numbers:
    """Return the mean absolute error, for image weights (B, n)."""
    return np.asarray(weights @ np.abs(predicted - truth) / weights.sum(axis=1))


def weighted_spearman(predicted: Numbers, truth: Numbers, weights: Numbers) -> Numbers:
    """Return Spearman's rank correlation, ties at their mean rank, for image weights (B, n); NaN without spread."""
    one, other = (_ranks(values, weights) for values in (predicted, truth))
    totals = weights.sum(axis=1, keepdims=True)
    one, other = (ranks - (weights * ranks).sum(axis=1, keepdims=True) / totals for ranks in (one, other))
    product = (weights * one * other).sum(axis=1)
    spread = np.sqrt((weights * one**2).sum(axis=1) * (weights * other**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Numbers = np.where(spread > 0, product / spread, np.nan)
    return found


def _ranks(values: Numbers, weights: Numbers) -> Numbers:
    """Return the mean rank (B, n) of each value among the weighted ones."""
    order = np.argsort(values, kind="stable")
    groups = np.flatnonzero(np.r_[True, np.diff(values[order]) != 0])
    sums = np.add.reduceat(weights[:, order], groups, axis=1)
    middle = sums.cumsum(axis=1) - sums / 2
    number = np.empty(len(values), dtype=np.int64)
    number[order] = np.repeat(np.arange(len(groups)), np.diff(np.r_[groups, len(values)]))
    return np.asarray(middle[:, number])


NUMBER_METRICS = {
    names.R2: weighted_r2,
    names.RMSE: weighted_rmse,
    names.MAE: weighted_mae,
    names.SPEARMAN: weighted_spearman,
}
