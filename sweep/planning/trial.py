"""One planned trial: its configuration, data, steps and memory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal

from sweep.space import Baseline
from trainables.config import TrialConfig, data_fingerprint
from trainables.data.image_counts import ImageCounts
from trainables.data.share_count import share_count
from trainables.memory.layer_sizes import footprint
from trainables.memory.ledger import Device
from trainables.memory.peak import peak_bytes
from trainables.memory.recomputation import time_factor
from trainables.memory.simulated_worker import ImageShape
from trainables.metrics.expected import LabelFacts
from trainables.schedule import TrainingSteps


@dataclass(frozen=True)
class DataSize:
    """Sizes and classes of a data set, as planning needs them."""

    train: int
    test: int
    classes: int
    fingerprint: str
    """Fingerprint of the store; empty if the data set isn't prepared."""
    origin: Literal["prepared", "published"]
    validation: int = 0
    """Number of images of the data set's own validation split."""
    class_names: tuple[str, ...] = ()
    """Names of the classes; empty if unknown."""
    unlabelled: Mapping[str, int] = field(default_factory=dict)
    """Number of images without labels, by split."""
    number: bool = False
    """Whether images have a number in place of classes."""
    channels: int = 3
    kept_whole: str = ""
    """What a validation slice holds out whole: block, tile or place; empty: single images."""
    counter: Callable[..., ImageCounts] | None = field(default=None, compare=False, repr=False)
    """Function that counts the images of a choice in the store's index (count_images); None if it isn't prepared."""

    @property
    def labelled_train(self) -> int:
        """Number of train images with labels."""
        return self.train - self.unlabelled.get("train", 0)

    def chosen(self, share: float, limit: int | None, *, whole: bool = False) -> ImageCounts:
        """Return the numbers of images after a validation slice of `share` and a limit to train images.

        They are counted if whole places are chosen, and otherwise estimated from the sizes, since a stable hash holds
        out about the share of images.

        Args:
            share: Share of train to hold out.
            limit: Maximum number of train images; None: all.
            whole: Whether the limit takes all dates of a place or none.

        Raises:
            BadInputError: Counted, train or validation is empty.
        """
        by_place = self.kept_whole and share > 0.0 and not self.validation
        if self.counter is not None and (by_place or (whole and limit is not None)):
            return self.counter(share=share, limit=limit, whole=whole)
        train = round(self.train * (1.0 - share))
        train = min(train, limit or train)
        labelled = Fraction(self.labelled_train * train, max(self.train, 1))
        return ImageCounts(train, labelled, round(self.train * share))


@dataclass(frozen=True)
class PlannedTrial:
    """One trial of a plan, before it runs."""

    config: TrialConfig
    data: DataSize
    stage: int
    """1-based."""
    baseline: Baseline | None
    evaluation: DataSize | None = None
    """Sizes of the evaluation data set, if it differs from `data`."""
    stands_for: Mapping[str, Any] = field(default_factory=dict)
    """In a smoke run: the full-size values of the fields that were reduced."""
    name: str = ""
    required: bool = False
    """Whether the trial is exempt from halving."""
    setting: int | None = None
    """Number of the setting in a search, from 0; None outside a search."""
    method: str = ""
    with_baselines: bool = True
    """Whether its grid has baselines; `method` is its grid's too."""

    @cached_property
    def trial_id(self) -> str:
        """Id of the trial: hash of configuration, data and protocol version."""
        evaluated = None if self.evaluation is None else self.evaluation.fingerprint
        return self.config.trial_id(data_fingerprint(self.data.fingerprint, evaluated))

    @property
    def labelled(self) -> DataSize:
        """Sizes of the data set that the trial is evaluated on; the same as `data` unless `evaluation` is given."""
        return self.evaluation or self.data

    @property
    def labels(self) -> LabelFacts:
        """Facts about labels on which the names of the metrics depend."""
        size = self.labelled
        validation = bool(self.config.validation_fraction or size.validation)
        return LabelFacts(size.classes, validation, size.class_names, size.number)

    @cached_property
    def pretrained(self) -> ImageCounts:
        """Numbers of the images that the trial is pretrained on."""
        share = self.config.validation_fraction if self.evaluation is None else 0.0
        paired = self.config.pairs == "season" and self.config.epochs > 0
        return self.data.chosen(share, self.config.max_train_images, whole=paired)

    @cached_property
    def judged(self) -> ImageCounts:
        """Numbers of the train images whose labels may be used, and of the validation slice."""
        if self.evaluation is None:
            return self.pretrained
        return self.evaluation.chosen(self.config.validation_fraction, None)

    @property
    def train_images(self) -> int:
        """Number of train images, rounded if a stable hash selects single images."""
        if self.config.training != "supervised":
            return self.pretrained.train
        return share_count(self.config.label_fraction, self.judged.labelled)

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        return (
            TrainingSteps(self.train_images, self.config.batch_size, self.config.epochs).total
            if self.config.epochs
            else 0
        )

    @property
    def views(self) -> int:
        """Number of views that the encoder is trained on."""
        return (1 if self.config.training == "supervised" else 2) * self.steps * self.config.batch_size

    @property
    def images(self) -> ImageShape:
        """Facts about the data for the memory estimate."""
        size, config = self.labelled, self.config
        held_out = max(size.test, size.validation, self.judged.validation)
        return ImageShape(
            classes=2 if config.target == "positive" else max(1, size.classes),
            train=share_count(config.label_fraction, self.judged.train),
            held_out=min(held_out, config.max_test_images or held_out),
            channels=len(config.bands) or self.data.channels,
        )

    def memory_bytes(self, workers: int, device: Device = "cpu", *, recompute: bool = False) -> int:
        """Return the estimated peak memory of one worker in bytes, in addition to its process."""
        return peak_bytes(self.config, self.images, workers=workers, device=device, recompute=recompute)

    @property
    def time_recomputed(self) -> float:
        """Time of a step with activation recomputation, relative to a plain step."""
        return time_factor(footprint(self.config, self.images.classes, channels=self.images.channels))
