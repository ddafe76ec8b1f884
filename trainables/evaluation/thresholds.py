"""Metrics at decision thresholds and multi-label metrics of a held-out split, over all ranks."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.distributed import gather_rows
from trainables.evaluation import multilabel
from trainables.evaluation.classification import curve_areas, positive_log_odds
from trainables.evaluation.curves import balanced_threshold, metrics_at, specificity_threshold
from trainables.evaluation.features import RankShard
from trainables.metrics import names

Thresholds = Mapping[str, NDArray[np.float64]]
"""Thresholds on log-odds by the suffix of their metrics: () for the positive class, or (K,) for the labels."""
EVEN = 0.0
"""Log-odds of probability one half, the default threshold."""


def binary_thresholds(
    logits: Tensor, shard: RankShard, positive: Tensor, wanted_specificity: float | None
) -> Thresholds:
    """Return the thresholds chosen on a split: for best balanced accuracy, and for a wanted specificity."""
    scores, truth = positive_log_odds(logits, shard, positive)
    chosen = {names.AT_VALIDATION_BALANCE: np.array(balanced_threshold(scores, truth))}
    if wanted_specificity is not None:
        suffix = f"{names.AT_VALIDATION_SPECIFICITY}{wanted_specificity:g}"
        chosen[suffix] = np.array(specificity_threshold(scores, truth, wanted_specificity))
    return chosen


def binary_decisions(logits: Tensor, shard: RankShard, positive: Tensor, thresholds: Thresholds) -> dict[str, float]:
    """Return sensitivity, specificity and accuracies at the thresholds, over all ranks' (n, K) logits."""
    if not thresholds:
        return {}
    scores, truth = positive_log_odds(logits, shard, positive)
    return {
        name + suffix: value
        for suffix, threshold in thresholds.items()
        for name, value in metrics_at(float(threshold), scores, truth).items()
    }


def rule_metrics(logits: Tensor, shard: RankShard, positive: Tensor) -> dict[str, float]:
    """Return the binary metrics of multi-label data: an image is called positive if any positive label is predicted."""
    scores, truth = positive_log_odds(logits, shard, positive)
    return metrics_at(EVEN, scores, truth) | curve_areas(scores, truth)


def label_metrics(logits: Tensor, shard: RankShard) -> dict[str, float]:
    """Return macro and micro average precision, and the number of labels in the macro mean."""
    return precision_metrics(logits, shard)


def precision_metrics(scores: Tensor, shard: RankShard) -> dict[str, float]:
    """Return metrics as `label_metrics`, for scores (n, K) that need not be probabilities."""
    everything, truth = _gathered(scores, shard)
    each = multilabel.average_precisions(everything, truth)
    return {
        names.AVERAGE_PRECISION + names.MACRO: multilabel.mean_of_known(each),
        names.AVERAGE_PRECISION + names.MICRO: multilabel.micro_average_precision(everything, truth),
        names.LABELS_EVALUATED: float(truth.any(axis=0).sum()),
    }


def label_thresholds(logits: Tensor, shard: RankShard) -> Thresholds:
    """Return each label's threshold with the best F1 on this split."""
    return {names.AT_VALIDATION_THRESHOLDS: multilabel.best_thresholds(*_gathered(logits, shard), otherwise=EVEN)}


def half_thresholds(logits: Tensor) -> Thresholds:
    """Return the log-odds of one half for each label."""
    return {names.AT_HALF: np.full(logits.shape[1], EVEN)}


def label_decisions(logits: Tensor, shard: RankShard, thresholds: Thresholds) -> dict[str, float]:
    """Return macro and micro F1 at thresholds."""
    scores, truth = _gathered(logits, shard)
    metrics: dict[str, float] = {}
    for suffix, values in thresholds.items():
        each, micro = multilabel.f1_scores(scores, truth, values)
        metrics[names.F1 + names.MACRO + suffix] = multilabel.mean_of_known(each)
        metrics[names.F1 + names.MICRO + suffix] = micro
    return metrics


def each_label(logits: Tensor, shard: RankShard, thresholds: Thresholds, labels: Sequence[str]) -> dict[str, float]:
    """Return average precision and F1 of each label by its name; NaN for a label without images."""
    scores, truth = _gathered(logits, shard)
    columns = {names.AVERAGE_PRECISION: multilabel.average_precisions(scores, truth)}
    columns |= {names.F1 + suffix: multilabel.f1_scores(scores, truth, own)[0] for suffix, own in thresholds.items()}
    parts = names.label_parts(labels)
    return {
        f"{name}/{part}": float(value)
        for name, values in columns.items()
        for part, value in zip(parts, values, strict=True)
    }


def _gathered(scores: Tensor, shard: RankShard) -> tuple[multilabel.Scores, multilabel.Truth]:
    both = gather_rows(torch.cat([scores.double(), shard.targets.double()], dim=1), shard.total).cpu().numpy()
    labels = scores.shape[1]
    return both[:, :labels], both[:, labels:] > 0.5
