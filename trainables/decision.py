"""Thresholds on the positive's probability, chosen on one split and applied to others; pure."""

import numpy as np
from numpy.typing import NDArray

from trainables import metric_names as names

Scores = NDArray[np.float64]
Truth = NDArray[np.bool_]


def balanced_threshold(scores: Scores, truth: Truth) -> float:
    """Return the threshold of best balanced accuracy, (n,) each; the highest among equals, NaN without both sides.

    An image counts as positive where its score is at least the threshold.
    """
    if truth.all() or not truth.any():
        return float("nan")
    thresholds, sensitivity, specificity = _curve(scores, truth)
    return float(thresholds[np.argmax(sensitivity + specificity)])


def specificity_threshold(scores: Scores, truth: Truth, wanted: float) -> float:
    """Return the smallest threshold whose specificity is at least `wanted`; NaN without a negative."""
    if truth.all():
        return float("nan")
    thresholds, _, specificity = _curve(scores, truth)
    return float(thresholds[specificity >= wanted].min())


def metrics_at(threshold: float, scores: Scores, truth: Truth) -> dict[str, float]:
    """Return sensitivity, specificity, accuracy and balanced accuracy at a threshold; NaN where undefined."""
    if threshold != threshold:
        return dict.fromkeys((names.SENSITIVITY, names.SPECIFICITY, names.ACCURACY, names.BALANCED_ACCURACY), np.nan)
    called = scores >= threshold
    sensitivity = _share(called & truth, truth)
    specificity = _share(~called & ~truth, ~truth)
    return {
        names.SENSITIVITY: sensitivity,
        names.SPECIFICITY: specificity,
        names.ACCURACY: float((called == truth).mean()) if len(truth) else float("nan"),
        names.BALANCED_ACCURACY: (sensitivity + specificity) / 2,
    }


def _curve(scores: Scores, truth: Truth) -> tuple[Scores, Scores, Scores]:
    """Return every threshold that matters, descending, with its sensitivity and specificity.

    The first one calls nothing positive; the others are the scores that occur.
    """
    order = np.argsort(-scores, kind="stable")
    ordered, positive = scores[order], truth[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # of each run of equal scores
    true_positives = np.cumsum(positive)[last]
    false_positives = np.cumsum(~positive)[last]
    thresholds = np.concatenate([[np.nextafter(ordered[0], np.inf)], ordered[last]])
    sensitivity = np.concatenate([[0.0], true_positives / max(positive.sum(), 1)])
    specificity = 1.0 - np.concatenate([[0.0], false_positives / max((~positive).sum(), 1)])
    return thresholds, sensitivity, specificity


def _share(part: Truth, whole: Truth) -> float:
    return float(part.sum() / whole.sum()) if whole.any() else float("nan")
