"""Hypothesis tests: which settings, or classifiers, differ."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from sweep.statistics.intervals import NO_SPREAD
from sweep.statistics.resampled_metrics import Truth
from sweep.statistics.share_intervals import LEVEL


def mcnemar(one_right: Truth, other_right: Truth) -> float:
    """Return the exact p-value of McNemar's test: whether two classifiers are right on equally many images."""
    from scipy import stats

    only_one, only_other = int((one_right & ~other_right).sum()), int((other_right & ~one_right).sum())
    if only_one + only_other == 0:
        return 1.0
    return float(stats.binomtest(only_one, only_one + only_other).pvalue)


def candidates_for_best(
    groups: Sequence[Sequence[float]], *, seeds: Sequence[Sequence[Hashable]] | None = None, level: float = LEVEL
) -> list[bool] | None:
    """Return for each setting whether it may be the best, larger being better; None where no two can be compared.

    Multiple comparisons with the best (Hsu 1984), at unequal spreads and numbers of seeds: a setting drops out where
    some other one is larger by a one-sided t test at (1 - level) / (number of others). By Bonferroni's inequality the
    truly best setting drops out with probability 1 - level at most; of several that are equally good, each does.

    Args:
        groups: The values of each setting over its seeds. A setting with one value isn't compared, and stays.
        seeds: What each value shares with those of other settings; None: nothing.
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
    """Return the one-sided p-value of one setting's mean being larger than the other's, whatever their spreads.

    The difference of the means over its standard error, by Student's t with the degrees of freedom of the setting with
    fewer seeds. Where that setting shares all its seeds this is the paired t test; else the values are taken as
    independent, and the test errs less often than stated (Hsu 1938, Mickey and Brown 1966). Welch's degrees of freedom
    (1947) are more and err too often: in up to half of all sweeps, in the tails that many comparisons need. Values
    without any spread say nothing of another seed: p is 1.
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
