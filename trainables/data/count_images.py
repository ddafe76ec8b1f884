"""Count of the images that a trial chooses, in a store's index without its pixels."""

from typing import Any

import numpy as np
import pyarrow as pa

from trainables.data import chip
from trainables.data.image_counts import ImageCounts
from trainables.data.index_table import known_labels
from trainables.data.seasons import visits, whole_places
from trainables.data.splits import SPLITS
from trainables.data.stable_hash import SUBSET_SALT
from trainables.data.store_info import StoreInfo
from trainables.data.validation_slice import Numbers, ValidationSlice, validation_slice


def count_images(info: StoreInfo, rows: Any, *, share: float, limit: int | None, whole: bool) -> ImageCounts:
    """Return the numbers of the images that TrialData chooses.

    Args:
        info: Metadata of the store.
        rows: Index of the store, as `rows_at` returns it.
        share: Share of train to hold out, `validation_fraction`.
        limit: Maximum number of train images; None: all.
        whole: Whether the limit takes all dates of a place or none, as for pairs of seasons.

    Raises:
        BadInputError: Train or validation would be empty.
    """
    train = np.flatnonzero(rows.column("split").indices.to_numpy() == SPLITS.index("train"))
    cut = validation_slice(info, rows, train, share) if share > 0.0 else ValidationSlice(train, train[:0])
    kept = _limited(rows, cut.train, limit, whole=whole)
    labelled, validated = (int(known_labels(rows)[own].sum()) for own in (kept, cut.validation))
    return ImageCounts(len(kept), labelled, len(cut.validation), cut.places, cut.whole, cut.left_out, validated)


def _limited(rows: Any, train: Numbers, limit: int | None, *, whole: bool) -> Numbers:
    if limit is None or limit >= len(train):
        return train
    if not whole:
        order = np.argsort(rows.column(f"hash_{SUBSET_SALT}").to_numpy()[train], kind="stable")
        return train[order[:limit]]
    names = rows.column("name").take(pa.array(train)).to_pylist()
    chips = chip.read(rows.column("chip").take(pa.array(train))) if "chip" in rows.schema.names else None
    return train[whole_places(names, visits(names, chips), limit)]
