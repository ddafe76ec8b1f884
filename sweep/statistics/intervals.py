"""Confidence intervals of a comparison; pure: arrays in, intervals out.

There are two sources of error: another seed trains another encoder, and another test set contains other images. The
first is measured by trials that differ only in the seed, the second by the outputs for each image. docs/comparison.md
has the simulated coverage of every interval (benchmarks/error_rates.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweep.statistics.resampled_metrics import Numbers, Statistic
from sweep.statistics.share_intervals import (
    FEWEST_IMAGES,
    FEWEST_TILES,
    LEVEL,
    Interval,
    effective_interval,
    quantile,
    score_interval,
)

NO_SPREAD = 1e-9
"""Spread below this part of the values is rounding: such values say nothing of how far another seed would be."""
RESAMPLES = 2000
CHUNK = 100
"""Resamples at a time: their weights take CHUNK x n numbers."""


def seed_interval(values: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Return Student's t interval of the mean over seeds; None with fewer than two finite values, or without spread."""
    known = np.asarray([value for value in values if np.isfinite(value)])
    if len(known) < 2 or known.std() <= NO_SPREAD * np.abs(known).max():
        return None
    half = quantile(len(known) - 1, level) * known.std(ddof=1) / np.sqrt(len(known))
    return Interval(float(known.mean() - half), float(known.mean() + half))


def wilson_interval(successes: int, total: int, level: float = LEVEL) -> Interval | None:
    """Return Wilson's score interval of a share (Wilson 1927); None of nothing."""
    return score_interval(successes / total, total, quantile(np.inf, level)) if total else None


@dataclass(frozen=True)
class HeldOut:
    """The images that metrics were computed on, as far as they were drawn together."""

    strata: NDArray[np.int64]
    """(n,): images are drawn anew within each stratum, so that the counts of positives and negatives stay."""
    tiles: NDArray[np.int64] | None = None
    """(n,): images of one tile resemble each other, so tiles are drawn anew, with all their images."""

    @property
    def images(self) -> int:
        """Images of the smallest stratum."""
        return int(np.unique(self.strata, return_counts=True)[1].min(initial=len(self.strata)))

    @property
    def units(self) -> int:
        """How many images of the smallest stratum are drawn, or the fewest tiles that hold those of one stratum."""
        if self.tiles is None:
            return self.images
        return min((len(np.unique(self.tiles[self.strata == own])) for own in np.unique(self.strata)), default=0)

    @property
    def even_units(self) -> float:
        """As many units of one size as say the same."""
        if self.tiles is None:
            return float(self.units)
        sizes = np.unique(self.tiles, return_counts=True)[1] / len(self.tiles)
        return min(float(self.units), 1 / float((sizes**2).sum()))

    @property
    def suffices(self) -> bool:
        """Whether there are enough images and tiles for an interval."""
        return self.images >= FEWEST_IMAGES and (self.tiles is None or self.units >= FEWEST_TILES)

    def resamples(self, count: int, random: np.random.Generator) -> Iterator[Numbers]:
        """Yield how much each image counts in `count` bootstrap samples, (at most CHUNK, n) at a time.

        Of m images one fewer is drawn, and each counts m / (m - 1) times: so the variance isn't too small by that
        factor (Rao and Wu 1988).
        """
        units = self.strata if self.tiles is None else np.zeros(len(np.unique(self.tiles)), dtype=np.int64)
        members = [np.flatnonzero(units == stratum) for stratum in np.unique(units)]
        for start in range(0, count, CHUNK):
            weights = np.zeros((min(CHUNK, count - start), len(units)))
            for row in weights:
                for own in members:
                    drawn = np.bincount(random.integers(len(own), size=len(own) - 1), minlength=len(own))
                    row[own] = drawn * (len(own) / (len(own) - 1))
            yield weights if self.tiles is None else weights[:, np.unique(self.tiles, return_inverse=True)[1]]


def sampling_variance(held_out: HeldOut, statistic: Statistic, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Return a metric and its sampling variance over the images, its squared bias included; NaN where undefined.

    Samples in which the metric is undefined are left out; the same images give the same variance.
    """
    value = float(statistic(np.ones((1, len(held_out.strata))))[0])
    random = np.random.default_rng(0)
    values = np.concatenate([statistic(weights) for weights in held_out.resamples(resamples, random)])
    values = values[np.isfinite(values)]
    if len(values) < resamples / 2:
        return value, float("nan")
    return value, float(values.var() + (values.mean() - value) ** 2)


def image_interval(
    held_out: HeldOut, statistic: Statistic, *, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval | None:
    """Return the interval of a metric in [0, 1] over the images; None where too few are held out."""
    if not held_out.suffices:
        return None
    value, variance = sampling_variance(held_out, statistic, resamples)
    if not np.isfinite(value + variance):
        return None
    return effective_interval(value, variance, held_out.even_units, held_out.units - 1, level)


def difference_interval(
    held_out: HeldOut, statistic: Statistic, *, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval | None:
    """Return the t interval of a difference of two metrics over the same images; None where too few.

    Two images more on which one is better each, so that like answers have no interval of zero width: Bonett and Price
    (2012), after Agresti and Min (2005). Tiles that show no difference at all have no interval.
    """
    units = held_out.units
    if not held_out.suffices:
        return None
    value, variance = sampling_variance(held_out, statistic, resamples)
    if not np.isfinite(value + variance) or (held_out.tiles is not None and variance == 0.0):
        return None
    if held_out.tiles is None:
        value, variance = value * units / (units + 2), variance + 2 / (units + 2) ** 2
    half = quantile(units - 1, level) * np.sqrt(variance)
    return Interval(max(-1.0, float(value - half)), min(1.0, float(value + half)))
