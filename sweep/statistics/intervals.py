"""How sure the numbers of a comparison are; pure: arrays in, intervals and decisions out.

Two errors are kept apart: another seed would train another encoder, and another test set would hold other images. The
first needs trials that differ in nothing but the seed, the second the outputs of each image. SciPy, half a second, is
imported where it is used.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sweep.statistics.resampled_metrics import Numbers, Statistic

LEVEL = 0.95
RESAMPLES = 2000
CHUNK = 100
"""Resamples at a time: their weights take CHUNK x n numbers."""


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def seed_interval(values: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Return Student's t interval of the mean over seeds; None with fewer than two finite values."""
    from scipy import stats

    known = np.asarray([value for value in values if np.isfinite(value)])
    if len(known) < 2:
        return None
    half = stats.t.ppf((1 + level) / 2, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known))
    return Interval(float(known.mean() - half), float(known.mean() + half))


def wilson_interval(successes: int, total: int, level: float = LEVEL) -> Interval | None:
    """Return Wilson's score interval of a share (Wilson 1927); None of nothing."""
    from scipy import stats

    if total == 0:
        return None
    found = stats.binomtest(successes, total).proportion_ci(level, method="wilson")
    return Interval(float(found.low), float(found.high))


@dataclass(frozen=True)
class HeldOut:
    """The images that metrics were computed on, as far as they were drawn together."""

    strata: NDArray[np.int64]
    """(n,): images are drawn anew within each stratum, so that the counts of positives and negatives stay."""
    tiles: NDArray[np.int64] | None = None
    """(n,): images of one tile resemble each other, so tiles are drawn anew, with all their images."""

    def resamples(self, count: int, random: np.random.Generator) -> Iterator[Numbers]:
        """Yield how often each image counts in `count` bootstrap samples, (at most CHUNK, n) at a time."""
        units = self.strata if self.tiles is None else np.zeros(len(np.unique(self.tiles)), dtype=np.int64)
        members = [np.flatnonzero(units == stratum) for stratum in np.unique(units)]
        for start in range(0, count, CHUNK):
            weights = np.zeros((min(CHUNK, count - start), len(units)))
            for row in weights:
                for own in members:
                    row[own] = np.bincount(random.integers(len(own), size=len(own)), minlength=len(own))
            yield weights if self.tiles is None else weights[:, np.unique(self.tiles, return_inverse=True)[1]]


def image_interval(
    held_out: HeldOut, statistic: Statistic, *, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval | None:
    """Return the percentile bootstrap interval of a metric over the images; None from a single tile or image.

    Samples in which the metric is undefined are left out; the same images give the same interval.
    """
    if len(held_out.strata) < 2 or (held_out.tiles is not None and len(np.unique(held_out.tiles)) < 2):
        return None
    random = np.random.default_rng(0)
    values = np.concatenate([statistic(weights) for weights in held_out.resamples(resamples, random)])
    values = values[np.isfinite(values)]
    if len(values) < resamples / 2:
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
