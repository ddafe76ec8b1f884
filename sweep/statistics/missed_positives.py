"""Analysis of missed positives: several classifiers on the same features, compared at one specificity; pure.

Sensitivities at different specificities can't be compared: a lower threshold finds more positives and raises more false
alarms. So each classifier gets the threshold that has the wanted specificity on validation; its specificity on test is
reported too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweep.console.formatting import percent, points
from sweep.statistics.image_metrics import ClassifierOutputs
from sweep.statistics.intervals import HeldOut, difference_interval
from sweep.statistics.label_metrics import LabelOutputs
from sweep.statistics.resampled_metrics import difference, roc_auc, share_of
from sweep.statistics.share_intervals import ConfidenceInterval
from trainables.evaluation.curves import balanced_threshold, metrics_at, specificity_threshold
from trainables.metrics import names


@dataclass(frozen=True)
class ComparedClassifier:
    """Classifier (head) on the frozen features, with its outputs on validation and test."""

    name: str
    validation: ClassifierOutputs
    test: ClassifierOutputs


@dataclass(frozen=True)
class OperatingPoint:
    """Operating point: sensitivity and specificity on test at one threshold."""

    sensitivity: float
    specificity: float


@dataclass(frozen=True)
class ClassifierSensitivity:
    """Sensitivity of one classifier at several thresholds, on test."""

    name: str
    usual: OperatingPoint
    """At probability one half."""
    balanced: OperatingPoint
    """At the threshold of best balanced accuracy on validation."""
    level: OperatingPoint
    """At the threshold that has the wanted specificity on validation."""
    roc_auc: float
    difference: float | None
    """Difference in sensitivity at `level` from the first classifier; None for the first."""
    interval: ConfidenceInterval | None
    """95 % interval of the difference, over the images."""
    by_label: Mapping[str, tuple[float, int]]
    """By label: the share of its images that is found at `level`, and their number."""


@dataclass(frozen=True)
class MissedPositives:
    """Result of the analysis: each classifier's sensitivity at one specificity, and sentences about them."""

    specificity: float
    """Wanted specificity on validation: as requested, else that of the first classifier at probability one half."""
    findings: tuple[ClassifierSensitivity, ...]
    sentences: tuple[str, ...]


def missed(
    heads: Sequence[ComparedClassifier], *, wanted: float | None, labels: Sequence[str] = ()
) -> MissedPositives | None:
    """Return the sensitivity of several classifiers at one specificity.

    Args:
        heads: Classifiers on the same images; the first is the one that the others are compared with.
        wanted: Specificity on validation; None: that of the first classifier at probability one half.
        labels: Names of the columns of LabelOutputs, for the shares by label.

    Returns:
        The analysis; None if a split has only positives or only negatives, or if the test images differ.
    """
    if any(_one_sided(part) for head in heads for part in (head.validation, head.test)):
        return None
    if len({head.test.images for head in heads}) > 1:
        return None
    first = heads[0].validation
    level = wanted or metrics_at(first.half, first.positive_ranked, first.positive_truth)[names.SPECIFICITY]
    carried = next((head.test for head in heads if isinstance(head.test, LabelOutputs)), None)
    found = tuple(_finding(head, heads[0], level, carried, labels) for head in heads)
    return MissedPositives(level, found, tuple(_sentences(found, level)))


def _one_sided(outputs: ClassifierOutputs) -> bool:
    truth = outputs.positive_truth
    return bool(truth.all() or not truth.any())


def _finding(
    head: ComparedClassifier,
    plain: ComparedClassifier,
    level: float,
    carried: LabelOutputs | None,
    labels: Sequence[str],
) -> ClassifierSensitivity:
    known, fresh = head.validation, head.test
    ranked, truth = fresh.positive_ranked, fresh.positive_truth
    called = _called(head, level)
    apart = None
    if head is not plain:
        apart = difference(share_of(called[truth]), share_of(_called(plain, level)[truth]))
    return ClassifierSensitivity(
        head.name,
        usual=_decided(ranked >= fresh.half, truth),
        balanced=_decided(ranked >= balanced_threshold(known.positive_ranked, known.positive_truth), truth),
        level=_decided(called, truth),
        roc_auc=float(roc_auc(ranked, truth)(np.ones((1, len(truth))))[0]),
        difference=None if apart is None else float(apart(np.ones((1, truth.sum())))[0]),
        interval=None if apart is None else difference_interval(_positives_of(fresh), apart),
        by_label=_by_label(called, carried, labels),
    )


def _positives_of(outputs: ClassifierOutputs) -> HeldOut:
    """Return the sampling design of the positives."""
    truth, tiles = outputs.positive_truth, outputs.held_out().tiles
    return HeldOut(np.zeros(truth.sum(), dtype=np.int64), None if tiles is None else tiles[truth])


def _called(head: ComparedClassifier, level: float) -> NDArray[np.bool_]:
    known = head.validation
    threshold = specificity_threshold(known.positive_ranked, known.positive_truth, level)
    return np.asarray(head.test.positive_ranked >= threshold)


def _decided(called: NDArray[np.bool_], truth: NDArray[np.bool_]) -> OperatingPoint:
    return OperatingPoint(float(called[truth].mean()), float((~called[~truth]).mean()))


def _by_label(
    called: NDArray[np.bool_], carried: LabelOutputs | None, labels: Sequence[str]
) -> dict[str, tuple[float, int]]:
    if carried is None:
        return {}
    members = {label: carried.truth[:, k] for k, label in enumerate(labels) if carried.positive[k]}
    return {label: (float(called[own].mean()), int(own.sum())) for label, own in members.items() if own.any()}


def _sentences(found: Sequence[ClassifierSensitivity], level: float) -> list[str]:
    plain = found[0]
    gained = plain.balanced.sensitivity - plain.usual.sensitivity
    said = [
        f"At probability one half, {plain.name} finds {percent(plain.usual.sensitivity, 1)} % of the positives at a "
        f"specificity of {percent(plain.usual.specificity, 1)} %; at the threshold of best balanced accuracy on "
        f"validation {percent(plain.balanced.sensitivity, 1)} % at {percent(plain.balanced.specificity, 1)} %: the "
        f"threshold alone moves sensitivity by {points(gained)} points."
    ]
    if len(found) == 1:
        return said
    said.append(f"All at the threshold that has a specificity of {percent(level, 1)} % on validation:")
    return said + [_against(plain, other) for other in found[1:]]


def _against(plain: ClassifierSensitivity, other: ClassifierSensitivity) -> str:
    assert other.difference is not None
    numbers = f"{other.name} finds {percent(other.level.sensitivity, 1)} %, {points(other.difference)} points"
    if other.interval is None:
        return f"{numbers}; too few positives, or tiles, for an interval."
    low, high = other.interval
    span = f"(95 % {points(low)} to {points(high)}, over the images)"
    if low <= 0.0 <= high:
        return f"{numbers} {span}: no difference from {plain.name} on these images."
    return f"{numbers} {span}: {'more' if other.difference > 0 else 'fewer'} than {plain.name}."
