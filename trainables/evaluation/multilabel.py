"""Multi-label metrics, from the scores and true labels of all images; pure."""

import numpy as np
from numpy.typing import NDArray

from trainables.evaluation.curves import average_precision, cumulative

Scores = NDArray[np.float64]
"""(n, K) probabilities, or other scores with the same ranking."""
Truth = NDArray[np.bool_]
"""(n, K)."""
HALF = 0.5
"""Default threshold on the probability of a label or of the positive class."""


def average_precisions(scores: Scores, truth: Truth) -> NDArray[np.float64]:
    """Return each label's average precision (K,); NaN for a label without images."""
    return np.array([average_precision(scores[:, label], truth[:, label]) for label in range(truth.shape[1])])


def micro_average_precision(scores: Scores, truth: Truth) -> float:
    """Return the average precision over all pairs of image and label; NaN without a positive."""
    return average_precision(scores.ravel(), truth.ravel())


def best_thresholds(scores: Scores, truth: Truth, *, otherwise: float = HALF) -> NDArray[np.float64]:
    """Return each label's threshold with the best F1 (K,), the highest of equal ones; `otherwise` without images."""
    return np.array([_best_threshold(scores[:, k], truth[:, k], otherwise) for k in range(truth.shape[1])])


def f1_scores(scores: Scores, truth: Truth, thresholds: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return each label's F1 (K,), NaN for a label without images, and the micro F1 over all decisions.

    A label is predicted if its score is at least its threshold.
    """
    called = scores >= thresholds
    hits = (called & truth).sum(axis=0)
    totals = called.sum(axis=0) + truth.sum(axis=0)
    each = np.where(truth.any(axis=0), 2 * hits / np.maximum(totals, 1), np.nan)
    return each, float(2 * hits.sum() / totals.sum()) if truth.any() else float("nan")


def mean_of_known(values: NDArray[np.float64]) -> float:
    """Return the mean of the values that aren't NaN; NaN if all are."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _best_threshold(scores: Scores, truth: Truth, otherwise: float) -> float:
    if not truth.any():
        return otherwise
    thresholds, hits, alarms = cumulative(scores, truth)
    return float(thresholds[np.argmax(2 * hits / (hits + alarms + hits[-1]))])
