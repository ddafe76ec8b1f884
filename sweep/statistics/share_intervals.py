"""Confidence intervals in closed form of shares of images, and of areas under the ROC curve; pure."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sweep.statistics.resampled_metrics import Numbers

LEVEL = 0.95
"""Confidence level of all intervals."""
FEWEST_IMAGES, FEWEST_TILES = 10, 4
"""Minimum numbers of images per class side and of tiles; with fewer there is no interval over images."""
UNSEEN = 0.25
"""Number of added units that are all right or all wrong: an unseen unit may differ from all that were drawn."""


class ConfidenceInterval(NamedTuple):
    """Confidence interval from `low` to `high`."""

    low: float
    high: float


def quantile(freedom: float) -> float:
    """Return the two-sided critical value of Student's t; normal with infinite degrees of freedom."""
    from scipy.special import ndtri, stdtrit

    return float(ndtri((1 + LEVEL) / 2) if np.isinf(freedom) else stdtrit(freedom, (1 + LEVEL) / 2))


def score_interval(share: float, size: float, critical: float) -> ConfidenceInterval:
    """Return Wilson's (1927) score interval of a share of `size` independent images; `size` may be fractional."""
    centre = share + critical**2 / (2 * size)
    half = critical * np.sqrt(share * (1 - share) / size + critical**2 / (4 * size**2))
    scale = 1 + critical**2 / size
    low, high = float((centre - half) / scale), float((centre + half) / scale)
    return ConfidenceInterval(0.0 if share == 0.0 else max(0.0, low), 1.0 if share == 1.0 else min(1.0, high))


def effective_interval(share: float, variance: float, units: float, freedom: int) -> ConfidenceInterval:
    """Return the score interval of a share, or of an area in [0, 1], with an estimated sampling variance.

    This is Wilson's interval at the effective sample size share (1 - share) / variance with Student's t, as for
    complex surveys (Korn and Graubard 1998; Franco et al. 2019).

    Args:
        share: The estimate, in [0, 1].
        variance: Its estimated sampling variance.
        units: Effective number of drawn images or tiles; UNSEEN units are added.
        freedom: Degrees of freedom of the variance.
    """
    alike = share * (1 - share)
    steadied = (freedom * variance + UNSEEN * alike / units) / (freedom + UNSEEN)
    return score_interval(share, alike / steadied if steadied > 0 else units, quantile(freedom))


def share_interval(right: Numbers, tiles: NDArray[np.int64] | None = None) -> ConfidenceInterval | None:
    """Return the interval of the mean of `right` (n,): for each image, the share of seeds that are right about it.

    For one trial this is Wilson's interval; with several seeds, or if images share `tiles` (n,), it uses the effective
    sample size. None with fewer than FEWEST_IMAGES images or FEWEST_TILES tiles.
    """
    if len(right) < FEWEST_IMAGES:
        return None
    share = float(right.mean())
    if tiles is None and bool(np.isin(right, (0.0, 1.0)).all()):
        return score_interval(share, len(right), quantile(np.inf))
    units = np.arange(len(right)) if tiles is None else np.unique(tiles, return_inverse=True)[1]
    sizes = np.bincount(units) / len(right)
    if len(sizes) < FEWEST_TILES:
        return None
    freedom = len(sizes) - 1
    residuals = np.bincount(units, weights=right - share) / len(right)
    variance = float((residuals**2).sum() * len(sizes) / freedom)
    return effective_interval(share, variance, 1 / float((sizes**2).sum()), freedom)


def mean_interval(
    one: float, of_one: ConfidenceInterval, other: float, of_other: ConfidenceInterval
) -> ConfidenceInterval:
    """Return the interval of the mean of two shares of different images, from their intervals.

    This is the method of variance estimates recovery (Newcombe 1998; Zou and Donner 2008).
    """
    mean = (one + other) / 2
    low = np.hypot(one - of_one.low, other - of_other.low) / 2
    high = np.hypot(of_one.high - one, of_other.high - other) / 2
    return ConfidenceInterval(float(mean - low), float(mean + high))


def unpaired_interval(
    one: float, of_one: ConfidenceInterval, other: float, of_other: ConfidenceInterval
) -> ConfidenceInterval:
    """Return the interval of `one - other`, two metrics over different images, from their intervals.

    This is the method of variance estimates recovery, as for `mean_interval`. If some images are in both sets, it is
    wider than it need be.
    """
    difference = one - other
    low = np.hypot(one - of_one.low, of_other.high - other)
    high = np.hypot(of_one.high - one, other - of_other.low)
    return ConfidenceInterval(float(difference - low), float(difference + high))


def area_interval(area: float, variance: float, positives: int, negatives: int) -> ConfidenceInterval | None:
    """Return the interval of an area under the ROC curve; None with fewer than FEWEST_IMAGES positives or negatives.

    Newcombe's (2006) fifth method: the interval contains each area whose distance to the estimate is within its own
    standard error times the critical value; that error is above 0 even at an area of 1. The variance of each area is
    Hanley and McNeil's. If the estimated variance (DeLong 1988) is larger, all variances are scaled up to match.
    """
    if min(positives, negatives) < FEWEST_IMAGES:
        return None
    excess = max(1.0, variance / own) if (own := _area_variance(area, positives, negatives)) > 0 else 1.0
    critical = quantile(np.inf) * np.sqrt(excess)

    def end(outside: float) -> float:
        inside = area
        for _ in range(60):
            middle = (inside + outside) / 2
            near = abs(area - middle) <= critical * np.sqrt(_area_variance(middle, positives, negatives))
            inside, outside = (middle, outside) if near else (inside, middle)
        return inside

    return ConfidenceInterval(end(0.0), end(1.0))


def _area_variance(area: float, positives: int, negatives: int) -> float:
    """Return Hanley and McNeil's (1982) variance of an area, with the mean class size for both, as in Newcombe."""
    others = (positives + negatives) / 2 - 1
    spread = 1 + others * ((1 - area) / (2 - area) + area / (1 + area))
    return area * (1 - area) * spread / (positives * negatives)
