"""Calibration of probabilities: Brier score, expected calibration error, and temperature scaling; pure."""

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.metrics import names

Logits = NDArray[np.float64]
Classes = NDArray[np.int64]
BINS = 15
LARGEST_SCALE = 100.0
HALVINGS = 40


def best_scale(logits: Logits, classes: Classes) -> float:
    """Return the temperature in [1 / 100, 100] that minimises the cross-entropy of (n, K) logits divided by it.

    Temperature scaling (Guo et al. 2017, arXiv 1706.04599). Fit it on other images than those it is applied to.
    """
    own = logits[np.arange(len(classes)), classes]
    low, high = -np.log(LARGEST_SCALE), np.log(LARGEST_SCALE)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        expected = (_softmax(logits / np.exp(middle)) * logits).sum(axis=1)
        # The loss is convex in 1 / temperature, with this slope: where it falls the best temperature is lower.
        low, high = (low, middle) if (expected - own).mean() < 0.0 else (middle, high)
    return float(np.exp((low + high) / 2))


def calibration(logits: Logits, classes: Classes, positive: NDArray[np.bool_] | None) -> dict[str, float]:
    """Return loss, Brier score and expected calibration error of (n, K) logits; NaN without an image.

    With a positive rule (K,), Brier score and calibration error are those of the positives' summed probability.
    Otherwise the Brier score is summed over classes, and the calibration error is that of the predicted class.
    """
    if not len(classes):
        return dict.fromkeys((names.LOSS, names.BRIER, names.CALIBRATION_ERROR), float("nan"))
    probabilities = _softmax(logits)
    if positive is not None:
        scores, right = probabilities[:, positive].sum(axis=1), positive[classes]
        brier = float(np.square(scores - right).mean())
    else:
        scores, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == classes
        brier = float(np.square(probabilities - np.eye(logits.shape[1])[classes]).sum(axis=1).mean())
    return {
        names.LOSS: _cross_entropy(logits, classes),
        names.BRIER: brier,
        names.CALIBRATION_ERROR: expected_error(scores, right),
    }


def expected_error(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Return the mean distance between score (n,) and share of right images, over bins weighted by their size."""
    bins = np.clip(np.ceil(scores * BINS) - 1, 0, BINS - 1).astype(np.int64)
    off = np.bincount(bins, weights=scores - right, minlength=BINS)
    return float(np.abs(off).sum() / len(scores))


def _softmax(logits: Logits) -> Logits:
    probabilities: Logits = torch.from_numpy(logits).softmax(1).numpy()
    return probabilities


def _cross_entropy(logits: Logits, classes: Classes) -> float:
    return float(torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(classes)))
