"""Predicted numbers of a trial for each image: metrics under resampling, and their intervals over images and places."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sweep.statistics.intervals import RESAMPLES, SKEWED, HeldOut, sampling_variance
from sweep.statistics.label_metrics import tiles_of
from sweep.statistics.resampled_metrics import Numbers, Statistic
from sweep.statistics.share_intervals import ConfidenceInterval, quantile
from sweep.statistics.studentised import FunctionOfMeans
from trainables.evaluation.number_metrics import NUMBER_METRICS
from trainables.metrics import names

ROUNDING = 1e-12
"""Share of the numbers' variance that counts as rounding."""
PREDICTED = "predicted"
"""The column of the outputs, with the method before it: linear_predicted."""


@dataclass(frozen=True)
class NumberOutputs:
    """Predictions of one method for each image of a split, and the truth."""

    truth: Numbers
    """(n,)."""
    predicted: Numbers
    """(n,)."""
    images: tuple[str, ...]
    """(n,) names."""
    positive: NDArray[np.bool_]
    """None: a number has no positives."""

    @property
    def positive_truth(self) -> NDArray[np.bool_]:
        """Whether the image is positive (n,): none is."""
        return np.zeros(len(self.images), dtype=np.bool_)

    def of(self, chosen: NDArray[np.bool_]) -> "NumberOutputs":
        """Return the outputs of the `chosen` images (n,)."""
        images = tuple(np.asarray(self.images)[chosen])
        return replace(self, truth=self.truth[chosen], predicted=self.predicted[chosen], images=images)

    def held_out(self, *, sided: bool = False) -> HeldOut:
        """Return the sampling design: tiles are drawn whole."""
        return HeldOut(np.zeros(len(self.images), dtype=np.int64), tiles_of(self.images))


def has_numbers(table: pa.Table) -> bool:
    """Whether the outputs are predicted numbers."""
    return bool(pa.types.is_floating(table["label"].type))


def number_outputs(table: pa.Table, method: str) -> NumberOutputs | None:
    """Return the outputs of a method (linear_, or nothing for the head); None if the table lacks them."""
    column = f"{method}{PREDICTED}"
    if column not in table.column_names:
        return None
    predicted = table[column].combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    truth = table["label"].to_numpy().astype(np.float64)
    return NumberOutputs(truth, predicted, tuple(table["name"].to_pylist()), np.zeros(0, dtype=np.bool_))


def number_statistic(name: str, outputs: NumberOutputs) -> Statistic | None:
    """Return R2, RMSE, MAE or rank correlation as a function of image weights; None for other metrics."""
    metric = NUMBER_METRICS.get(name)
    return None if metric is None else lambda weights: metric(outputs.predicted, outputs.truth, weights)


def of_means(name: str, outputs: NumberOutputs) -> FunctionOfMeans | None:
    """Return R2, RMSE or MAE as a function of means over the images; None for other metrics."""
    errors = outputs.predicted - outputs.truth
    if name == names.MAE:
        return FunctionOfMeans(np.abs(errors)[:, None], lambda means: means[:, 0], np.ones_like)
    if name == names.RMSE:
        return FunctionOfMeans(
            np.square(errors)[:, None], lambda means: np.sqrt(means[:, 0]), lambda means: 0.5 / np.sqrt(means)
        )
    if name != names.R2:
        return None
    truth = outputs.truth - outputs.truth.mean()
    least = ROUNDING * float(np.square(truth).mean())

    def unexplained(means: Numbers) -> tuple[Numbers, Numbers]:
        spread = means[:, 2] - np.square(means[:, 1])
        spread = np.where(spread > least, spread, np.nan)  # of a sample of equal numbers, R2 is undefined
        return means[:, 0] / spread, spread

    def gradient(means: Numbers) -> Numbers:
        share, spread = unexplained(means)
        return np.stack([-1.0 / spread, -2.0 * share * means[:, 1] / spread, share / spread], axis=1)

    features = np.stack([np.square(errors), truth, np.square(truth)], axis=1)
    return FunctionOfMeans(features, lambda means: 1.0 - unexplained(means)[0], gradient)


def number_interval(name: str, held_out: HeldOut, statistic: Statistic) -> ConfidenceInterval | None:
    """Return the 95 % interval of a metric of predicted numbers, over images, or over tiles if images share tiles.

    Student's t with the bootstrap's variance, on a scale with symmetric errors: log for RMSE and MAE, log of 1 - R2,
    arctanh of the rank correlation.
    """
    if not held_out.suffices:
        return None

    def scaled(weights: Numbers) -> Numbers:
        values = statistic(weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            if name == names.SPEARMAN:
                return np.asarray(np.arctanh(values))
            return np.asarray(np.log(1.0 - values if name == names.R2 else values))

    value, variance = sampling_variance(held_out, scaled, RESAMPLES)
    if not np.isfinite(value + variance):
        return None
    half = quantile(held_out.units - 1) * float(np.sqrt(variance))
    ends = np.array([value - half, value + half])
    if name == names.SPEARMAN:
        low, high = np.tanh(ends)
    else:
        low, high = np.sort(1.0 - np.exp(ends)) if name == names.R2 else np.exp(ends)
    return ConfidenceInterval(float(low), float(high))


def number_difference_interval(held_out: HeldOut, between: Statistic) -> ConfidenceInterval | None:
    """Return the 95 % interval of a difference of rank correlations on the same images.

    Student's t with the bootstrap's variance and a third of the degrees of freedom. Predictions without any difference
    have none. R2 and errors have a studentised interval (studentised.py).
    """
    if not held_out.suffices:
        return None
    value, variance = sampling_variance(held_out, between, RESAMPLES)
    if not np.isfinite(value + variance) or variance == 0.0:
        return None
    half = quantile((held_out.units - 1) * SKEWED) * float(np.sqrt(variance))
    return ConfidenceInterval(value - half, value + half)
