"""Studentised bootstrap: functions of means are the metrics; their derivatives and standard errors are right."""

import numpy as np
import pytest

from sweep.statistics.intervals import HeldOut
from sweep.statistics.number_outputs import NumberOutputs, of_means
from sweep.statistics.resampled_metrics import Numbers
from sweep.statistics.studentised import FunctionOfMeans, _Samples, studentised_interval, weighted_sum
from trainables.evaluation.number_metrics import NUMBER_METRICS

COUNT = 60
METRICS = ["r2", "rmse", "mae"]


def outputs(seed: int, offset: float = 3.0) -> NumberOutputs:
    random = np.random.default_rng(seed)
    truth = np.random.default_rng(0).normal(size=COUNT) + offset
    predicted = truth + random.normal(size=COUNT)
    return NumberOutputs(truth, predicted, tuple(map(str, range(COUNT))), np.zeros(0, dtype=np.bool_))


def function(name: str, seed: int) -> FunctionOfMeans:
    found = of_means(name, outputs(seed))
    assert found is not None
    return found


def value_of(function: FunctionOfMeans, weights: Numbers) -> Numbers:
    return function.value(weights @ function.features / weights.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("name", METRICS)
def test_functions_of_means_are_the_metrics_and_their_derivatives(name: str) -> None:
    weights = np.random.default_rng(1).random((5, COUNT))
    own, one = function(name, 1), outputs(1)
    np.testing.assert_allclose(
        value_of(own, weights), NUMBER_METRICS[name](one.predicted, one.truth, weights), rtol=1e-12
    )
    both = weighted_sum([own, function(name, 2), function(name, 3)], [0.5, 0.5, -1.0])
    parts = [value_of(function(name, seed), weights) for seed in (1, 2, 3)]
    np.testing.assert_allclose(value_of(both, weights), 0.5 * parts[0] + 0.5 * parts[1] - parts[2], atol=1e-12)
    means = weights @ both.features / weights.sum(axis=1, keepdims=True)
    steps = 1e-6 * np.eye(means.shape[1])
    slopes = [(both.value(means + step) - both.value(means - step)) / 2e-6 for step in steps]
    np.testing.assert_allclose(both.gradient(means), np.stack(slopes, axis=1), rtol=1e-5, atol=1e-7)
    assert of_means("spearman", one) is None


@pytest.mark.parametrize("tiles", [None, np.repeat(np.arange(12), 5)])
@pytest.mark.parametrize("name", METRICS)
def test_standard_errors_are_those_of_the_infinitesimal_jackknife(name: str, tiles: np.ndarray | None) -> None:
    """By a small change of the weight of one unit after the other."""
    both = weighted_sum([function(name, 1), function(name, 2)], [1.0, -1.0])
    samples = _Samples.of(HeldOut(np.zeros(COUNT, dtype=np.int64), tiles), both)
    unit_of = np.arange(COUNT) if tiles is None else tiles
    units = len(np.unique(unit_of))
    weights = np.random.default_rng(2).integers(0, 4, units).astype(float)
    values, errors = samples.of_weights(weights[None])
    expected = 0.0
    for unit in range(units):
        changed = [weights + step * (np.arange(units) == unit) for step in (-1e-5, 1e-5)]
        low, high = (float(value_of(both, own[unit_of][None])[0]) for own in changed)
        expected += weights[unit] * ((high - low) / 2e-5) ** 2
    assert float(values[0]) == pytest.approx(float(value_of(both, weights[unit_of][None])[0]))
    assert float(errors[0]) == pytest.approx((expected * units / (units - 1)) ** 0.5, rel=1e-4)


def test_predictions_without_a_difference_have_no_interval() -> None:
    same = weighted_sum([function("rmse", 1)] * 3, [0.5, 0.5, -1.0])
    assert studentised_interval(HeldOut(np.zeros(COUNT, dtype=np.int64)), same) is None
    other = weighted_sum([function("rmse", 1), function("rmse", 2)], [1.0, -1.0])
    assert studentised_interval(HeldOut(np.zeros(COUNT, dtype=np.int64)), other) is not None
