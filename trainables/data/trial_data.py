"""Data of one trial: pretraining images, labelled images, and the classes of the probe."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from trainables.config import TrialConfig, data_fingerprint
from trainables.data.bands import EncoderInputs, SpectralBand
from trainables.data.data_split import DataSplit, label_budget, limited
from trainables.data.seasons import SeasonPairs, visits, whole_places
from trainables.data.store import ImageStore
from trainables.data.store_targets import expand_positive, other_values, without_seasons, wrong_kind
from trainables.distributed import rank, sum_over_ranks, world_size
from trainables.errors import BadInputError
from trainables.memory.constants import LABEL_FREE_IMAGES

MOMENTS_CHUNK = 256
HIGH_BITS = 16
"""Bits of each half in which squares are summed, so that no data set overflows 64-bit integers."""


class TrialData:
    """Splits, targets and pixels of one trial.

    The simultaneous probe trains only if `train` and `bank` are from the same store.

    Attributes:
        train: Pretraining images, including unlabelled ones.
        bank: Train images whose labels may be used, for kNN, logistic regression and the simultaneous probe; empty
            without labels.
        evaluated: Labelled images of each held-out split; empty without labels.
        has_labels: Whether there are any labels.
        seasons: Partners of the train images at other dates; None unless pairs of seasons are trained on.
        classes: Names of the probe's outputs.
        positive: Mask (classes,) bool of the positive classes; None without a positive rule.
    """

    def __init__(self, config: TrialConfig, store: ImageStore, evaluation_store: ImageStore | None = None) -> None:
        self._config, self._alone = config, evaluation_store is None
        self._pretrained = store.with_bands(config.bands)
        self._evaluated = self._pretrained if evaluation_store is None else evaluation_store.with_bands(config.bands)
        _check_kind(config, self._evaluated)
        self.has_labels = self._evaluated.info.labelled_images > 0
        self.has_probe = self._alone and self.has_labels
        self.classes, self.positive = _outputs(config, self._evaluated)
        train, validation = self._cut()
        self._paired = config.pairs == "season" and config.epochs > 0
        if self._alone:
            train = self._limited(train)
        self.train = train if self._alone else self._unlabelled()
        self.labelled = label_budget(train, config.label_fraction, config.label_draw)
        self.bank = train if self.labelled.all() else train.part(np.flatnonzero(self.labelled))
        self.number_moments = _moments(self.bank.targets) if self.has_numbers else (0.0, 1.0)
        if self.has_probe and self.has_numbers:  # heads learn the standardised number, ridge regression the raw one
            mean, deviation = self.number_moments
            self.train = DataSplit(self.train.store, self.train.rows, (self.train.targets - mean) / deviation)
        if config.training == "supervised":  # unlabelled images don't contribute
            self.train = self.train.part(np.flatnonzero(self.labelled))
            self.labelled = np.ones(len(self.bank), dtype=np.bool_)
        self.seasons = SeasonPairs.of(self.train.store, self.train.rows) if self._paired else None
        held_out = {"val": validation, "test": self._split("test")}
        self._held_out = {name: split for name, split in held_out.items() if split}
        labelled = {name: split.labelled for name, split in self._held_out.items()} if self.has_labels else {}
        self.evaluated = {name: limited(split, config.max_test_images) for name, split in labelled.items()}
        self._check()

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the store, or of both stores."""
        evaluated = None if self._alone else self._evaluated.fingerprint
        return data_fingerprint(self._pretrained.fingerprint, evaluated)

    @property
    def positive_classes(self) -> tuple[str, ...]:
        """Names of the positive classes."""
        if self.positive is None:
            return ()
        return tuple(
            name for name, is_positive in zip(self.classes, self.positive.tolist(), strict=True) if is_positive
        )

    @property
    def test(self) -> DataSplit:
        """The test split."""
        return self.evaluated["test"]

    @property
    def outputs(self) -> int:
        """Number of the probe's outputs, at least one."""
        return max(1, len(self.classes))

    @property
    def selection(self) -> str:
        """Name of the split evaluated after every epoch: val if it exists, else test."""
        return next(iter(self._held_out))

    @property
    def several_labels(self) -> bool:
        """Whether the task is multi-label: the probe predicts each label independently."""
        return self._config.target == "labels"

    @property
    def has_numbers(self) -> bool:
        """Whether the task is regression: the probe predicts a number."""
        return self.has_labels and self._config.target == "number"

    @property
    def number(self) -> str:
        """Name of the number that images have; empty for classes."""
        return self._evaluated.info.number

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width of the stored pretraining images, in pixels."""
        return self._pretrained.info.image_size

    @property
    def channels(self) -> int:
        """Number of channels of the stored images, 3 for RGB."""
        return self._pretrained.info.channels

    @property
    def bands(self) -> tuple[SpectralBand, ...]:
        """Spectral band of each channel."""
        return self._pretrained.info.channel_bands

    @property
    def inputs(self) -> EncoderInputs:
        """Bands and largest value of the stored pixels, which the encoder takes as [0, 1]."""
        return self._pretrained.info.inputs

    @property
    def colours(self) -> tuple[int, int, int] | None:
        """Channel indices of red, green and blue; None if one of them is missing."""
        return self._pretrained.info.colours

    @cached_property
    def sample(self) -> DataSplit:
        """At most LABEL_FREE_IMAGES images of the selection split, for label-free metrics."""
        return limited(limited(self._held_out[self.selection], self._config.max_test_images), LABEL_FREE_IMAGES)

    def channel_moments(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of each channel over the train pixels.

        Sums are exact integers, so the result is independent of the number and order of the ranks.

        Args:
            device: Device of the reduction over ranks.

        Returns:
            Mean and standard deviation (C,) of pixels in [0, 1], float64 on the CPU. Constant channels have deviation
            1.
        """
        sums = torch.zeros(3, self.channels, dtype=torch.int64)
        numbers = np.arange(len(self.train))[rank() :: world_size()]
        for start in range(0, len(numbers), MOMENTS_CHUNK):
            pixels = self.train.pixels(numbers[start : start + MOMENTS_CHUNK])
            values = pixels.to(torch.int32).to(torch.int64)
            squares = values.square()
            parts = (values, squares >> HIGH_BITS, squares & (2**HIGH_BITS - 1))
            sums += torch.stack([part.sum((0, 2, 3)) for part in parts])
        full = float(self.inputs.full)
        height, width = self.image_shape
        wide = sum_over_ranks(sums.to(device)).cpu().double()
        mean, high, low = wide / (len(self.train) * height * width)
        deviation = (high * 2.0**HIGH_BITS + low - mean.square()).clamp_min(0.0).sqrt()
        return mean / full, torch.where(deviation > 0, deviation / full, torch.ones_like(deviation))

    def _unlabelled(self) -> DataSplit:
        """Return all train images without targets, for pretraining when another store is evaluated."""
        rows = self._pretrained.split("train")
        split = DataSplit(self._pretrained, rows, torch.zeros(len(rows), dtype=torch.int64))
        return self._limited(split)

    def _limited(self, train: DataSplit) -> DataSplit:
        """Return at most `max_train_images` train images; for pairs of seasons, all dates of a place or none."""
        limit = self._config.max_train_images
        if not self._paired or limit is None or limit >= len(train):
            return limited(train, limit)
        names = train.store.names(train.rows)
        return train.part(whole_places(names, visits(names, train.store.chips(train.rows)), limit))

    def _cut(self) -> tuple[DataSplit, DataSplit | None]:
        """Return train without the images held out for selection, and those held-out images."""
        share, train = self._config.validation_fraction, self._split("train")
        if share > 0.0:
            cut = self._evaluated.validation_slice(train.rows, share)
            own, held_out = (np.searchsorted(train.rows, rows) for rows in (cut.train, cut.validation))
            return train.part(own), train.part(held_out)
        return train, self._split("validation") if "validation" in self._evaluated.info.splits else None

    def _split(self, name: str) -> DataSplit:
        store, rows = self._evaluated, self._evaluated.split(name)
        if not self.has_labels:
            return DataSplit(store, rows, torch.zeros(len(rows), dtype=torch.int64))
        if self._config.target == "positive":
            return DataSplit(store, rows, store.positive_mask(rows, self._config.positive).long())
        if self._config.target == "labels":
            return DataSplit(store, rows, store.label_matrix(rows))
        if self.has_numbers:
            return DataSplit(store, rows, store.numbers(rows).nan_to_num())  # 0 as placeholder
        return DataSplit(store, rows, store.labels(rows).clamp_min(0))  # placeholder class with weight 0

    def _check(self) -> None:
        config, name = self._config, self._pretrained.info.name
        faults = []
        if config.epochs > 0 and config.batch_size > len(self.train):
            faults.append(
                f"batch_size: {config.batch_size} is larger than the {len(self.train)} train images of {name}; "
                f"set it to at most {len(self.train)}"
            )
        if not self._alone:
            faults += other_values(self._pretrained.info, self._evaluated.info)
        faults += self._label_faults()
        faults += self._season_faults()
        validated = "val" in self._held_out
        if config.wanted_specificity is not None and not validated:
            faults.append(
                "wanted_specificity: its threshold is chosen on validation, and there is none; set validation_fraction"
            )
        if config.linear_candidates and not validated:
            faults.append("linear_candidates: one is chosen on validation, and there is none; set validation_fraction")
        if faults:
            raise BadInputError(*faults)

    def _label_faults(self) -> list[str]:
        """Return the problems of the existing labels."""
        name = self._evaluated.info.name
        if not self.has_labels:
            learns = self._config.training == "supervised"
            return [f"training: 'supervised' learns labels, and {name} has none"] if learns else []
        images = {"train": self.bank, **self.evaluated}
        return [
            f"labels: no image of {name}'s {split} split has one; label some of them"
            for split, own in images.items()
            if not len(own)
        ]

    def _season_faults(self) -> list[str]:
        """Return an error for pairs of seasons if no place of the store has two dates.

        A limit to few train images may leave only places of one date; this isn't an error, and the metric
        `train/other_date` shows it.
        """
        if self.seasons is None or self.seasons.paired.any():
            return []
        store = self._pretrained
        everything = SeasonPairs.of(store, store.split("train"))
        return [] if everything.paired.any() else [str(without_seasons(store.info.name, everything.counts))]


def _outputs(config: TrialConfig, store: ImageStore) -> tuple[tuple[str, ...], Tensor | None]:
    if not store.info.labelled_images or store.info.number:
        return (), None  # no classes are needed
    if config.target == "positive":
        expand_positive(store.info, config.positive)
        return ("negative", "positive"), torch.tensor([False, True])
    names = store.info.class_names
    if not config.positive:
        return names, None
    chosen = expand_positive(store.info, config.positive)
    return names, torch.tensor([name in chosen for name in names])


def _check_kind(config: TrialConfig, store: ImageStore) -> None:
    """Raise BadInputError if the trial needs a regression target and the store has classes, or vice versa."""
    if store.info.labelled_images and (config.target == "number") != bool(store.info.number):
        raise wrong_kind(store.info, config.target)


def _moments(numbers: Tensor) -> tuple[float, float]:
    """Return mean and standard deviation; the deviation of equal numbers is 1."""
    deviation = float(numbers.std(correction=0)) if len(numbers) else 0.0
    return (float(numbers.mean()) if len(numbers) else 0.0), deviation or 1.0
