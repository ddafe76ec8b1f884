"""Classification metrics of a held-out split: sums and counts over ranks, divided once."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainables.distributed import gather_rows, sum_over_ranks
from trainables.evaluation.curves import Scores, Truth, average_precision, roc_area
from trainables.evaluation.features import RankShard
from trainables.metrics import names


def classification_metrics(logits: Tensor, shard: RankShard, positive: Tensor | None) -> dict[str, float]:
    """Return the metrics of this rank's (n, K) logits, over all ranks; NaN where a metric is undefined.

    Always: top-1 accuracy and loss. With more than five classes: top-5 accuracy. With a positive rule (K,):
    sensitivity, specificity, accuracy, balanced accuracy, and the areas under the ROC and precision-recall curves.
    """
    classes = logits.shape[1]
    # Loss and top-5 ride behind the confusion matrix, so that one sum over ranks carries everything.
    cells = shard.targets * classes + logits.argmax(1)
    sums = torch.zeros(classes * classes + 2, dtype=torch.float64, device=logits.device)
    sums[:-2] = torch.bincount(cells, minlength=classes * classes)
    sums[-2] = functional.cross_entropy(logits, shard.targets, reduction="sum")
    if classes > 5:
        sums[-1] = (_rank_of_target(logits, shard.targets) < 5).sum()
    sums = sum_over_ranks(sums).cpu()
    confusion = sums[:-2].view(classes, classes)
    metrics = {
        names.LOSS: _ratio(sums[-2], shard.total),
        names.TOP1: _ratio(confusion.diagonal().sum(), shard.total),
    }
    if classes > 5:
        metrics[names.TOP5] = _ratio(sums[-1], shard.total)
    if positive is not None:
        metrics |= binary_metrics(_fold(confusion, positive))
        metrics |= curve_areas(*positive_log_odds(logits, shard, positive))
    return metrics


def decision_metrics(predicted: Tensor, shard: RankShard, classes: int, positive: Tensor | None) -> dict[str, float]:
    """Return top-1 accuracy of decisions (n,) over all ranks; with a positive rule (K,), also the binary metrics."""
    cells = torch.bincount(shard.targets * classes + predicted, minlength=classes * classes).double()
    confusion = sum_over_ranks(cells).cpu().view(classes, classes)
    top1 = {names.TOP1: _ratio(confusion.diagonal().sum(), shard.total)}
    return top1 if positive is None else top1 | binary_metrics(_fold(confusion, positive))


def _rank_of_target(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the rank of the target class (n,), from 0: classes with a larger logit, or an equal one and lower index.

    Unlike topk, whose order of ties is undefined, this agrees with argmax.
    """
    own = logits.gather(1, targets[:, None])
    earlier = torch.arange(logits.shape[1], device=logits.device) < targets[:, None]
    return ((logits > own) | ((logits == own) & earlier)).sum(1)


def _fold(confusion: Tensor, positive: Tensor) -> Tensor:
    """Fold a (K, K) confusion matrix (truth by prediction) to (2, 2): negative, positive."""
    sides = torch.stack([~positive, positive]).to(confusion.dtype)
    return sides @ confusion @ sides.T


def binary_metrics(confusion: Tensor) -> dict[str, float]:
    """Return sensitivity, specificity and accuracies of a (2, 2) matrix of counts, truth by prediction."""
    (true_negative, false_positive), (false_negative, true_positive) = confusion.tolist()
    sensitivity = _ratio(true_positive, true_positive + false_negative)
    specificity = _ratio(true_negative, true_negative + false_positive)
    return {
        names.SENSITIVITY: sensitivity,
        names.SPECIFICITY: specificity,
        names.ACCURACY: _ratio(true_positive + true_negative, float(confusion.sum())),
        names.BALANCED_ACCURACY: (sensitivity + specificity) / 2,
    }


def positive_log_odds(logits: Tensor, shard: RankShard, positive: Tensor) -> tuple[Scores, Truth]:
    """Return the positives' log-odds and the truth of all ranks' images, (total,) each.

    With one class per image these are the log-odds of the positives' summed probability. With several labels it is the
    largest log-odds of a positive label, since one such label makes an image positive. Probabilities are not used: they
    round to 1 from a log-odds of 37 on, and then don't rank.
    """
    positive = positive.to(logits.device)
    wide = logits.double()
    if shard.targets.dim() == 2:
        scores, truth = wide[:, positive].amax(1), shard.targets[:, positive].any(1)
    else:
        scores = wide[:, positive].logsumexp(1) - wide[:, ~positive].logsumexp(1)
        truth = positive[shard.targets]
    both = gather_rows(torch.stack([scores, truth.double()], dim=1), shard.total).cpu().numpy()
    return both[:, 0], both[:, 1] > 0.5


def curve_areas(scores: Scores, truth: Truth) -> dict[str, float]:
    """Return the areas under the ROC and precision-recall curves; NaN without positives or without negatives."""
    if truth.all() or not truth.any():
        return {names.ROC_AUC: np.nan, names.PR_AUC: np.nan}
    return {names.ROC_AUC: roc_area(scores, truth), names.PR_AUC: average_precision(scores, truth)}


def _ratio(part: Tensor | float, whole: float) -> float:
    return float(part) / whole if whole else float("nan")
