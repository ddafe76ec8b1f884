"""Kendall's tau-b against counting pairs, and the coverage of its interval."""

import math
from itertools import combinations

import numpy as np
import pytest

from sweep.statistics.rank_agreement import FEWEST_RANKED, rank_agreement


def slow_tau(one: list[float], other: list[float]) -> float:
    pairs = list(combinations(range(len(one)), 2))
    signs = [(np.sign(one[i] - one[j]), np.sign(other[i] - other[j])) for i, j in pairs]
    untied = [sum(bool(sign[side]) for sign in signs) for side in (0, 1)]
    return float(sum(a * b for a, b in signs) / math.sqrt(untied[0] * untied[1]))


def test_tau_counts_pairs_and_handles_ties() -> None:
    random = np.random.default_rng(0)
    for _ in range(5):
        one, other = (random.integers(0, 6, 12).astype(float).tolist() for _ in range(2))
        assert rank_agreement(one, other).tau == pytest.approx(slow_tau(one, other), abs=1e-12)


def test_what_isnt_finite_is_left_out_and_few_settings_have_no_interval() -> None:
    values = [float(number) for number in range(FEWEST_RANKED - 1)]
    found = rank_agreement([*values, math.nan], [*values, 3.0])
    assert (found.tau, found.interval, found.settings) == (1.0, None, FEWEST_RANKED - 1)
    assert math.isnan(rank_agreement([1.0], [1.0]).tau)
    assert math.isnan(rank_agreement([1.0] * 12, list(map(float, range(12)))).tau)


def test_a_perfect_order_has_an_interval_that_ends_at_one() -> None:
    values = list(map(float, range(12)))
    found = rank_agreement(values, values)
    assert found.interval is not None
    assert found.interval.high == 1.0
    assert 0.5 < found.interval.low < 1.0
    turned = rank_agreement(values, values[::-1])
    assert turned.interval is not None
    assert turned.interval.low == -1.0
    assert turned.interval.high == pytest.approx(-found.interval.low)


def covered(settings: int, correlation: float, *, heavy: bool, times: int = 400) -> float:
    """Return how often the interval holds the tau of the distribution: 2 / pi arcsin of the correlation."""
    random, truth = np.random.default_rng(settings), 2 / math.pi * math.asin(correlation)
    found = 0
    for _ in range(times):
        one = random.normal(size=settings)
        other = correlation * one + math.sqrt(1 - correlation**2) * random.normal(size=settings)
        scale = np.sqrt(random.chisquare(3, settings) / 3) if heavy else 1.0  # Student's t: the same tau, other tails
        interval = rank_agreement((one / scale).tolist(), (other / scale).tolist()).interval
        assert interval is not None
        found += interval.low <= truth <= interval.high
    return found / times


@pytest.mark.parametrize("settings", [10, 24])
@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.9])
def test_the_interval_covers_what_it_says(settings: int, correlation: float) -> None:
    assert covered(settings, correlation, heavy=False) >= 0.93
    assert covered(settings, correlation, heavy=True) >= 0.93
