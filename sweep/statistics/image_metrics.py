"""Metrics as functions of image weights, from the per-image outputs of a trial; pure.

`trainables.evaluation` computes each metric once, over all images; resampling (intervals.py) needs these functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax

from sweep.statistics import resampled_metrics
from sweep.statistics.confusion import LINEAR_LOGITS, LOGITS, has_several_labels
from sweep.statistics.intervals import (
    HeldOut,
)
from sweep.statistics.label_metrics import (
    LabelOutputs,
    label_outputs,
    label_statistic,
    tiles_of,
)
from sweep.statistics.number_outputs import (
    NumberOutputs,
    has_numbers,
    number_outputs,
    number_statistic,
)
from sweep.statistics.resampled_metrics import Statistic, Truth
from trainables.metrics import names

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
    method, _ = method_of(metric)
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
        return number_statistic(method_of(metric)[1], outputs)
    if (decided := decisions(metric, outputs)) is not None:
        return resampled_metrics.share_of(*decided)
    _, name = method_of(metric)
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


def decisions(metric: str, outputs: AnyOutputs) -> tuple[Truth, Truth] | None:
    """Return which images (n,) are right, and among which images the share is taken; None if it isn't a share."""
    _, name = method_of(metric)
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


def method_of(metric: str) -> tuple[str, str]:
    """Split test/linear_top1 into linear_ and top1."""
    name = metric.partition("/")[2]
    for method in (names.LINEAR, names.KNN):
        if name.startswith(method):
            return method, name.removeprefix(method)
    return "", name
