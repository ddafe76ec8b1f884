"""Classifiers of a yes-or-no question at every threshold: the points of ROC, precision-recall and calibration."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweep.comparison.image_metrics import Outputs, sampling_interval
from sweep.comparison.statistics import Interval, Numbers, Truth
from sweep.comparison.table import Row, Table
from sweep.comparison.trial_outputs import TrialOutputs
from trainables import metric_names as names
from trainables.evaluation.curves import cumulative

MOST_CURVES = 8
"""Settings in one chart of curves: the best ones."""
BINS = 10
"""Of a calibration curve, each with equally many images."""
CLASSIFIERS = ((names.LINEAR, "logistic regression on frozen features"), ("", "linear probe"))
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""x and y of a curve's points, (n,) each."""


@dataclass(frozen=True)
class TradeOff:
    """A setting's sensitivity and specificity on test, with their 95 % intervals over the images."""

    label: str
    sensitivity: float
    specificity: float
    sensitivity_interval: Interval | None = None
    specificity_interval: Interval | None = None


@dataclass(frozen=True)
class ThresholdCurves:
    """One trial's classifier at every threshold."""

    label: str
    roc: Curve
    """Share of negatives called positive, and sensitivity."""
    decision: tuple[float, float]
    """The point of the ROC curve of the decisions as made."""
    precision_recall: Curve
    """Sensitivity, descending, and precision."""
    calibration: Curve
    """Mean probability and share of positives of bins with equally many images."""
    positive_share: float


@dataclass(frozen=True)
class ClassifierReport:
    """One kind of classifier of the best settings, on the test split."""

    name: str
    """linear or probe."""
    words: str
    trade_offs: tuple[TradeOff, ...]
    curves: tuple[ThresholdCurves, ...]
    """Of each setting's first seed; none where the test split has positives or negatives alone."""


def classifier_reports(table: Table, outputs: TrialOutputs) -> tuple[ClassifierReport, ...]:
    """Return what a yes-or-no question allows, for the best settings; nothing where there is no such question."""
    return tuple(_reports(table, outputs))


def _reports(table: Table, outputs: TrialOutputs) -> Iterator[ClassifierReport]:
    for method, words in CLASSIFIERS:
        sensitivity, specificity = f"test/{method}{names.SENSITIVITY}", f"test/{method}{names.SPECIFICITY}"
        rows = [row for row in table.settings if row.values(sensitivity)][:MOST_CURVES]
        if not rows:
            continue
        trade_offs = tuple(
            TradeOff(
                row.words(table.axes),
                _mean(row, sensitivity),
                _mean(row, specificity),
                sampling_interval(sensitivity, outputs.of_row(row, sensitivity)),
                sampling_interval(specificity, outputs.of_row(row, specificity)),
            )
            for row in rows
        )
        firsts = [(row.words(table.axes), outputs.of_row(row, sensitivity)[:1]) for row in rows]
        curves = tuple(
            threshold_curves(label, own)
            for label, found in firsts
            for own in found
            if isinstance(own, Outputs) and 0 < own.positive_truth.sum() < len(own.positive_truth)
        )
        yield ClassifierReport(method.rstrip("_") or "probe", words, trade_offs, curves)


def threshold_curves(label: str, outputs: Outputs) -> ThresholdCurves:
    """Return the curves of one classifier; both sides have to be among the images."""
    scores, truth = outputs.positive_scores, outputs.positive_truth
    _, hits, alarms = cumulative(scores, truth)
    called = outputs.positive[outputs.predicted]
    precision = np.append((hits[1:] / (hits[1:] + alarms[1:]))[::-1], 1.0)
    return ThresholdCurves(
        label,
        roc=(alarms / alarms[-1], hits / hits[-1]),
        decision=(float(called[~truth].mean()), float(called[truth].mean())),
        precision_recall=((hits / hits[-1])[::-1], precision),
        calibration=calibration(scores, truth),
        positive_share=float(truth.mean()),
    )


def calibration(scores: Numbers, truth: Truth, bins: int = BINS) -> Curve:
    """Return mean probability and share of positives of bins with equally many images, by ascending probability."""
    parts = np.array_split(np.argsort(scores, kind="stable"), min(bins, len(scores)))
    return np.array([scores[part].mean() for part in parts]), np.array([truth[part].mean() for part in parts])


def pareto_front(points: Sequence[tuple[float, float]], *, highest: bool) -> list[int]:
    """Return the numbers of the (cost, value) that no cheaper or equally dear point beats, by ascending cost."""
    sign = 1 if highest else -1
    front: list[int] = []
    for number in sorted(range(len(points)), key=lambda n: (points[n][0], -sign * points[n][1])):
        if not front or sign * points[number][1] > sign * points[front[-1]][1]:
            front.append(number)
    return front


def _mean(row: Row, metric: str) -> float:
    mean = row.mean(metric)
    assert mean is not None
    return mean
