"""The images of one trial: which rows are train, validation and test, and what the probe has to tell apart."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.config import SimCLRConfig
from trainables.data.catalog import expand_positive
from trainables.data.stable_hash import SUBSET_SALT, VALIDATION_SALT, stable_fraction
from trainables.data.store import ImageStore
from trainables.errors import BadInputError

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Rows of the store and their targets, both (N,) int64."""

    rows: Rows
    targets: Tensor

    def __len__(self) -> int:
        return len(self.rows)


class TrialData:
    """Splits, targets and pixels of one trial.

    `classes` are the names of the probe's outputs; `positive` is a (classes,) bool tensor of those that count as
    positive, or None where the trial has no positive rule.
    """

    def __init__(self, config: SimCLRConfig, store: ImageStore) -> None:
        self.store = store
        self._config = config
        self.classes, self.positive = _outputs(config, store)
        train, validation = self._cut(store.split("train"))
        self.train = self._split(_subset(store, train, config.max_train_images))
        self.validation = self._split(_subset(store, validation, config.max_test_images)) if len(validation) else None
        self.test = self._split(_subset(store, store.split("test"), config.max_test_images))
        if config.epochs > 0 and config.batch_size > len(self.train):
            raise BadInputError(
                f"batch_size: {config.batch_size} is larger than the {len(self.train)} train images of "
                f"{store.info.name}; "
                f"set it to at most {len(self.train)}"
            )

    @property
    def evaluated(self) -> dict[str, Split]:
        """The held-out splits by the prefix of their metrics: val where there is a validation slice, and test."""
        return {"test": self.test} if self.validation is None else {"val": self.validation, "test": self.test}

    @property
    def selection(self) -> str:
        """The split that is evaluated after every epoch: val where there is one, else test."""
        return next(iter(self.evaluated))

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width of the stored images."""
        return self.store.info.image_size

    def pixels(self, rows: Rows) -> Tensor:
        """Return uint8 images (N, 3, H, W) of rows of the store."""
        return self.store.images(rows).permute(0, 3, 1, 2)

    def _cut(self, rows: Rows) -> tuple[Rows, Rows]:
        """Return train without and with only the validation slice."""
        share = self._config.validation_fraction
        if share == 0.0:
            return rows, rows[:0]
        held_out = stable_fraction(self.store.names(rows), salt=VALIDATION_SALT) < share
        if held_out.all() or not held_out.any():
            raise BadInputError(
                f"validation_fraction: {share} of the {len(rows)} train images of {self.store.info.name} leaves one "
                "side empty; choose one between 0 and 1 that doesn't"
            )
        return rows[~held_out], rows[held_out]

    def _split(self, rows: Rows) -> Split:
        if self._config.target == "positive":
            return Split(rows, self.store.positive_mask(rows, self._config.positive).long())
        return Split(rows, self.store.labels(rows))


def _outputs(config: SimCLRConfig, store: ImageStore) -> tuple[tuple[str, ...], Tensor | None]:
    if config.target == "positive":
        expand_positive(store.info, config.positive)
        return ("negative", "positive"), torch.tensor([False, True])
    names = store.info.class_names
    if not config.positive:
        return names, None
    chosen = expand_positive(store.info, config.positive)
    return names, torch.tensor([name in chosen for name in names])


def _subset(store: ImageStore, rows: Rows, limit: int | None) -> Rows:
    """Return at most `limit` rows, those of the smallest stable hash, in the store's order."""
    if limit is None or limit >= len(rows):
        return rows
    order = np.argsort(stable_fraction(store.names(rows), salt=SUBSET_SALT), kind="stable")
    chosen: Rows = np.sort(rows[order[:limit]])
    return chosen
