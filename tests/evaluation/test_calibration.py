"""Calibration against torchmetrics and scikit-learn, temperature scaling against a known temperature."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, log_loss
from torchmetrics.functional import classification as tm

from trainables.evaluation.calibration import BINS, best_scale, calibration, expected_error


def drawn(seed: int, *, count: int = 2000, classes: int = 4, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits, multiplied by `scale`, and classes drawn from the probabilities that they gave before."""
    random = np.random.default_rng(seed)
    logits = random.normal(scale=2.0, size=(count, classes))
    cumulative = softmax(logits, axis=1).cumsum(axis=1)
    drawn_classes = (random.random((count, 1)) > cumulative).sum(axis=1)
    return logits * scale, drawn_classes.clip(0, classes - 1)


def test_errors_are_the_libraries() -> None:
    logits, classes = drawn(0, scale=3.0)
    positive = np.array([True, False, True, False])
    scores = softmax(logits, axis=1)[:, positive].sum(axis=1)
    binary = calibration(logits, classes, positive)
    assert binary["brier"] == pytest.approx(brier_score_loss(positive[classes], scores))
    truth = torch.from_numpy(positive[classes].astype(np.int64))
    assert binary["calibration_error"] == pytest.approx(
        float(tm.binary_calibration_error(torch.from_numpy(scores), truth, n_bins=BINS)), rel=1e-5
    )
    several = calibration(logits, classes, None)
    probabilities = torch.from_numpy(softmax(logits, axis=1))
    expected = tm.multiclass_calibration_error(probabilities, torch.from_numpy(classes), 4, n_bins=BINS)
    assert several["calibration_error"] == pytest.approx(float(expected), rel=1e-5)
    assert several["loss"] == pytest.approx(log_loss(classes, probabilities.numpy()))
    one_hot = np.eye(4)[classes]
    assert several["brier"] == pytest.approx(
        sum(brier_score_loss(one_hot[:, k], probabilities[:, k]) for k in range(4))
    )


@pytest.mark.parametrize("scale", [0.25, 1.0, 4.0])
def test_scaling_finds_the_temperature_and_mends_the_error(scale: float) -> None:
    logits, classes = drawn(1, count=20_000, scale=scale)
    assert best_scale(logits, classes) == pytest.approx(scale, rel=0.05)
    fresh, truth = drawn(2, count=20_000, scale=scale)
    assert calibration(fresh / scale, truth, None)["calibration_error"] < 0.02
    if scale != 1.0:
        assert calibration(fresh, truth, None)["calibration_error"] > 0.1


@pytest.mark.parametrize("scale", [0.02, 0.7, 30.0])
def test_the_temperature_found_is_that_of_the_least_loss(scale: float) -> None:
    logits, classes = drawn(3, count=300, scale=scale)

    def loss(logarithm: float) -> float:
        return float(log_loss(classes, softmax(logits / np.exp(logarithm), axis=1)))

    found = minimize_scalar(loss, bounds=(-np.log(100), np.log(100)), method="bounded", options={"xatol": 1e-9})
    assert best_scale(logits, classes) == pytest.approx(np.exp(found.x), rel=1e-6)
    assert loss(np.log(best_scale(logits, classes))) <= found.fun + 1e-15


def test_sure_and_right_has_no_error_and_nothing_is_undefined() -> None:
    assert expected_error(np.array([0.0, 1.0]), np.array([False, True])) == 0.0
    assert expected_error(np.array([0.0, 1.0]), np.array([True, False])) == 1.0
    empty = calibration(np.zeros((0, 3)), np.zeros(0, dtype=np.int64), None)
    assert all(np.isnan(value) for value in empty.values())
    separable = np.array([[0.1, 0.0], [0.0, 0.1]])
    assert 0.01 <= best_scale(separable, np.array([0, 1])) < 0.02  # as sure as it may get
