"""The images of one trial: which are pretrained on, which are labelled, and what the probe has to tell apart."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.config import TrialConfig, data_fingerprint
from trainables.data.bands import Band
from trainables.data.catalog import expand_positive, wrong_kind
from trainables.data.stable_hash import LABEL_SALT, SUBSET_SALT, VALIDATION_SALT, stable_fraction
from trainables.data.store import ImageStore
from trainables.distributed import rank, sum_over_ranks, world_size
from trainables.errors import BadInputError
from trainables.memory.constants import LABEL_FREE_IMAGES

Rows = NDArray[np.int64]
MOMENTS_CHUNK = 256
HIGH_BITS = 16
"""Squares are summed in two halves of so many bits, so that no data set overflows 64."""


@dataclass(frozen=True)
class Split:
    """Some images of a store, and their targets: (N,) int64 classes, or (N, K) bool labels.

    The targets of unlabelled images mean nothing: class 0, or no label.
    """

    store: ImageStore
    rows: Rows
    targets: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def pixels(self, part: Rows | slice) -> Tensor:
        """Return the images (n, C, H, W) of a part of the split, by their numbers in it: uint8 or uint16."""
        return self.store.images(self.rows[part]).permute(0, 3, 1, 2)

    @property
    def labelled(self) -> "Split":
        """The images whose labels are known."""
        known = self.store.labelled(self.rows)
        return self if known.all() else self.part(np.flatnonzero(known))

    def part(self, numbers: Rows) -> "Split":
        """Return some images of the split."""
        return Split(self.store, self.rows[numbers], self.targets[torch.from_numpy(numbers)])


class TrialData:
    """Splits, targets and pixels of one trial.

    `train` is trained on, unlabelled images too. `bank` are the train images whose labels may be used: for kNN and the
    logistic regression, and by the probe that learns alongside, which there is only where both are of one store.
    `evaluated` are the labelled images of the held-out splits. Without any label `has_labels` is False, `bank` is
    empty, and nothing is `evaluated`. `classes` are the names of the probe's outputs; `positive` is a (classes,) bool
    tensor of those that count as positive, or None where the trial has no positive rule.
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
        if self._alone:
            train = limited(train, config.max_train_images)
        self.train = train if self._alone else self._unlabelled()
        self.labelled = _budget(train, config.label_fraction, config.label_draw)
        self.bank = train if self.labelled.all() else train.part(np.flatnonzero(self.labelled))
        self.number_moments = _moments(self.bank.targets) if self.has_numbers else (0.0, 1.0)
        if self.has_probe and self.has_numbers:  # heads learn the number standardised, the regression as it is
            mean, deviation = self.number_moments
            self.train = Split(self.train.store, self.train.rows, (self.train.targets - mean) / deviation)
        if config.training == "supervised":  # nothing is learned from the others
            self.train = self.train.part(np.flatnonzero(self.labelled))
            self.labelled = np.ones(len(self.bank), dtype=np.bool_)
        held_out = {"val": validation, "test": self._split("test")}
        self._held_out = {name: split for name, split in held_out.items() if split}
        labelled = {name: split.labelled for name, split in self._held_out.items()} if self.has_labels else {}
        self.evaluated = {name: limited(split, config.max_test_images) for name, split in labelled.items()}
        self._check()

    @property
    def fingerprint(self) -> str:
        """That of the store, or of both."""
        evaluated = None if self._alone else self._evaluated.fingerprint
        return data_fingerprint(self._pretrained.fingerprint, evaluated)

    @property
    def positive_classes(self) -> tuple[str, ...]:
        """The classes that count as positive."""
        if self.positive is None:
            return ()
        return tuple(
            name for name, is_positive in zip(self.classes, self.positive.tolist(), strict=True) if is_positive
        )

    @property
    def test(self) -> Split:
        """What is reported on."""
        return self.evaluated["test"]

    @property
    def outputs(self) -> int:
        """Outputs of the probe, at least one."""
        return max(1, len(self.classes))

    @property
    def selection(self) -> str:
        """The split that is evaluated after every epoch: val where there is one, else test."""
        return next(iter(self._held_out))

    @property
    def several_labels(self) -> bool:
        """Whether the probe answers yes or no for each label."""
        return self._config.target == "labels"

    @property
    def has_numbers(self) -> bool:
        """Whether the probe predicts a number."""
        return self.has_labels and self._config.target == "number"

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width of the stored images that are pretrained on."""
        return self._pretrained.info.image_size

    @property
    def channels(self) -> int:
        """Channels of the stored images, 3 for RGB."""
        return self._pretrained.info.channels

    @property
    def bands(self) -> tuple[Band, ...]:
        """What each channel measures."""
        return self._pretrained.info.channel_bands

    @property
    def full(self) -> float:
        """The largest stored value, which a pixel of 1 stands for."""
        return float(np.iinfo(self._pretrained.info.dtype).max)

    @property
    def colours(self) -> tuple[int, int, int] | None:
        """Which channels are red, green and blue; None where one of them is missing."""
        return self._pretrained.info.colours

    @cached_property
    def sample(self) -> Split:
        """At most LABEL_FREE_IMAGES of the selection split, for what needs no more."""
        return limited(limited(self._held_out[self.selection], self._config.max_test_images), LABEL_FREE_IMAGES)

    def channel_moments(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return mean and deviation of each channel over train, pixels in [0, 1], (C,) float64 on the CPU.

        The ranks meet on `device`; integer sums, so that neither their order nor their number matters. A constant
        channel has deviation 1.
        """
        sums = torch.zeros(3, self.channels, dtype=torch.int64)
        numbers = np.arange(len(self.train))[rank() :: world_size()]
        for start in range(0, len(numbers), MOMENTS_CHUNK):
            pixels = self.train.pixels(numbers[start : start + MOMENTS_CHUNK])
            values = pixels.to(torch.int32).to(torch.int64)
            squares = values.square()
            parts = (values, squares >> HIGH_BITS, squares & (2**HIGH_BITS - 1))
            sums += torch.stack([part.sum((0, 2, 3)) for part in parts])
        full = self.full
        height, width = self.image_shape
        wide = sum_over_ranks(sums.to(device)).cpu().double()
        mean, high, low = wide / (len(self.train) * height * width)
        deviation = (high * 2.0**HIGH_BITS + low - mean.square()).clamp_min(0.0).sqrt()
        return mean / full, torch.where(deviation > 0, deviation / full, torch.ones_like(deviation))

    def _unlabelled(self) -> Split:
        """Return what is pretrained on where another store is evaluated on: all train images, without targets."""
        rows = self._pretrained.split("train")
        split = Split(self._pretrained, rows, torch.zeros(len(rows), dtype=torch.int64))
        return limited(split, self._config.max_train_images)

    def _cut(self) -> tuple[Split, Split | None]:
        """Return train without and with only what is held out for selection."""
        share, info = self._config.validation_fraction, self._evaluated.info
        train = self._split("train")
        if "validation" in info.splits:
            if share > 0.0:
                raise BadInputError(
                    f"validation_fraction: {info.name} has its own validation split; set it to 0, got {share}"
                )
            return train, self._split("validation")
        if share == 0.0:
            return train, None
        held_out = self._evaluated.stable_fractions(train.rows, VALIDATION_SALT) < share
        if held_out.all() or not held_out.any():
            raise BadInputError(
                f"validation_fraction: {share} of the {len(train)} train images of {info.name} leaves one side empty; "
                "choose one between 0 and 1 that doesn't"
            )
        return train.part(np.flatnonzero(~held_out)), train.part(np.flatnonzero(held_out))

    def _split(self, name: str) -> Split:
        store, rows = self._evaluated, self._evaluated.split(name)
        if not self.has_labels:
            return Split(store, rows, torch.zeros(len(rows), dtype=torch.int64))
        if self._config.target == "positive":
            return Split(store, rows, store.positive_mask(rows, self._config.positive).long())
        if self._config.target == "labels":
            return Split(store, rows, store.label_matrix(rows))
        if self.has_numbers:
            return Split(store, rows, store.numbers(rows).nan_to_num())  # 0 where there is none
        return Split(store, rows, store.labels(rows).clamp_min(0))  # a class of weight 0 where there is none

    def _check(self) -> None:
        config, name = self._config, self._pretrained.info.name
        faults = []
        if config.epochs > 0 and config.batch_size > len(self.train):
            faults.append(
                f"batch_size: {config.batch_size} is larger than the {len(self.train)} train images of {name}; "
                f"set it to at most {len(self.train)}"
            )
        if not self._alone:
            faults += _other_bands(self._pretrained, self._evaluated)
        faults += self._label_faults()
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
        """Return what is wrong with the labels that there are."""
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


def _other_bands(pretrained: ImageStore, evaluated: ImageStore) -> list[str]:
    """Return what is wrong where the bands of two stores aren't the same, channel by channel."""
    ours, theirs = pretrained.info.channel_bands, evaluated.info.channel_bands
    if len(ours) != len(theirs):
        told = f"has {len(theirs)} channels, {pretrained.info.name} has {len(ours)}"
    elif not all(one.same_as(other) for one, other in zip(ours, theirs, strict=True)):
        first, second = (", ".join(band.name for band in bands) for bands in (theirs, ours))
        told = f"has the bands {first}, {pretrained.info.name} has {second}"
    else:
        return []
    return [
        f"evaluation_dataset: {evaluated.info.name} {told}; name those that both have with bands, or prepare both with "
        "the same bands"
    ]


def _outputs(config: TrialConfig, store: ImageStore) -> tuple[tuple[str, ...], Tensor | None]:
    if not store.info.labelled_images or store.info.number:
        return (), None  # nothing is asked of it
    if config.target == "positive":
        expand_positive(store.info, config.positive)
        return ("negative", "positive"), torch.tensor([False, True])
    names = store.info.class_names
    if not config.positive:
        return names, None
    chosen = expand_positive(store.info, config.positive)
    return names, torch.tensor([name in chosen for name in names])


def _check_kind(config: TrialConfig, store: ImageStore) -> None:
    """Raise BadInputError for a number that is asked of classes, or the reverse."""
    if store.info.labelled_images and (config.target == "number") != bool(store.info.number):
        raise wrong_kind(store.info, config.target)


def _moments(numbers: Tensor) -> tuple[float, float]:
    """Return mean and deviation, 1 for numbers that are all alike."""
    deviation = float(numbers.std(correction=0)) if len(numbers) else 0.0
    return (float(numbers.mean()) if len(numbers) else 0.0), deviation or 1.0


def limited(split: Split, limit: int | None) -> Split:
    """Return at most `limit` images, those of the smallest stable hash, in the store's order."""
    if limit is None or limit >= len(split):
        return split
    order = np.argsort(split.store.stable_fractions(split.rows, SUBSET_SALT), kind="stable")
    return split.part(np.sort(order[:limit]))


def _budget(split: Split, fraction: float, draw: int) -> NDArray[np.bool_]:
    """Return whose labels a budget buys, (N,): of each class the share of smallest stable hash, at least one image.

    Nothing is bought of unlabelled images. Several labels an image: that share of all images, and for each label that
    none of them carries one that does. A smaller budget of one draw is part of a larger one.
    """
    bought = np.zeros(len(split), dtype=np.bool_)
    known = split.store.labelled(split.rows)
    if not known.all():
        numbers = np.flatnonzero(known)
        bought[numbers] = _budget(split.part(numbers), fraction, draw)
        return bought
    fractions = split.store.stable_fractions(split.rows, LABEL_SALT)
    if draw > 0:
        fractions = stable_fraction([number.hex() for number in fractions.tolist()], salt=f"{LABEL_SALT} {draw}")
    order = np.argsort(fractions, kind="stable")
    targets = split.targets.numpy()
    if targets.dtype == np.float64:
        bought[order[: max(1, int(np.ceil(fraction * len(order))))]] = True
        return bought
    if targets.ndim == 1:
        for label in np.unique(targets):
            members = order[targets[order] == label]
            bought[members[: max(1, int(np.ceil(fraction * len(members))))]] = True
        return bought
    bought[order[: max(1, int(np.ceil(fraction * len(order))))]] = True
    for label in range(targets.shape[1]):
        carriers = order[targets[order, label]]
        bought[carriers[:1]] = True  # the first in the order: bought anyhow by a budget that reaches it
    return bought
