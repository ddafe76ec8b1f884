"""Confusion matrices and metrics of each label, from the per-image outputs of a trial; pure."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trainables.evaluation.multilabel import average_precisions

LOGITS, LINEAR_LOGITS = "logits", "linear_logits"
"""Columns of the outputs: the probe's logits (absent for an untrained encoder) and the logistic regression's."""


def classifier_column(table: pa.Table) -> str:
    """Return the column with the predictions: the probe's if there is one, else the logistic regression's."""
    return LOGITS if LOGITS in table.column_names else LINEAR_LOGITS


def outputs_confusion(table: pa.Table, classes: Sequence[str], *, column: str | None = None) -> NDArray[np.int64]:
    """Return the confusion matrix of per-image outputs; the prediction is the first largest logit.

    Args:
        table: Outputs with the columns label and logits (lists of K).
        classes: Names of the K classes.
        column: Column of the logits; default: `classifier_column`.

    Returns:
        (K, K) counts: rows are true classes, columns predicted classes.

    Raises:
        ValueError: The logits do not have K entries.
    """
    count = len(classes)
    lists = table[column or classifier_column(table)].combine_chunks()
    values = lists.flatten().to_numpy(zero_copy_only=False)
    if len(values) != len(table) * count:
        raise ValueError(f"logits: {len(values)} values for {len(table)} images, must be {count} per image")
    predicted = values.reshape(-1, count).argmax(axis=1) if len(table) else np.zeros(0, dtype=np.int64)
    labels = table["label"].to_numpy().astype(np.int64)
    cells = np.bincount(labels * count + predicted, minlength=count * count)
    return cells.reshape(count, count).astype(np.int64)


def label_precisions(table: pa.Table, classes: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return the average precision and the share of images of each label, from multi-label outputs."""
    truth = np.zeros((len(table), len(classes)), dtype=np.bool_)
    for row, labels in enumerate(table["label"].to_pylist()):
        truth[row, labels] = True
    logits = table[classifier_column(table)].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    precisions = average_precisions(logits.reshape(truth.shape).astype(np.float64), truth)
    shares = truth.mean(axis=0)
    return {name: (float(precisions[k]), float(shares[k])) for k, name in enumerate(classes)}


def has_several_labels(table: pa.Table) -> bool:
    """Whether the outputs are multi-label: several labels per image."""
    return bool(pa.types.is_list(table["label"].type))


def row_normalised(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each row as shares of its sum; NaN in a row without counts."""
    totals = matrix.sum(axis=1, keepdims=True).astype(np.float64)
    totals[totals == 0.0] = np.nan
    shares: NDArray[np.float64] = matrix / totals
    return shares


def per_class(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the recall of each class (K,): the share of its images that were recognised; NaN without images."""
    return row_normalised(matrix).diagonal().copy()
