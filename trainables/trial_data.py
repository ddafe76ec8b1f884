"""The images of one trial: which rows are train, validation and test, and what the probe has to tell apart."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.config import SimCLRConfig
from trainables.data.catalog import expand_positive
from trainables.data.stable_hash import SUBSET_SALT, VALIDATION_SALT, stable_fraction
from trainables.data.store import ImageStore
from trainables.distributed import rank, sum_over_ranks, world_size
from trainables.errors import BadInputError

Rows = NDArray[np.int64]
SAMPLE_IMAGES = 1024
MOMENTS_CHUNK = 1024


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
        if config.epochs > 0 and self.channels != 3:
            _refuse_colour_operations(config, self.channels)

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

    @property
    def channels(self) -> int:
        """Channels of the stored images, 3 for RGB."""
        return self.store.info.channels

    @cached_property
    def sample(self) -> Split:
        """At most SAMPLE_IMAGES of the selection split, for what needs no more."""
        return self._split(_subset(self.store, self.evaluated[self.selection].rows, SAMPLE_IMAGES))

    def pixels(self, rows: Rows) -> Tensor:
        """Return uint8 images (N, C, H, W) of rows of the store."""
        return self.store.images(rows).permute(0, 3, 1, 2)

    def channel_moments(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return mean and deviation of each channel over train, pixels in [0, 1], (C,) float64 on the CPU.

        The ranks meet on `device`; integer sums, so that neither their order nor their number matters. A constant
        channel has deviation 1.
        """
        sums = torch.zeros(2, self.channels, dtype=torch.int64)
        rows = self.train.rows[rank() :: world_size()]
        for start in range(0, len(rows), MOMENTS_CHUNK):
            pixels = self.pixels(rows[start : start + MOMENTS_CHUNK]).long()
            sums += torch.stack([pixels.sum((0, 2, 3)), pixels.square().sum((0, 2, 3))])
        height, width = self.image_shape
        mean, square = sum_over_ranks(sums.to(device)).cpu().double() / (len(self.train) * height * width)
        deviation = (square - mean.square()).clamp_min(0.0).sqrt()
        return mean / 255.0, torch.where(deviation > 0, deviation / 255.0, torch.ones_like(deviation))

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


def _refuse_colour_operations(config: SimCLRConfig, channels: int) -> None:
    """Raise BadInputError for operations that mean something for red, green and blue alone."""
    faults = []
    colours = [name for name in config.jitter_operations if name in ("saturation", "hue")]
    if colours and config.jitter_probability > 0:
        faults.append(f"jitter_operations: {', '.join(colours)} need 3 channels, the images have {channels}; leave out")
    if config.grayscale_probability > 0:
        faults.append(f"grayscale_probability: needs 3 channels, the images have {channels}; set it to 0")
    if faults:
        raise BadInputError("\n".join(faults))


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
