"""Confidence intervals of a comparison; pure: arrays in, intervals out.

There are two sources of error: another seed trains another encoder, and another test set contains other images. The
first is measured by trials that differ only in the seed, the second by the outputs for each image. docs/error_rates.md
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
    ConfidenceInterval,
    effective_interval,
    quantile,
)

NO_SPREAD = 1e-9
"""Relative spread that counts as rounding: such equal values don't show how much seeds differ."""
SKEWED = 1 / 3
"""Factor on the degrees of freedom of a difference over tiles, or of predicted numbers."""
RESAMPLES = 2000
CHUNK = 100
"""Resamples at a time: their weights take CHUNK x n numbers."""


def seed_interval(values: Sequence[float]) -> ConfidenceInterval | None:
    """Return Student's t interval of the mean over seeds; None with fewer than two finite values or no variation."""
    known = np.asarray([value for value in values if np.isfinite(value)])
    if len(known) < 2 or known.std() <= NO_SPREAD * np.abs(known).max():
        return None
    half = quantile(len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known))
    return ConfidenceInterval(float(known.mean() - half), float(known.mean() + half))


@dataclass(frozen=True)
class HeldOut:
    """Sampling design of the evaluated images: strata and tiles, for resampling."""

    strata: NDArray[np.int64]
    """(n,): images are resampled within each stratum, so that the numbers of positives and negatives stay fixed."""
    tiles: NDArray[np.int64] | None = None
    """(n,): images of one tile are correlated, so whole tiles are resampled; None: images are independent."""

    @property
    def images(self) -> int:
        """Number of images in the smallest stratum."""
        return int(np.unique(self.strata, return_counts=True)[1].min(initial=len(self.strata)))

    @property
    def units(self) -> int:
        """Number of sampling units: images of the smallest stratum, or the fewest tiles that contain a stratum."""
        if self.tiles is None:
            return self.images
        return min((len(np.unique(self.tiles[self.strata == own])) for own in np.unique(self.strata)), default=0)

    @property
    def even_units(self) -> float:
        """Effective number of units: of equal size with the same information."""
        if self.tiles is None:
            return float(self.units)
        sizes = np.unique(self.tiles, return_counts=True)[1] / len(self.tiles)
        return min(float(self.units), 1 / float((sizes**2).sum()))

    @property
    def suffices(self) -> bool:
        """Whether images and tiles suffice for an interval."""
        return self.images >= FEWEST_IMAGES and (self.tiles is None or self.units >= FEWEST_TILES)

    def resamples(self, count: int, random: np.random.Generator) -> Iterator[Numbers]:
        """Yield the weight of each image in `count` bootstrap samples, in chunks of shape (at most CHUNK, n).

        Of m images, m - 1 are drawn, each with weight m / (m - 1); otherwise the variance would be too small by the
        factor (m - 1) / m (Rao and Wu 1988).
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
    """Return a metric and its sampling variance over the images, including squared bias; NaN if undefined.

    Samples with an undefined metric are left out. The random numbers are fixed: the same images give the same variance.
    """
    value = float(statistic(np.ones((1, len(held_out.strata))))[0])
    random = np.random.default_rng(0)
    values = np.concatenate([statistic(weights) for weights in held_out.resamples(resamples, random)])
    values = values[np.isfinite(values)]
    if len(values) < resamples / 2:
        return value, float("nan")
    return value, float(values.var() + (values.mean() - value) ** 2)


def image_interval(held_out: HeldOut, statistic: Statistic, *, resamples: int = RESAMPLES) -> ConfidenceInterval | None:
    """Return the interval of a metric in [0, 1] over the images; None with too few images."""
    if not held_out.suffices:
        return None
    value, variance = sampling_variance(held_out, statistic, resamples)
    if not np.isfinite(value + variance):
        return None
    return effective_interval(value, variance, held_out.even_units, held_out.units - 1)


def difference_interval(
    held_out: HeldOut, statistic: Statistic, *, resamples: int = RESAMPLES
) -> ConfidenceInterval | None:
    """Return the t interval of a difference of two metrics over the same images; None with too few images.

    Two images are added, one in favour of each side, so that identical answers don't have an interval of zero width:
    Bonett and Price (2012), after Agresti and Min (2005). Tiles without any difference have no interval. With tiles,
    the degrees of freedom are divided by three, since often few tiles hold most of the difference: undivided, the
    interval from ten tiles would contain the true value in only 89 % of samples (docs/error_rates.md).
    """
    units = held_out.units
    if not held_out.suffices:
        return None
    value, variance = sampling_variance(held_out, statistic, resamples)
    if not np.isfinite(value + variance) or (held_out.tiles is not None and variance == 0.0):
        return None
    if held_out.tiles is None:
        value, variance = value * units / (units + 2), variance + 2 / (units + 2) ** 2
    freedom = (units - 1) * (1.0 if held_out.tiles is None else SKEWED)
    half = quantile(freedom) * np.sqrt(variance)
    return ConfidenceInterval(max(-1.0, float(value - half)), min(1.0, float(value + half)))
