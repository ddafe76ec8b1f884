"""Subsets of a store's images: a split, at most so many of its images, and the images of a label budget."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.data.share_count import share_count
from trainables.data.stable_hash import LABEL_SALT, SUBSET_SALT, stable_fraction
from trainables.data.store import ImageStore

RowNumbers = NDArray[np.int64]


@dataclass(frozen=True)
class DataSplit:
    """Subset of a store's images with their targets: classes (N,) int64, or labels (N, K) bool.

    Unlabelled images have placeholder targets: class 0, or no label.
    """

    store: ImageStore
    rows: RowNumbers
    targets: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def pixels(self, part: RowNumbers | slice) -> Tensor:
        """Return images (n, C, H, W), uint8 or uint16, by their positions in the split."""
        return self.store.images(self.rows[part]).permute(0, 3, 1, 2)

    @property
    def labelled(self) -> "DataSplit":
        """The labelled images of the split."""
        known = self.store.labelled(self.rows)
        return self if known.all() else self.part(np.flatnonzero(known))

    def part(self, numbers: RowNumbers) -> "DataSplit":
        """Return a subset of the split, by positions."""
        return DataSplit(self.store, self.rows[numbers], self.targets[torch.from_numpy(numbers)])


def limited(split: DataSplit, limit: int | None) -> DataSplit:
    """Return at most `limit` images of a split, those with the smallest stable hash, in the store's order."""
    if limit is None or limit >= len(split):
        return split
    order = np.argsort(split.store.stable_fractions(split.rows, SUBSET_SALT), kind="stable")
    return split.part(np.sort(order[:limit]))


def label_budget(split: DataSplit, fraction: float, draw: int) -> NDArray[np.bool_]:
    """Return a mask (N,) of the images whose labels a label budget includes.

    Each class contributes its `fraction` of labelled images with the smallest stable hash, at least one. With multiple
    labels per image, the fraction is of all images; a label that none of them has adds one image that has it. Within a
    draw, a smaller budget is a subset of a larger one.
    """
    bought = np.zeros(len(split), dtype=np.bool_)
    known = split.store.labelled(split.rows)
    if not known.all():
        numbers = np.flatnonzero(known)
        bought[numbers] = label_budget(split.part(numbers), fraction, draw)
        return bought
    fractions = split.store.stable_fractions(split.rows, LABEL_SALT)
    if draw > 0:
        fractions = stable_fraction([number.hex() for number in fractions.tolist()], salt=f"{LABEL_SALT} {draw}")
    order = np.argsort(fractions, kind="stable")
    targets = split.targets.numpy()
    if targets.dtype == np.float64:
        bought[order[: share_count(fraction, len(order))]] = True
        return bought
    if targets.ndim == 1:
        for label in np.unique(targets):
            members = order[targets[order] == label]
            bought[members[: share_count(fraction, len(members))]] = True
        return bought
    bought[order[: share_count(fraction, len(order))]] = True
    for label in range(targets.shape[1]):
        carriers = order[targets[order, label]]
        bought[carriers[:1]] = True  # the first in hash order, which any larger budget also includes
    return bought
