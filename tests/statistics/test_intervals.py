"""Intervals cover what they say and tests err as often as they say: against other libraries, and by simulation."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score

from sweep.statistics.hypothesis_tests import candidates_for_best, mcnemar
from sweep.statistics.intervals import HeldOut, image_interval, seed_interval
from sweep.statistics.resampled_metrics import (
    average_precision,
    balanced_accuracy,
    difference,
    mean_of,
    roc_auc,
    share_of,
)
from sweep.statistics.share_intervals import share_interval


def within(share: float, expected: float, trials: int) -> bool:
    """Whether a share of so many simulations is the expected one, within four standard errors."""
    return abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / trials)


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_the_seed_interval_covers_the_mean(seeds: int) -> None:
    random = np.random.default_rng(seeds)
    covered = 0
    for values in random.normal(0.7, 0.02, (4000, seeds)):
        interval = seed_interval(list(values))
        assert interval is not None
        covered += interval.low <= 0.7 <= interval.high
    assert within(covered / 4000, 0.95, 4000)


def test_there_is_no_seed_interval_of_one_seed_and_undefined_values_count_for_nothing() -> None:
    assert seed_interval([0.5]) is None
    assert seed_interval([0.5, math.nan]) is None
    assert seed_interval([0.1 + 0.2, 0.3, 0.3]) is None, "equal values say nothing of other seeds"
    known = seed_interval([0.5, 0.6])
    assert known is not None
    assert seed_interval([0.5, math.nan, 0.6]) == known
    assert tuple(known) == pytest.approx(stats.t.interval(0.95, 1, loc=0.55, scale=0.05))


def test_the_wilson_interval_covers_shares_on_the_average_over_them() -> None:
    shares = np.linspace(0.02, 0.98, 49)
    intervals = [share_interval(np.arange(60.0) < count) for count in range(61)]
    chances = stats.binom.pmf(np.arange(61)[:, None], 60, shares)
    holds = np.array([[i is not None and i.low <= share <= i.high for share in shares] for i in intervals])
    assert float((chances * holds).sum(axis=0).mean()) == pytest.approx(0.95, abs=0.01)
    for count, interval in enumerate(intervals):
        assert interval is not None
        assert tuple(interval) == pytest.approx(tuple(stats.binomtest(count, 60).proportion_ci(method="wilson")))
    assert intervals[60] is not None
    assert intervals[60].high == 1.0


def test_weighted_metrics_are_those_of_images_that_come_several_times() -> None:
    random = np.random.default_rng(0)
    scores = random.integers(0, 12, 80) / 12  # with ties
    positive = random.random(80) < 0.3
    right = (scores > 0.5) == positive
    weights = random.integers(0, 4, (5, 80)).astype(np.float64)
    for row, auc, precision, balanced in zip(
        weights,
        roc_auc(scores, positive)(weights),
        average_precision(scores, positive)(weights),
        balanced_accuracy(right, positive)(weights),
        strict=True,
    ):
        assert auc == pytest.approx(roc_auc_score(positive, scores, sample_weight=row))
        assert precision == pytest.approx(average_precision_score(positive, scores, sample_weight=row))
        assert balanced == pytest.approx(balanced_accuracy_score(positive, scores > 0.5, sample_weight=row))
    once = np.ones((1, 80))
    assert share_of(right)(once)[0] == pytest.approx(right.mean())
    assert mean_of([share_of(right), share_of(~right)])(once)[0] == pytest.approx(0.5)
    assert difference(share_of(right), share_of(~right))(once)[0] == pytest.approx(2 * right.mean() - 1)


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision", "balanced_accuracy"])
def test_the_image_interval_covers_the_metric_of_all_images(metric: str) -> None:
    random = np.random.default_rng(1)
    separation, negatives, positives = 1.2, 150, 60

    def statistic(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> object:
        if metric == "balanced_accuracy":
            return balanced_accuracy((scores > 0.6) == positive, positive)
        return (roc_auc if metric == "roc_auc" else average_precision)(scores, positive)

    def sample(factor: int = 1) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        positive = np.arange((negatives + positives) * factor) < positives * factor
        return random.normal(size=len(positive)) + separation * positive, positive

    many, truth = sample(1000)
    exact = float(statistic(many, truth)(np.ones((1, len(many))))[0])  # type: ignore[operator]
    covered, datasets = 0, 250
    for _ in range(datasets):
        scores, positive = sample()
        held_out = HeldOut(positive.astype(np.int64))
        interval = image_interval(held_out, statistic(scores, positive), resamples=300)  # type: ignore[arg-type]
        assert interval is not None
        covered += interval.low <= exact <= interval.high
    assert 0.90 <= covered / datasets <= 0.985


def test_images_of_one_tile_are_drawn_together() -> None:
    random = np.random.default_rng(2)
    tiles, each = 40, 25
    by_tile = by_image = 0
    for _ in range(200):
        chance = np.repeat(random.beta(3, 1, tiles), each)
        right = random.random(tiles * each) < chance
        number = np.repeat(np.arange(tiles), each) + 7
        strata = np.zeros(len(right), dtype=np.int64)
        for interval, is_tiled in (
            (image_interval(HeldOut(strata, number), share_of(right), resamples=300), True),
            (image_interval(HeldOut(strata), share_of(right), resamples=300), False),
        ):
            assert interval is not None
            covers = interval.low <= 0.75 <= interval.high
            by_tile, by_image = by_tile + (covers and is_tiled), by_image + (covers and not is_tiled)
    assert 0.88 <= by_tile / 200 <= 0.99
    assert by_image / 200 < 0.8
    one = HeldOut(np.zeros(9, dtype=np.int64), np.full(9, 3))
    assert image_interval(one, share_of(np.arange(9) < 5)) is None


def test_an_interval_is_the_same_twice_and_an_undefined_metric_has_none() -> None:
    right = np.arange(50) < 30
    held_out = HeldOut(np.zeros(50, dtype=np.int64))
    assert image_interval(held_out, share_of(right)) == image_interval(held_out, share_of(right))
    assert image_interval(held_out, share_of(right, np.zeros(50, dtype=bool))) is None


def test_a_difference_of_paired_seeds_counts_and_the_spread_between_seeds_doesnt() -> None:
    groups = [[0.50, 0.60, 0.70], [0.51, 0.612, 0.711]]
    assert candidates_for_best(groups) == [True, True]
    assert candidates_for_best(groups, seeds=[(0, 1, 2), (0, 1, 2)]) == [False, True]
    assert candidates_for_best(groups, seeds=[(0, 1, 2), (3, 4, 5)]) == [True, True]
    alone = stats.ttest_rel(groups[1], groups[0], alternative="greater").pvalue
    for level in (1 - alone * 1.01, 1 - alone * 0.99):
        kept = candidates_for_best(groups, seeds=[(0, 1, 2)] * 2, level=level)
        assert kept == [level > 1 - alone, True]


def test_the_best_is_not_looked_for_without_replicates_or_spread() -> None:
    assert candidates_for_best([[0.5], [0.6]]) is None
    assert candidates_for_best([[0.5, 0.6]]) is None
    assert candidates_for_best([[0.5, 0.5], [0.4999, 0.4999]]) == [True, True]
    assert candidates_for_best([[0.3 - 0.1, 0.2], [0.2 - 1e-4, 0.2 - 1e-4]]) == [True, True], "rounding is no spread"
    assert candidates_for_best([[0.5], [0.51, 0.52], [0.1, 0.11]]) == [True, True, False]
    # Seeds that move as one: the error of independent values is still an upper bound.
    parallel = [[0.50, 0.501, 0.502], [0.60, 0.601, 0.602]]
    assert candidates_for_best(parallel, seeds=[(0, 1, 2)] * 2) == [False, True]
    unspread = [[0.5, 0.5, 0.5], [0.60, 0.601, 0.602]]
    assert candidates_for_best(unspread) == [False, True]


def test_mcnemar_is_the_exact_test_of_the_images_on_which_they_differ() -> None:
    one = np.array([True] * 12 + [False] * 3 + [True] * 40)
    other = np.array([False] * 12 + [True] * 3 + [True] * 40)
    assert mcnemar(one, other) == pytest.approx(stats.binomtest(12, 15).pvalue)
    assert mcnemar(one, one) == 1.0
