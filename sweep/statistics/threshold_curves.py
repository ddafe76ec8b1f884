"""ROC, precision-recall and calibration curves of a classifier over all thresholds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweep.statistics.image_metrics import ClassOutputs
from sweep.statistics.resampled_metrics import Numbers, Truth
from trainables.evaluation.curves import cumulative

BINS = 10
"""Number of bins of a calibration curve, with equal numbers of images."""
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""x and y of a curve's points, (n,) each."""


@dataclass(frozen=True)
class ThresholdCurves:
    """Curves of one trial's classifier over all thresholds."""

    label: str
    roc: Curve
    """False positive rate and sensitivity."""
    decision: tuple[float, float]
    """Point of the ROC curve at the classifier's own decisions."""
    precision_recall: Curve
    """Recall (sensitivity), descending, and precision."""
    calibration: Curve
    """Mean probability and share of positives in bins of equal numbers of images."""
    positive_share: float


def threshold_curves(label: str, outputs: ClassOutputs) -> ThresholdCurves:
    """Return the curves of one classifier; the images must contain positives and negatives."""
    truth = outputs.positive_truth
    _, hits, alarms = cumulative(outputs.positive_ranked, truth)
    called = outputs.positive[outputs.predicted]
    precision = np.append((hits[1:] / (hits[1:] + alarms[1:]))[::-1], 1.0)
    return ThresholdCurves(
        label,
        roc=(alarms / alarms[-1], hits / hits[-1]),
        decision=(float(called[~truth].mean()), float(called[truth].mean())),
        precision_recall=((hits / hits[-1])[::-1], precision),
        calibration=calibration(outputs.positive_scores, truth),
        positive_share=float(truth.mean()),
    )


def calibration(scores: Numbers, truth: Truth, bins: int = BINS) -> Curve:
    """Return mean probability and share of positives in bins of equal numbers of images, by ascending probability."""
    parts = np.array_split(np.argsort(scores, kind="stable"), min(bins, len(scores)))
    return np.array([scores[part].mean() for part in parts]), np.array([truth[part].mean() for part in parts])


def pareto_front(points: Sequence[tuple[float, float]], *, highest: bool) -> list[int]:
    """Return the indices of the Pareto-optimal (cost, value) points, by ascending cost."""
    sign = 1 if highest else -1
    front: list[int] = []
    for number in sorted(range(len(points)), key=lambda n: (points[n][0], -sign * points[n][1])):
        if not front or sign * points[number][1] > sign * points[front[-1]][1]:
            front.append(number)
    return front
