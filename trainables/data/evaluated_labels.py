"""Labels or numbers of a trial's evaluation images, read from a store's index without its pixels."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.index_table import check_labels, known_labels, multi_hot, open_rows
from trainables.data.splits import SPLITS
from trainables.data.stable_hash import SUBSET_SALT
from trainables.data.store_format import ROWS_FILE
from trainables.data.store_info import StoreInfo
from trainables.data.validation_slice import validation_slice


def evaluated_labels(
    info: StoreInfo, folder: Path, *, validation_fraction: float, limit: int | None
) -> dict[str, NDArray[np.bool_]]:
    """Return the labels (N, classes) of the evaluated images of `val` and `test`, chosen as TrialData does.

    Validation is the store's own split, or the slice that a trial cuts from train. Unlabelled images are left out, and
    at most `limit` others are kept. An empty split has zero rows.
    """
    rows = open_rows(folder / ROWS_FILE)
    check_labels(info, rows, folder / ROWS_FILE)
    labels = rows.column("labels")
    hot = multi_hot(labels.offsets.to_numpy(), labels.values.to_numpy(), len(info.class_names))
    return {name: hot[own] for name, own in _evaluated(info, rows, validation_fraction, limit).items()}


def evaluated_numbers(
    info: StoreInfo, folder: Path, *, validation_fraction: float, limit: int | None
) -> dict[str, NDArray[np.float64]]:
    """Return the numbers (N,) of the evaluated images of `val` and `test`, which `evaluated_labels` describes."""
    rows = open_rows(folder / ROWS_FILE)
    numbers = rows.column("number").to_numpy(zero_copy_only=False)
    return {name: numbers[own] for name, own in _evaluated(info, rows, validation_fraction, limit).items()}


def _evaluated(
    info: StoreInfo, rows: Any, validation_fraction: float, limit: int | None
) -> dict[str, NDArray[np.int64]]:
    """Return the rows of the evaluated images of `val` and `test`."""
    split = rows.column("split").indices.to_numpy()
    train, validation, test = (np.flatnonzero(split == SPLITS.index(name)) for name in SPLITS)
    if validation_fraction > 0.0 and "validation" not in info.splits:
        validation = validation_slice(info, rows, train, validation_fraction).validation
    known, fractions = known_labels(rows), rows.column(f"hash_{SUBSET_SALT}").to_numpy()
    chosen = {"val": validation[known[validation]], "test": test[known[test]]}
    return {name: _limited(own, fractions, limit) for name, own in chosen.items()}


def _limited(numbers: NDArray[np.int64], fractions: NDArray[np.float64], limit: int | None) -> NDArray[np.int64]:
    if limit is None or limit >= len(numbers):
        return numbers
    return numbers[np.argsort(fractions[numbers], kind="stable")[:limit]]
