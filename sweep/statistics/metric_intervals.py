"""Intervals of metrics over the test images, and paired differences between settings; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweep.statistics import hypothesis_tests, resampled_metrics
from sweep.statistics.image_metrics import SIDED, AnyOutputs, ClassOutputs, decisions, method_of, statistic_of
from sweep.statistics.intervals import (
    RESAMPLES,
    difference_interval,
    image_interval,
    sampling_variance,
)
from sweep.statistics.label_metrics import (
    LabelOutputs,
    bounded_resamples,
    tiles_of,
)
from sweep.statistics.number_outputs import (
    NumberOutputs,
    number_difference_interval,
    number_interval,
    of_means,
)
from sweep.statistics.resampled_metrics import Numbers, Statistic, mean_of
from sweep.statistics.share_intervals import (
    FEWEST_IMAGES,
    FEWEST_TILES,
    ConfidenceInterval,
    area_interval,
    mean_interval,
    share_interval,
)
from sweep.statistics.studentised import FunctionOfMeans, studentised_interval, weighted_sum
from trainables.metrics import names


def sampling_interval(metric: str, seeds: Sequence[AnyOutputs]) -> ConfidenceInterval | None:
    """Return the 95 % interval of a metric over the test images, for one trial or for the mean over seeds.

    Shares use `share_interval`, balanced accuracy the intervals of its two sides, and areas under the ROC curve
    `area_interval`. Average precision is resampled; so are, if images share tiles, all metrics that are not shares.

    Returns:
        The interval; None if the metric is unknown or there are too few images or tiles (`too_few`).
    """
    statistic = _mean_statistic(metric, seeds)
    if statistic is None or too_few(metric, seeds):
        return None
    if isinstance(seeds[0], NumberOutputs):
        return number_interval(method_of(metric)[1], seeds[0].held_out(), statistic)
    if (share := _share_interval(metric, seeds)) is not None:
        return share[1]
    _, name = method_of(metric)
    held_out = seeds[0].held_out(sided=name in SIDED)
    if held_out.tiles is not None or name not in (names.BALANCED_ACCURACY, names.ROC_AUC):
        return image_interval(held_out, statistic, resamples=_resamples(seeds))
    if name == names.BALANCED_ACCURACY:
        sides = [_share_interval(metric.replace(name, side), seeds) for side in (names.SENSITIVITY, names.SPECIFICITY)]
        return _mean_interval(*sides)
    truth = seeds[0].positive_truth
    return area_interval(
        *sampling_variance(held_out, statistic, _resamples(seeds)), int(truth.sum()), int((~truth).sum())
    )


def _share_interval(metric: str, seeds: Sequence[AnyOutputs]) -> tuple[float, ConfidenceInterval | None] | None:
    """Return the mean over seeds of a share, with its interval; None if the metric isn't a share."""
    decided = [found for outputs in seeds if (found := decisions(metric, outputs)) is not None]
    if not decided:
        return None
    among, tiles = decided[0][1], tiles_of(seeds[0].images)
    right: Numbers = np.mean([own for own, _ in decided], axis=0)[among]
    return float(right.mean()), share_interval(right, None if tiles is None else tiles[among])


def _mean_interval(
    one: tuple[float, ConfidenceInterval | None] | None, other: tuple[float, ConfidenceInterval | None] | None
) -> ConfidenceInterval | None:
    if one is None or other is None or one[1] is None or other[1] is None:
        return None
    return mean_interval(one[0], one[1], other[0], other[1])


def too_few(metric: str, seeds: Sequence[AnyOutputs]) -> str:
    """Return in words why the images don't suffice for a metric's interval; empty if they do."""
    if _mean_statistic(metric, seeds) is None:
        return ""
    _, name = method_of(metric)
    truth, tiles = seeds[0].positive_truth, tiles_of(seeds[0].images)
    sides = {"images": np.ones(len(truth), dtype=np.bool_)}
    if name in (names.SENSITIVITY, *SIDED):
        sides["positives"] = truth
    if name in (names.SPECIFICITY, *SIDED):
        sides["negatives"] = ~truth
    for side, own in sides.items():
        if own.sum() < FEWEST_IMAGES:
            return f"too few {side}: {own.sum()} of {FEWEST_IMAGES}"
        if tiles is not None and (count := len(np.unique(tiles[own]))) < FEWEST_TILES:
            return f"too few tiles with {side}: {count} of {FEWEST_TILES}"
    return ""


def _resamples(seeds: Sequence[AnyOutputs]) -> int:
    """Return the number of bootstrap samples for an interval over these trials."""
    first = seeds[0]
    return bounded_resamples(first) if isinstance(first, LabelOutputs) else RESAMPLES


@dataclass(frozen=True)
class PairedDifference:
    """Difference of a metric between two settings on the same images."""

    difference: float
    interval: ConfidenceInterval | None
    """95 % interval over the test images, with the seeds held fixed."""
    p_value: float | None
    """p-value of McNemar's test, if each setting has one trial and the metric is top-1."""


def paired(metric: str, one: Sequence[AnyOutputs], other: Sequence[AnyOutputs]) -> PairedDifference | None:
    """Return the paired difference of two settings; None if their images differ or the metric isn't per image."""
    statistics_ = _mean_statistic(metric, one), _mean_statistic(metric, other)
    if statistics_[0] is None or statistics_[1] is None or len({outputs.images for outputs in (*one, *other)}) > 1:
        return None
    between = resampled_metrics.difference(statistics_[0], statistics_[1])
    held_out = one[0].held_out(sided=method_of(metric)[1] in SIDED)
    if isinstance(one[0], NumberOutputs):
        function = _difference_of_means(metric, one, other)
        interval = (
            number_difference_interval(held_out, between)
            if function is None
            else studentised_interval(held_out, function)
        )
    else:
        interval = difference_interval(held_out, between, resamples=_resamples(one))
    difference = float(between(np.ones((1, len(one[0].images))))[0])
    return PairedDifference(difference, interval, _mcnemar(metric, one, other))


def _difference_of_means(metric: str, one: Sequence[AnyOutputs], other: Sequence[AnyOutputs]) -> FunctionOfMeans | None:
    """Return the difference of a metric of numbers between two settings as a function of means; None without one."""
    name = method_of(metric)[1]
    both = [of_means(name, outputs) for outputs in (*one, *other) if isinstance(outputs, NumberOutputs)]
    known = [function for function in both if function is not None]
    factors = [*([1 / len(one)] * len(one)), *([-1 / len(other)] * len(other))]
    return weighted_sum(known, factors) if len(known) == len(factors) else None


def _mcnemar(metric: str, one: Sequence[AnyOutputs], other: Sequence[AnyOutputs]) -> float | None:
    if not len(one) == len(other) == 1 or method_of(metric)[1] != names.TOP1:
        return None
    assert isinstance(one[0], ClassOutputs)
    assert isinstance(other[0], ClassOutputs)
    return hypothesis_tests.mcnemar(one[0].right, other[0].right)


def _mean_statistic(metric: str, seeds: Sequence[AnyOutputs]) -> Statistic | None:
    found = [statistic for outputs in seeds if (statistic := statistic_of(metric, outputs)) is not None]
    return mean_of(found) if found and len(found) == len(seeds) else None
