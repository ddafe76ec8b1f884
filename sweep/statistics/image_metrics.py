"""Metrics as functions of image weights, from the per-image outputs of a trial; pure.

`trainables.evaluation` computes each metric once, over all images; resampling (intervals.py) needs these functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax

from sweep.statistics import hypothesis_tests, resampled_metrics
from sweep.statistics.confusion import LINEAR_LOGITS, LOGITS, has_several_labels
from sweep.statistics.intervals import (
    RESAMPLES,
    HeldOut,
    difference_interval,
    image_interval,
    sampling_variance,
)
from sweep.statistics.label_metrics import (
    LabelOutputs,
    bounded_resamples,
    label_outputs,
    label_statistic,
    tiles_of,
)
from sweep.statistics.number_outputs import (
    NumberOutputs,
    has_numbers,
    number_difference_interval,
    number_interval,
    number_outputs,
    number_statistic,
)
from sweep.statistics.resampled_metrics import Numbers, Statistic, Truth, mean_of
from sweep.statistics.share_intervals import (
    FEWEST_IMAGES,
    FEWEST_TILES,
    ConfidenceInterval,
    area_interval,
    mean_interval,
    share_interval,
)
from trainables import metric_names as names

KNN = "knn"
"""Column of kNN's predicted class, or of its score for each label."""
AREAS = (names.ROC_AUC, names.PR_AUC)
SIDED = (names.BALANCED_ACCURACY, *AREAS)
"""Metrics that need positives and negatives."""


@dataclass(frozen=True)
class ClassOutputs:
    """Outputs of one classifier for each image of a split, with one label per image."""

    labels: NDArray[np.int64]
    """(n,) classes."""
    predicted: NDArray[np.int64]
    """(n,)."""
    positive: NDArray[np.bool_]
    """(K,): the classes that count as positive; none without a rule."""
    logits: NDArray[np.float64] | None
    """(n, K); None for kNN."""
    images: tuple[str, ...]
    """(n,) names."""

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the predicted class is the true class (n,)."""
        return np.asarray(self.predicted == self.labels)

    @property
    def positive_truth(self) -> NDArray[np.bool_]:
        """Whether the image is positive (n,)."""
        return self.positive[self.labels]

    @property
    def positive_scores(self) -> NDArray[np.float64]:
        """Probability of the positive classes, summed (n,)."""
        assert self.logits is not None
        return np.asarray(softmax(self.logits, axis=1)[:, self.positive].sum(axis=1))

    @property
    def positive_ranked(self) -> NDArray[np.float64]:
        """Log-odds of the positive classes (n,), used for ranking since probabilities saturate near 0 and 1."""
        assert self.logits is not None
        sides = (self.logits[:, self.positive], self.logits[:, ~self.positive])
        return np.asarray(
            np.subtract(*(logsumexp(side, axis=1) if side.size else np.full(len(side), -np.inf) for side in sides))
        )

    @property
    def half(self) -> float:
        """Log-odds of probability one half, the default threshold for calling an image positive."""
        return 0.0

    def of(self, chosen: NDArray[np.bool_]) -> "ClassOutputs":
        """Return the outputs of the `chosen` images (n,)."""
        images = tuple(np.asarray(self.images)[chosen])
        logits = None if self.logits is None else self.logits[chosen]
        return replace(self, labels=self.labels[chosen], predicted=self.predicted[chosen], logits=logits, images=images)

    def held_out(self, *, sided: bool = False) -> HeldOut:
        """Return the sampling design: tiles are drawn whole; `sided`: positive and negative images are two strata."""
        strata = self.positive_truth if sided else np.zeros(len(self.images), dtype=np.bool_)
        return HeldOut(strata.astype(np.int64), tiles_of(self.images))


ClassifierOutputs = ClassOutputs | LabelOutputs
AnyOutputs = ClassifierOutputs | NumberOutputs


def outputs_of(table: pa.Table, classes: Sequence[str], positive: Sequence[str], metric: str) -> AnyOutputs | None:
    """Return the outputs of the classifier that a metric belongs to; None if the table lacks them."""
    method, _ = _method(metric)
    if has_numbers(table):
        return number_outputs(table, method)
    column = {"": LOGITS, names.LINEAR: LINEAR_LOGITS, names.KNN: KNN}[method]
    if column not in table.column_names:
        return None
    several = has_several_labels(table)
    width = 1 if method == names.KNN and not several else len(classes)
    values = table[column].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    is_positive = np.array([name in positive for name in classes])
    if several:
        return label_outputs(table, values.astype(np.float64), is_positive, logits=method != names.KNN)
    return ClassOutputs(
        labels=table["label"].to_numpy().astype(np.int64),
        predicted=(values[:, 0] if method == names.KNN else values.argmax(axis=1)).astype(np.int64),
        positive=is_positive,
        logits=None if method == names.KNN else values.astype(np.float64),
        images=tuple(table["name"].to_pylist()),
    )


def statistic_of(metric: str, outputs: AnyOutputs) -> Statistic | None:
    """Return a metric such as test/linear_sensitivity as a function of image weights; None for other metrics."""
    if isinstance(outputs, NumberOutputs):
        return number_statistic(_method(metric)[1], outputs)
    if (decided := _decisions(metric, outputs)) is not None:
        return resampled_metrics.share_of(*decided)
    _, name = _method(metric)
    if isinstance(outputs, LabelOutputs) and (found := label_statistic(name, outputs)) is not None:
        return found
    if name not in SIDED or not outputs.positive.any():
        return None
    truth = outputs.positive_truth
    if name == names.BALANCED_ACCURACY:
        return resampled_metrics.balanced_accuracy(_called_positive(outputs) == truth, truth)
    if isinstance(outputs, ClassOutputs) and outputs.logits is None:
        return None
    area = resampled_metrics.roc_auc if name == names.ROC_AUC else resampled_metrics.average_precision
    return area(outputs.positive_ranked, truth)


def _called_positive(outputs: ClassifierOutputs) -> Truth:
    return outputs.called_positive if isinstance(outputs, LabelOutputs) else outputs.positive[outputs.predicted]


def _decisions(metric: str, outputs: AnyOutputs) -> tuple[Truth, Truth] | None:
    """Return which images (n,) are right, and among which images the share is taken; None if it isn't a share."""
    _, name = _method(metric)
    everyone = np.ones(len(outputs.images), dtype=np.bool_)
    if isinstance(outputs, NumberOutputs):
        return None
    if name == names.TOP1 and isinstance(outputs, ClassOutputs):
        return outputs.right, everyone
    if name not in (names.SENSITIVITY, names.SPECIFICITY, names.ACCURACY) or not outputs.positive.any():
        return None
    truth = outputs.positive_truth
    among = {names.SENSITIVITY: truth, names.SPECIFICITY: ~truth, names.ACCURACY: everyone}[name]
    return _called_positive(outputs) == truth, among


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
        return number_interval(_method(metric)[1], seeds[0].held_out(), statistic)
    if (share := _share_interval(metric, seeds)) is not None:
        return share[1]
    _, name = _method(metric)
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
    decided = [found for outputs in seeds if (found := _decisions(metric, outputs)) is not None]
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
    _, name = _method(metric)
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
    held_out = one[0].held_out(sided=_method(metric)[1] in SIDED)
    if isinstance(one[0], NumberOutputs):
        interval = number_difference_interval(held_out, between)
    else:
        interval = difference_interval(held_out, between, resamples=_resamples(one))
    difference = float(between(np.ones((1, len(one[0].images))))[0])
    return PairedDifference(difference, interval, _mcnemar(metric, one, other))


def _mcnemar(metric: str, one: Sequence[AnyOutputs], other: Sequence[AnyOutputs]) -> float | None:
    if not len(one) == len(other) == 1 or _method(metric)[1] != names.TOP1:
        return None
    assert isinstance(one[0], ClassOutputs)
    assert isinstance(other[0], ClassOutputs)
    return hypothesis_tests.mcnemar(one[0].right, other[0].right)


def _mean_statistic(metric: str, seeds: Sequence[AnyOutputs]) -> Statistic | None:
    found = [statistic for outputs in seeds if (statistic := statistic_of(metric, outputs)) is not None]
    return mean_of(found) if found and len(found) == len(seeds) else None


def _method(metric: str) -> tuple[str, str]:
    """Split test/linear_top1 into linear_ and top1."""
    name = metric.partition("/")[2]
    for method in (names.LINEAR, names.KNN):
        if name.startswith(method):
            return method, name.removeprefix(method)
    return "", name
