"""Studentised bootstrap of smooth functions of means: each sample's deviation is divided by its own standard error.

The plain bootstrap's variance is too small where few images hold most of a sum, and most samples lack them. In such a
sample the standard error is too small too, so the studentised deviations become larger (Hall 1988; Efron 1979).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweep.statistics.intervals import RESAMPLES, SKEWED, HeldOut
from sweep.statistics.resampled_metrics import Numbers
from sweep.statistics.share_intervals import ConfidenceInterval, quantile

SHARE = 0.97
"""Share of the samples whose deviation is within the interval; with 0.96, 40 or 100 log-normal errors had 92.5 %."""
MOST_WIDENED = 1.35
"""Largest factor for few images or places."""
ROUNDING = 1e-24
"""Share of the square of the largest possible influence that counts as rounding."""
MANY = 1e9
"""Degrees of freedom at which Student's t is normal."""


@dataclass(frozen=True)
class FunctionOfMeans:
    """Smooth function of the weighted means of k features of each image."""

    features: Numbers
    """(n, k)."""
    value: Callable[[Numbers], Numbers]
    """Function from means (B, k) to values (B,)."""
    gradient: Callable[[Numbers], Numbers]
    """Function from means (B, k) to derivatives (B, k) of the value."""


def weighted_sum(parts: Sequence[FunctionOfMeans], factors: Sequence[float]) -> FunctionOfMeans:
    """Return the sum of functions of the same images, each times its factor."""
    ends = np.cumsum([part.features.shape[1] for part in parts])
    own = [slice(end - part.features.shape[1], end) for end, part in zip(ends.tolist(), parts, strict=True)]

    def value(means: Numbers) -> Numbers:
        found = [factor * part.value(means[:, k]) for factor, part, k in zip(factors, parts, own, strict=True)]
        return np.asarray(np.sum(found, axis=0))

    def gradient(means: Numbers) -> Numbers:
        found = [factor * part.gradient(means[:, k]) for factor, part, k in zip(factors, parts, own, strict=True)]
        return np.concatenate(found, axis=1)

    return FunctionOfMeans(np.concatenate([part.features for part in parts], axis=1), value, gradient)


def studentised_interval(held_out: HeldOut, function: FunctionOfMeans) -> ConfidenceInterval | None:
    """Return the symmetric 95 % interval over images, or over tiles; None with too few of them, or without a spread.

    It is widened by Student's t with a third of the degrees of freedom, as few units show the spread badly, and is at
    least Student's t interval with the bootstrap's variance.
    """
    if not held_out.suffices:
        return None
    units, samples = held_out.units, _Samples.of(held_out, function)
    value, error = (float(one[0]) for one in samples.of_weights(np.ones((1, units))))
    random = np.random.default_rng(0)
    parts = [samples.of_weights(weights[:, samples.first]) for weights in held_out.resamples(RESAMPLES, random)]
    values, errors = (np.concatenate(own) for own in zip(*parts, strict=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        deviations = np.abs(values - value) / errors
    deviations, values = deviations[np.isfinite(deviations)], values[np.isfinite(values)]
    if not np.isfinite(value) or error == 0.0 or min(len(deviations), len(values)) < RESAMPLES / 2:
        return None
    few = quantile((units - 1) * SKEWED)
    plain = few * float(np.sqrt(values.var() + (values.mean() - value) ** 2))
    half = max(plain, min(few / quantile(MANY), MOST_WIDENED) * float(np.quantile(deviations, SHARE)) * error)
    return ConfidenceInterval(value - half, value + half)


@dataclass(frozen=True)
class _Samples:
    """Values and standard errors of a function in samples of whole units, from sums over each unit."""

    function: FunctionOfMeans
    sums: Numbers
    """(units, k + 1): sums of the features, and the number of images."""
    largest: Numbers
    """(k + 1,): largest absolute values of the sums."""
    first: NDArray[np.int64]
    """(units,): an image of each unit."""

    @classmethod
    def of(cls, held_out: HeldOut, function: FunctionOfMeans) -> "_Samples":
        count = len(function.features)
        tiles = np.arange(count) if held_out.tiles is None else held_out.tiles
        _, first, unit_of = np.unique(tiles, return_index=True, return_inverse=True)
        extended = np.concatenate([function.features, np.ones((count, 1))], axis=1)
        sums = np.zeros((len(first), extended.shape[1]))
        np.add.at(sums, unit_of, extended)
        return cls(function, sums, np.abs(sums).max(axis=0), first.astype(np.int64))

    def of_weights(self, weights: Numbers) -> tuple[Numbers, Numbers]:
        """Return values (B,) and standard errors (B,) for unit weights (B, units), by the delta method."""
        totals = weights @ self.sums
        means = totals[:, :-1] / totals[:, -1:]
        with np.errstate(invalid="ignore", divide="ignore"):
            gradient = self.function.gradient(means)
            slopes = np.concatenate([gradient, -(gradient * means).sum(axis=1, keepdims=True)], axis=1)
            influences = slopes @ self.sums.T
            spread = (weights * np.square(influences)).sum(axis=1)
            spread = np.where(spread > ROUNDING * np.square(np.abs(slopes) @ self.largest), spread, 0.0)
            units = len(self.sums)
            errors = np.sqrt(spread * units / (units - 1)) / totals[:, -1]
            return self.function.value(means), errors
