"""Which settings, or classifiers, can be told apart."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from sweep.statistics.intervals import LEVEL
from sweep.statistics.resampled_metrics import Truth


def mcnemar(one_right: Truth, other_right: Truth) -> float:
    """Return the exact p-value of McNemar's test: whether two classifiers are right on equally many images."""
    from scipy import stats

    only_one, only_other = int((one_right & ~other_right).sum()), int((other_right & ~one_right).sum())
    if only_one + only_other == 0:
        return 1.0
    return float(stats.binomtest(only_one, only_one + only_other).pvalue)


def candidates_for_best(groups: Sequence[Sequence[float]], *, level: float = LEVEL) -> list[bool] | None:
    """Return for each setting, given its values over seeds, whether it can't be told from the best; None without seeds.

    Multiple comparisons with the best (Hsu 1984): a setting drops out where the one-sided test of Dunnett (1955), with
    that setting as the control, finds one that is larger. The truly best drops out with probability 1 - level at most,
    whichever it is and however many there are; a comparison with the *observed* best errs more often, since that was
    chosen from the same numbers. Assumes independent seeds and an equal spread in all settings.
    """
    sizes = [len(group) for group in groups]
    freedom = sum(sizes) - len(groups)
    if len(groups) < 2 or freedom < 1:
        return None
    means = np.array([np.mean(group) for group in groups])
    spread = np.sqrt(sum(((np.asarray(group) - np.mean(group)) ** 2).sum() for group in groups) / freedom)
    found = []
    for own, size in enumerate(sizes):
        others = [number for number in range(len(groups)) if number != own]
        # Beyond the critical value for one that is larger by its own standard error.
        errors = spread * np.sqrt([1 / size + 1 / sizes[number] for number in others])
        limit = _dunnett(size, tuple(sizes[number] for number in others), freedom, level)
        found.append(bool(np.all(means[others] - means[own] <= limit * errors)))
    return found


@lru_cache(maxsize=1000)
def _dunnett(control: int, others: tuple[int, ...], freedom: int, level: float) -> float:
    """Return the one-sided critical value of Dunnett's test.

    The statistics have correlations a_i a_j with a_i^2 = n_i / (n_i + n_control), so that given the control's mean and
    the spread they are independent; both are integrated out numerically.
    """
    from scipy import stats
    from scipy.optimize import brentq
    from scipy.special import ndtr

    means, mean_weights = np.polynomial.hermite_e.hermegauss(80)
    mean_weights = mean_weights / mean_weights.sum()
    nodes, node_weights = np.polynomial.legendre.leggauss(80)
    spreads = np.sqrt(stats.chi2.ppf((nodes + 1) / 2, freedom) / freedom)
    loadings = np.sqrt([size / (size + control) for size in others])

    def excess(limit: float) -> float:
        arguments = limit * spreads[:, None, None] - loadings * means[:, None]
        inside = ndtr(arguments / np.sqrt(1 - loadings**2)).prod(axis=2)
        return float(node_weights / 2 @ inside @ mean_weights) - level

    return float(brentq(excess, 0.0, 200.0))
