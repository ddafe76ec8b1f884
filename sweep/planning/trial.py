"""One planned trial: its configuration, data, steps and memory."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from sweep.space import Baseline
from trainables.config import TrialConfig, data_fingerprint
from trainables.expected_metrics import LabelFacts
from trainables.memory.layer_sizes import footprint
from trainables.memory.ledger import Device
from trainables.memory.peak import peak_bytes
from trainables.memory.recomputation import time_factor
from trainables.memory.simulated_worker import ImageShape
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
    number: bool = False
    """Whether images have a number in place of classes."""
    """Number of images without labels, by split."""
    channels: int = 3

    @property
    def labelled_train(self) -> int:
        """Number of train images with labels."""
        return self.train - self.unlabelled.get("train", 0)


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

    @property
    def train_images(self) -> int:
        """Number of train images, rounded if a stable hash selects the validation slice."""
        kept = 1.0 if self.evaluation is not None else 1.0 - self.config.validation_fraction
        images = round(self.data.train * kept)
        images = min(images, self.config.max_train_images or images)
        if self.config.training != "supervised":
            return images
        labelled = self.labelled.labelled_train / max(self.labelled.train, 1)
        return math.ceil(self.config.label_fraction * labelled * images)

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
        kept = size.train if self.evaluation is not None else self.train_images
        held_out = max(size.test, size.validation, round(size.train * config.validation_fraction))
        return ImageShape(
            classes=2 if config.target == "positive" else max(1, size.classes),
            train=math.ceil(config.label_fraction * kept),
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
