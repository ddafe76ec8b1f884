"""Metrics as functions of which images count how often, from the per-image outputs of a trial; pure.

What `trainables.evaluation` computes once, over all images, is given here to resampling (intervals.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import softmax

from sweep.statistics import hypothesis_tests, resampled_metrics
from sweep.statistics.confusion import LINEAR_LOGITS, LOGITS, has_several_labels
from sweep.statistics.intervals import RESAMPLES, HeldOut, Interval, image_interval, wilson_interval
from sweep.statistics.label_metrics import (
    LabelOutputs,
    bounded_resamples,
    label_outputs,
    label_statistic,
    tiles_of,
)
from sweep.statistics.resampled_metrics import Statistic, mean_of
from trainables import metric_names as names
from trainables.evaluation.multilabel import HALF

KNN = "knn"
"""Column of the class that the neighbours vote for, or of the score that they give each label."""


@dataclass(frozen=True)
class Outputs:
    """What one classifier said of each image of a split."""

    labels: NDArray[np.int64]
    """(n,) classes."""
    predicted: NDArray[np.int64]
    """(n,)."""
    positive: NDArray[np.bool_]
    """(K,): the classes that count as positive; none without a rule."""
    logits: NDArray[np.float64] | None
    """(n, K); the neighbours have none."""
    images: tuple[str, ...]
    """(n,) names."""

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the class was found (n,)."""
        return np.asarray(self.predicted == self.labels)

    @property
    def positive_truth(self) -> NDArray[np.bool_]:
        """Whether the image is positive (n,)."""
        return self.positive[self.labels]

    @property
    def positive_scores(self) -> NDArray[np.float64]:
        """The positives' summed probability (n,)."""
        assert self.logits is not None
        return np.asarray(softmax(self.logits, axis=1)[:, self.positive].sum(axis=1))

    def of(self, chosen: NDArray[np.bool_]) -> "Outputs":
        """Return those of some images."""
        images = tuple(np.asarray(self.images)[chosen])
        logits = None if self.logits is None else self.logits[chosen]
        return replace(self, labels=self.labels[chosen], predicted=self.predicted[chosen], logits=logits, images=images)

    def held_out(self) -> HeldOut:
        """Return how the images were drawn: together where they share a tile, else with so many of each side."""
        tiles = tiles_of(self.images)
        if tiles is not None:
            return HeldOut(np.zeros(len(tiles), dtype=np.int64), tiles)
        return HeldOut(self.positive_truth.astype(np.int64))


AnyOutputs = Outputs | LabelOutputs


def outputs_of(table: pa.Table, classes: Sequence[str], positive: Sequence[str], metric: str) -> AnyOutputs | None:
    """Return what the classifier that a metric is about said; None where that isn't in the outputs."""
    method, _ = _method(metric)
    column = {"": LOGITS, names.LINEAR: LINEAR_LOGITS, names.KNN: KNN}[method]
    if column not in table.column_names:
        return None
    several = has_several_labels(table)
    width = 1 if method == names.KNN and not several else len(classes)
    values = table[column].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    is_positive = np.array([name in positive for name in classes])
    if several:
        return label_outputs(table, values.astype(np.float64), is_positive, logits=method != names.KNN)
    return Outputs(
        labels=table["label"].to_numpy().astype(np.int64),
        predicted=(values[:, 0] if method == names.KNN else values.argmax(axis=1)).astype(np.int64),
        positive=is_positive,
        logits=None if method == names.KNN else values.astype(np.float64),
        images=tuple(table["name"].to_pylist()),
    )


def statistic_of(metric: str, outputs: AnyOutputs) -> Statistic | None:
    """Return a metric such as test/linear_sensitivity; None for one that isn't of single images' decisions."""
    _, name = _method(metric)
    if isinstance(outputs, LabelOutputs):
        found = label_statistic(name, outputs)
        if found is not None or not outputs.positive.any():
            return found
        return _binary_statistic(name, outputs.positive_scores > HALF, outputs)
    if name == names.TOP1:
        return resampled_metrics.share_of(outputs.right)
    if not outputs.positive.any():
        return None
    return _binary_statistic(name, outputs.positive[outputs.predicted], outputs)


def _binary_statistic(name: str, called: NDArray[np.bool_], outputs: AnyOutputs) -> Statistic | None:
    """Return a metric of positives and negatives, given which images are called positive."""
    truth = outputs.positive_truth
    decided = called == truth
    found: dict[str, Statistic] = {
        names.SENSITIVITY: resampled_metrics.share_of(decided, truth),
        names.SPECIFICITY: resampled_metrics.share_of(decided, ~truth),
        names.ACCURACY: resampled_metrics.share_of(decided),
        names.BALANCED_ACCURACY: resampled_metrics.balanced_accuracy(decided, truth),
    }
    if name in (names.ROC_AUC, names.PR_AUC):
        if isinstance(outputs, Outputs) and outputs.logits is None:
            return None
        area = resampled_metrics.roc_auc if name == names.ROC_AUC else resampled_metrics.average_precision
        return area(outputs.positive_scores, truth)
    return found.get(name)


def sampling_interval(metric: str, seeds: Sequence[AnyOutputs]) -> Interval | None:
    """Return the 95 % interval of a metric over the test images, of one trial or the mean over seeds; None if unknown.

    Shares of one trial get Wilson's interval; everything else, and images that share tiles, the bootstrap; several
    labels an image with as many samples as their number allows.
    """
    statistic = _mean_statistic(metric, seeds)
    if statistic is None:
        return None
    held_out = seeds[0].held_out()
    if len(seeds) == 1 and held_out.tiles is None and (counts := _counts(metric, seeds[0])) is not None:
        return wilson_interval(*counts)
    return image_interval(held_out, statistic, resamples=_resamples(seeds))


def _resamples(seeds: Sequence[AnyOutputs]) -> int:
    """Return how many bootstrap samples an interval over these trials takes."""
    first = seeds[0]
    return bounded_resamples(first) if isinstance(first, LabelOutputs) else RESAMPLES


@dataclass(frozen=True)
class Pair:
    """How a setting differs from another on the same images."""

    difference: float
    interval: Interval | None
    """95 %, over the test images: the seeds are taken as they are."""
    p_value: float | None
    """Of McNemar's test, where both have one trial and the metric is top-1."""


def paired(metric: str, one: Sequence[AnyOutputs], other: Sequence[AnyOutputs]) -> Pair | None:
    """Compare two settings image by image; None where their images differ, or the metric isn't of single images."""
    statistics_ = _mean_statistic(metric, one), _mean_statistic(metric, other)
    if statistics_[0] is None or statistics_[1] is None or len({outputs.images for outputs in (*one, *other)}) > 1:
        return None
    between = resampled_metrics.difference(statistics_[0], statistics_[1])
    return Pair(
        float(between(np.ones((1, len(one[0].images))))[0]),
        image_interval(one[0].held_out(), between, resamples=_resamples(one)),
        _mcnemar(metric, one, other),
    )


def _mcnemar(metric: str, one: Sequence[AnyOutputs], other: Sequence[AnyOutputs]) -> float | None:
    if not len(one) == len(other) == 1 or _method(metric)[1] != names.TOP1:
        return None
    assert isinstance(one[0], Outputs)
    assert isinstance(other[0], Outputs)
    return hypothesis_tests.mcnemar(one[0].right, other[0].right)


def _mean_statistic(metric: str, seeds: Sequence[AnyOutputs]) -> Statistic | None:
    found = [statistic for outputs in seeds if (statistic := statistic_of(metric, outputs)) is not None]
    return mean_of(found) if found and len(found) == len(seeds) else None


def _counts(metric: str, outputs: AnyOutputs) -> tuple[int, int] | None:
    """Return how many of how many images a share counts."""
    _, name = _method(metric)
    if isinstance(outputs, LabelOutputs):
        return None
    if name == names.TOP1:
        return int(outputs.right.sum()), len(outputs.right)
    decided = outputs.positive[outputs.predicted] == outputs.positive_truth
    among = {
        names.SENSITIVITY: outputs.positive_truth,
        names.SPECIFICITY: ~outputs.positive_truth,
        names.ACCURACY: np.ones(len(decided), dtype=np.bool_),
    }.get(name)
    return None if among is None else (int(decided[among].sum()), int(among.sum()))


def _method(metric: str) -> tuple[str, str]:
    """Split test/linear_top1 into linear_ and top1."""
    name = metric.partition("/")[2]
    for method in (names.LINEAR, names.KNN):
        if name.startswith(method):
            return method, name.removeprefix(method)
    return "", name
