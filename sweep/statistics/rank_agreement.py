"""Agreement of two rankings of the same settings: Kendall's tau-b and its interval; pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweep.statistics.share_intervals import ConfidenceInterval, quantile

FEWEST_RANKED = 10
"""Minimum number of settings for an interval of tau; with fewer, chance alone gives almost any order."""
VARIANCE = 0.437
"""Variance of arctanh(tau) times n - 4 (Fieller, Hartley and Pearson 1957)."""


@dataclass(frozen=True)
class RankAgreement:
    """Agreement of two metrics' rankings of settings: 1 for the same order, 0 for chance, -1 for the reverse."""

    tau: float
    """Kendall's tau-b; NaN if all values of one metric are equal."""
    interval: ConfidenceInterval | None
    """95 %; None with fewer than FEWEST_RANKED settings."""
    settings: int


def rank_agreement(one: Sequence[float], other: Sequence[float]) -> RankAgreement:
    """Return Kendall's tau-b of two metrics of the same settings, without those in which either isn't finite.

    The interval tanh(arctanh(tau) +- z s) is for other settings of the same kind. s^2 is the larger of two variances:
    0.437 / (n - 4), which holds for normal values (Fieller, Hartley and Pearson 1957), and a distribution-free one
    (Hollander, Wolfe and Chicken 2014, section 8.3) divided by (1 - tau^2)^2. A tau of 1 or -1 is first moved inwards
    by half a pair, since arctanh is infinite there. docs/error_rates.md has the simulated coverage.
    """
    from scipy.stats import kendalltau

    values = np.array([one, other], dtype=np.float64)
    values = values[:, np.isfinite(values).all(axis=0)]
    count = values.shape[1]
    tau = float(kendalltau(*values).statistic) if count > 1 else math.nan
    if count < FEWEST_RANKED or math.isnan(tau):
        return RankAgreement(tau, None, count)
    most = 1.0 - 1.0 / (count * (count - 1) / 2)
    inner = min(max(tau, -most), most)
    spread = math.sqrt(max(VARIANCE / (count - 4), _free_variance(values, tau) / (1.0 - inner**2) ** 2))
    half = quantile(np.inf) * spread
    low, high = math.tanh(math.atanh(inner) - half), math.tanh(math.atanh(inner) + half)
    return RankAgreement(tau, ConfidenceInterval(-1.0 if tau < -most else low, 1.0 if tau > most else high), count)


def _free_variance(values: NDArray[np.float64], tau: float) -> float:
    """Return the variance of tau over draws of settings (2, n), from each setting's concordance with the others."""
    count = values.shape[1]
    one, other = (np.sign(own[:, None] - own) for own in values)
    concordance = (one * other).sum(axis=1) * count * (count - 1)
    concordance /= math.sqrt(float(np.abs(one).sum() * np.abs(other).sum()))  # ties, as tau-b counts them
    spread = 2 * (count - 2) / (count * (count - 1) ** 2) * np.square(concordance - concordance.mean()).sum()
    return float(2 / (count * (count - 1)) * (spread + 1.0 - tau**2))
