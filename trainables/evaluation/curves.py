"""ROC and precision-recall areas of the positive class, and thresholds chosen on one split for others; pure."""

import numpy as np
from numpy.typing import NDArray

from trainables.metrics import names

Scores = NDArray[np.float64]
Truth = NDArray[np.bool_]


def roc_area(scores: Scores, truth: Truth) -> float:
    """Return the area under the ROC curve by trapezoids, (n,) each; NaN without positives or without negatives."""
    if truth.all() or not truth.any():
        return float("nan")
    _, hits, alarms = cumulative(scores, truth)
    return float(np.trapezoid(hits, alarms) / (hits[-1] * alarms[-1]))


def average_precision(scores: Scores, truth: Truth) -> float:
    """Return the area under the precision-recall curve by steps, (n,) each; NaN without a positive."""
    if not truth.any():
        return float("nan")
    _, hits, alarms = cumulative(scores, truth)
    precision = hits[1:] / (hits[1:] + alarms[1:])
    return float((np.diff(hits) * precision).sum() / hits[-1])


def balanced_threshold(scores: Scores, truth: Truth) -> float:
    """Return the threshold with the best balanced accuracy, (n,) each; NaN without positives or without negatives.

    An image is called positive if its score is at least the threshold. Of equally good thresholds the highest is
    returned.
    """
    if truth.all() or not truth.any():
        return float("nan")
    thresholds, hits, alarms = cumulative(scores, truth)
    # Twice the balanced accuracy times both numbers of images: whole numbers, of which equal ones are equal.
    return float(thresholds[np.argmax(hits * alarms[-1] + (alarms[-1] - alarms) * hits[-1])])


def specificity_threshold(scores: Scores, truth: Truth, wanted: float) -> float:
    """Return the smallest threshold whose specificity is at least `wanted`; NaN without a negative."""
    if truth.all():
        return float("nan")
    thresholds, _, alarms = cumulative(scores, truth)
    # As `metrics_at` computes it: 1 - alarms / negatives may be just below it.
    specificity = (alarms[-1] - alarms) / alarms[-1]
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


def cumulative(scores: Scores, truth: Truth) -> tuple[Scores, Scores, Scores]:
    """Return the distinct thresholds, descending, and the numbers of true and false positives at each.

    At the first threshold no image is called positive; the others are the scores that occur.

    Raises:
        ValueError: A score is NaN.
    """
    if np.isnan(scores).any():
        raise ValueError("a score is not a number: nothing can be ranked by it")
    order = np.argsort(-scores, kind="stable")
    ordered, positive = scores[order], truth[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # of each run of equal scores
    thresholds = np.concatenate([[np.nextafter(ordered[0], np.inf)], ordered[last]])
    hits, alarms = (np.concatenate([[0.0], np.cumsum(side)[last]]) for side in (positive, ~positive))
    return thresholds, hits, alarms


def _share(part: Truth, whole: Truth) -> float:
    return float(part.sum() / whole.sum()) if whole.any() else float("nan")
