"""Hypothesis tests: which settings, or classifiers, differ."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from sweep.statistics.intervals import NO_SPREAD
from sweep.statistics.resampled_metrics import Truth
from sweep.statistics.share_intervals import LEVEL


def mcnemar(one_right: Truth, other_right: Truth) -> float:
    """Return the exact p-value of McNemar's test of the hypothesis that two classifiers are equally accurate."""
    from scipy import stats

    only_one, only_other = int((one_right & ~other_right).sum()), int((other_right & ~one_right).sum())
    if only_one + only_other == 0:
        return 1.0
    return float(stats.binomtest(only_one, only_one + only_other).pvalue)


def candidates_for_best(
    groups: Sequence[Sequence[float]], *, seeds: Sequence[Sequence[Hashable]] | None = None, level: float = LEVEL
) -> list[bool] | None:
    """Return for each setting whether it may be the best (larger is better); None if no two can be compared.

    Multiple comparisons with the best (Hsu 1984), for unequal variances and numbers of seeds: a setting drops out if
    another one is larger in a one-sided t test at level (1 - level) / (number of others). By Bonferroni's inequality
    the truly best setting drops out with probability at most 1 - level; this holds for each of several equally good
    settings.

    Args:
        groups: The values of each setting over its seeds. A setting with one value is not compared and stays.
        seeds: Seed of each value, to pair values of different settings; None: values are independent.
        level: One minus the probability of dropping the truly best setting.
    """
    compared = [number for number, group in enumerate(groups) if len(group) > 1]
    if len(compared) < 2:
        return None
    names = seeds or [[(number, place) for place in range(len(group))] for number, group in enumerate(groups)]
    values = [dict(zip(own, group, strict=True)) for own, group in zip(names, groups, strict=True)]
    alone = (1.0 - level) / (len(compared) - 1)
    return [
        own not in compared
        or not any(_larger_by(values[other], values[own]) < alone for other in compared if other != own)
        for own in range(len(groups))
    ]


def _larger_by(one: dict[Hashable, float], other: dict[Hashable, float]) -> float:
    """Return the one-sided p-value for one setting's mean being larger than the other's, for any variances.

    The statistic is the difference of the means over its standard error. It is compared with Student's t with the
    degrees of freedom of the setting with fewer seeds. If that setting shares all its seeds, this is the paired t test.
    Otherwise the values are treated as independent, and the test is conservative (Hsu 1938, Mickey and Brown 1966).
    Welch's (1947) degrees of freedom are larger and err too often, in up to half of all sweeps, in the tails that many
    comparisons need. Values without any variation give no information on other seeds: p is 1.
    """
    from scipy.special import stdtr

    fewer = min(one, other, key=len)
    values = np.array(list(one.values())), np.array(list(other.values()))
    difference, error = values[0].mean() - values[1].mean(), float(np.hypot(_error(values[0]), _error(values[1])))
    if difference <= 0.0:
        return 1.0
    rounding = NO_SPREAD * max(np.abs(own).max() for own in values)
    if fewer.keys() <= one.keys() & other.keys():
        pairs = np.array([one[seed] - other[seed] for seed in fewer])
        if _error(pairs) > rounding:  # else they move as one, and the larger error of independent values still holds
            difference, error = pairs.mean(), _error(pairs)
    if error <= rounding:
        return 1.0
    return float(stdtr(len(fewer) - 1, -difference / error))


def _error(values: NDArray[np.float64]) -> float:
    """Return the standard error of a mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))
