"""Confidence intervals in closed form of shares of images, and of areas under the ROC curve; pure."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sweep.statistics.resampled_metrics import Numbers

LEVEL = 0.95
FEWEST_IMAGES, FEWEST_TILES = 10, 4
"""Images of each side that a metric is about, and tiles that hold them: with fewer there is no interval over images."""
UNSEEN = 0.25
"""Units that are all right or all wrong and count beside those drawn: what no drawn unit shows, another one may."""


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def quantile(freedom: float, level: float = LEVEL) -> float:
    """Return the two-sided critical value of Student's t, of the normal distribution with infinite freedom."""
    from scipy.special import ndtri, stdtrit

    return float(ndtri((1 + level) / 2) if np.isinf(freedom) else stdtrit(freedom, (1 + level) / 2))


def score_interval(share: float, size: float, critical: float) -> Interval:
    """Return Wilson's (1927) score interval of a share of `size` independent images, which needn't be whole."""
    centre = share + critical**2 / (2 * size)
    half = critical * np.sqrt(share * (1 - share) / size + critical**2 / (4 * size**2))
    scale = 1 + critical**2 / size
    low, high = float((centre - half) / scale), float((centre + half) / scale)
    return Interval(0.0 if share == 0.0 else max(0.0, low), 1.0 if share == 1.0 else min(1.0, high))


def effective_interval(share: float, variance: float, units: float, freedom: int, level: float = LEVEL) -> Interval:
    """Return the score interval of a share, or of an area in [0, 1], with an estimated sampling variance.

    Wilson's interval at the effective size share (1 - share) / variance with Student's t, as for shares of complex
    surveys (Korn and Graubard 1998; Franco et al. 2019). `units` are the images or tiles that were drawn, as many as
    if all were of one size. The variance counts as that of `freedom` units, to which UNSEEN others come.
    """
    alike = share * (1 - share)
    steadied = (freedom * variance + UNSEEN * alike / units) / (freedom + UNSEEN)
    return score_interval(share, alike / steadied if steadied > 0 else units, quantile(freedom, level))


def share_interval(right: Numbers, tiles: NDArray[np.int64] | None = None, level: float = LEVEL) -> Interval | None:
    """Return the interval of the mean of `right` (n,) over images: whether, or by how many of the seeds, one is right.

    Wilson's of one trial; of several seeds, or where images share `tiles` (n,), by the effective size. None with fewer
    than FEWEST_IMAGES images or FEWEST_TILES tiles.
    """
    if len(right) < FEWEST_IMAGES:
        return None
    share = float(right.mean())
    if tiles is None and bool(np.isin(right, (0.0, 1.0)).all()):
        return score_interval(share, len(right), quantile(np.inf, level))
    units = np.arange(len(right)) if tiles is None else np.unique(tiles, return_inverse=True)[1]
    sizes = np.bincount(units) / len(right)
    if len(sizes) < FEWEST_TILES:
        return None
    freedom = len(sizes) - 1
    residuals = np.bincount(units, weights=right - share) / len(right)
    variance = float((residuals**2).sum() * len(sizes) / freedom)
    return effective_interval(share, variance, 1 / float((sizes**2).sum()), freedom, level)


def mean_interval(one: float, of_one: Interval, other: float, of_other: Interval) -> Interval:
    """Return the interval of the mean of two shares of different images, from the intervals of both.

    The method of variance estimates recovery (Newcombe 1998; Zou and Donner 2008).
    """
    mean = (one + other) / 2
    low = np.hypot(one - of_one.low, other - of_other.low) / 2
    high = np.hypot(of_one.high - one, of_other.high - other) / 2
    return Interval(float(mean - low), float(mean + high))


def area_interval(
    area: float, variance: float, positives: int, negatives: int, level: float = LEVEL
) -> Interval | None:
    """Return the interval of an area under the ROC curve; None with fewer than FEWEST_IMAGES positives or negatives.

    Newcombe's (2006) fifth method: the areas whose distance to the one found is explained by their own variance, which
    stays above 0 at an area of 1. That variance is Hanley and McNeil's, for scores of one shape; where the one found,
    DeLong's (1988), is larger all are enlarged as much.
    """
    if min(positives, negatives) < FEWEST_IMAGES:
        return None
    excess = max(1.0, variance / own) if (own := _area_variance(area, positives, negatives)) > 0 else 1.0
    critical = quantile(np.inf, level) * np.sqrt(excess)

    def end(outside: float) -> float:
        inside = area
        for _ in range(60):
            middle = (inside + outside) / 2
            near = abs(area - middle) <= critical * np.sqrt(_area_variance(middle, positives, negatives))
            inside, outside = (middle, outside) if near else (inside, middle)
        return inside

    return Interval(end(0.0), end(1.0))


def _area_variance(area: float, positives: int, negatives: int) -> float:
    """Return Hanley and McNeil's (1982) variance of an area, with the mean number on both sides as Newcombe has it."""
    others = (positives + negatives) / 2 - 1
    spread = 1 + others * ((1 - area) / (2 - area) + area / (1 + area))
    return area * (1 - area) * spread / (positives * negatives)
