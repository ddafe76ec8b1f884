"""ROC, precision-recall and calibration curves of binary classifiers."""

from collections.abc import Iterator
from dataclasses import dataclass

from sweep.comparison.table import ComparisonTable
from sweep.comparison.trial_outputs import TrialOutputs
from sweep.statistics.image_metrics import ClassOutputs
from sweep.statistics.metric_intervals import sampling_interval
from sweep.statistics.share_intervals import ConfidenceInterval
from sweep.statistics.threshold_curves import ThresholdCurves, threshold_curves
from trainables.metrics import names

MOST_CURVES = 8
"""Maximum number of settings in one chart of curves; the best ones are shown."""
CLASSIFIERS = ((names.LINEAR, "logistic regression on frozen features"), ("", "linear probe"))


@dataclass(frozen=True)
class TradeOff:
    """A setting's sensitivity and specificity on test, with their 95 % intervals over the images."""

    label: str
    sensitivity: float
    specificity: float
    sensitivity_interval: ConfidenceInterval | None = None
    specificity_interval: ConfidenceInterval | None = None


@dataclass(frozen=True)
class ClassifierReport:
    """Results of one kind of classifier for the best settings, on the test split."""

    name: str
    """linear or probe."""
    words: str
    trade_offs: tuple[TradeOff, ...]
    curves: tuple[ThresholdCurves, ...]
    """Curves of each setting's first seed; none if the test split has only positives or only negatives."""
    settings: int
    """Number of settings with such a classifier, of which the best are shown."""


def classifier_reports(table: ComparisonTable, outputs: TrialOutputs) -> tuple[ClassifierReport, ...]:
    """Return the reports of the binary classifiers of the best settings; empty if there is no positive class."""
    return tuple(_reports(table, outputs))


def _reports(table: ComparisonTable, outputs: TrialOutputs) -> Iterator[ClassifierReport]:
    for method, words in CLASSIFIERS:
        sensitivity, specificity = f"test/{method}{names.SENSITIVITY}", f"test/{method}{names.SPECIFICITY}"
        known = [row for row in table.settings if row.is_defined(sensitivity) and row.is_defined(specificity)]
        rows = known[:MOST_CURVES]
        if not rows:
            continue
        trade_offs = tuple(
            TradeOff(
                row.words(table.axes),
                row.known_mean(sensitivity),
                row.known_mean(specificity),
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
            if isinstance(own, ClassOutputs) and 0 < own.positive_truth.sum() < len(own.positive_truth)
        )
        yield ClassifierReport(method.rstrip("_") or "probe", words, trade_offs, curves, len(known))
