"""Metrics of a method's logits on each split; validation is first, since it chooses thresholds and temperature."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from trainables.config import TrialConfig
from trainables.data.trial_data import TrialData
from trainables.evaluation.calibration import best_scale, calibration
from trainables.evaluation.classification import classification_metrics
from trainables.evaluation.features import RankShard, gathered_logits
from trainables.evaluation.thresholds import (
    Thresholds,
    binary_decisions,
    binary_thresholds,
    each_label,
    half_thresholds,
    label_decisions,
    label_metrics,
    label_thresholds,
    rule_metrics,
)
from trainables.metrics import names

VALIDATION = "val"


@dataclass(frozen=True)
class MethodOutputs:
    """Logits of one method for this rank's part of one split."""

    split: str
    """Name of the split: val or test."""
    method: str
    """Prefix of the method's metrics: linear_ for logistic regression, empty for the probe."""
    logits: Tensor
    """(n, K)."""
    shard: RankShard

    def named(self, metrics: dict[str, float]) -> dict[str, float]:
        """Return metrics of these outputs under their full names."""
        return names.qualified(self.split, self.method, metrics)


class _ChosenThresholds(NamedTuple):
    """Thresholds of one method, chosen on validation."""

    of_labels: Thresholds
    of_positives: Thresholds


class LogitMetrics:
    """Metrics of the logits of all methods and splits of one evaluation, over all ranks.

    The first split of each method must be validation, which chooses thresholds and temperature for the later splits.
    """

    def __init__(self, config: TrialConfig, data: TrialData) -> None:
        self._wanted_specificity = config.wanted_specificity
        self._classes, self._several_labels, self._positive = data.classes, data.several_labels, data.positive
        self._thresholds: dict[str, _ChosenThresholds] = {}
        self._scales: dict[str, float] = {}

    def everything(self, outputs: MethodOutputs) -> dict[str, float]:
        """Return all metrics of the outputs, including those at chosen thresholds and calibration."""
        metrics = self.metrics(outputs)
        metrics |= self._at_thresholds(outputs)
        metrics |= self._calibration(outputs)
        return metrics

    def metrics(self, outputs: MethodOutputs) -> dict[str, float]:
        """Return the metrics that need no chosen threshold, for single-label or multi-label data."""
        logits, shard = outputs.logits, outputs.shard
        if not self._several_labels:
            return outputs.named(classification_metrics(logits, shard, self._positive))
        metrics = label_metrics(logits, shard)
        if self._positive is not None:
            metrics |= rule_metrics(logits, shard, self._positive)
        return outputs.named(metrics)

    def _at_thresholds(self, outputs: MethodOutputs) -> dict[str, float]:
        if outputs.method not in self._thresholds:
            self._thresholds[outputs.method] = self._choose(outputs)
        logits, shard, chosen = outputs.logits, outputs.shard, self._thresholds[outputs.method]
        metrics: dict[str, float] = {}
        if self._several_labels:
            metrics = label_decisions(logits, shard, chosen.of_labels)
            if outputs.method == names.LINEAR:
                metrics |= each_label(logits, shard, chosen.of_labels, self._classes)
        if self._positive is not None:
            metrics |= binary_decisions(logits, shard, self._positive, chosen.of_positives)
        return outputs.named(metrics)

    def _choose(self, outputs: MethodOutputs) -> _ChosenThresholds:
        """Return the thresholds chosen on validation; for another split, the fixed ones."""
        logits, shard, is_validation = outputs.logits, outputs.shard, outputs.split == VALIDATION
        of_labels: Thresholds = {}
        if self._several_labels:
            of_labels = label_thresholds(logits, shard) if is_validation else half_thresholds(logits)
        if self._positive is None or not is_validation:
            return _ChosenThresholds(of_labels, {})
        return _ChosenThresholds(of_labels, binary_thresholds(logits, shard, self._positive, self._wanted_specificity))

    def _calibration(self, outputs: MethodOutputs) -> dict[str, float]:
        """Return calibration metrics; once validation chose a temperature, also those after temperature scaling."""
        if self._several_labels:
            return {}
        logits, classes = gathered_logits(outputs.logits, outputs.shard)
        positive = None if self._positive is None else self._positive.numpy()
        found = calibration(logits, classes, positive)
        del found[names.LOSS]  # which is there already
        if outputs.split == VALIDATION and len(classes):
            found[names.SCALE] = self._scales[outputs.method] = best_scale(logits, classes)
        elif outputs.method in self._scales:
            scaled = calibration(logits / self._scales[outputs.method], classes, positive)
            found |= {name + names.SCALED: value for name, value in scaled.items()}
        return outputs.named(found)
