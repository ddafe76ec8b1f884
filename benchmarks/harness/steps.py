"""Steps of a real trial on synthetic images, and the bare step of torchvision's encoder as a lower bound."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from benchmarks.harness.made_up import MadeUpStore
from trainables.config import TrialConfig
from trainables.memory.simulated_worker import ImageShape
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.training.precision import autocast
from trainables.training.trial import TrialTrainer

RATE = 1e-3
LEAST_TRAIN = 512
CLASSES = 200


def made_trial(folder: Path, device: torch.device, **fields: Any) -> TrialTrainer:
    """Return the trainer of a trial on synthetic images of the views' size, with the given configuration fields."""
    config = TrialConfig.parse({"dataset": "made-up", "epochs": 2, "warmup_epochs": 0, **fields})
    store: Any = MadeUpStore(config.image_size, sizes(config))
    trial = TrialTrainer(config, store=store, files=TrialFiles(Storage.at(folder)), device=device)
    trial.model.train()
    return trial


def sizes(config: TrialConfig) -> ImageShape:
    """Return the shape of the synthetic data."""
    return ImageShape(CLASSES, train=max(LEAST_TRAIN, config.batch_size), held_out=256)


class TrialSteps:
    """Consecutive steps of a trial: batch, views, passes, losses, probe and optimiser."""

    def __init__(self, trial: TrialTrainer) -> None:
        self._trial, self._number = trial, 0

    def __call__(self) -> None:
        """Run the next step."""
        self._trial._step(self._number, RATE)
        self._number += 1

    def input(self) -> None:
        """Make and discard the next step's views: parameters, images and augmentation."""
        images, _, draws, _ = self._trial._batch(self._number)
        self._trial.objective.views(images, draws)
        self._number += 1


def bare_encoder(name: str, device: torch.device, layout: torch.memory_format) -> nn.Module:
    """Return torchvision's encoder without its last layer, in training mode."""
    encoder: nn.Module = getattr(torchvision.models, name)(weights=None)
    encoder.fc = nn.Identity()
    return encoder.to(device, memory_format=layout).train()  # type: ignore[call-overload,no-any-return]


def bare_step(trial: TrialTrainer) -> Callable[[], None]:
    """Return a function that runs forward and backward pass of torchvision's encoder alone, on views made before.

    The number and size of views, memory format and precision are the trial's.
    """
    config = trial.config
    encoder = bare_encoder(config.encoder, trial.device, trial.layout)
    shape = (2 * config.batch_size, 3, config.image_size, config.image_size)
    views = torch.rand(shape, device=trial.device).to(memory_format=trial.layout)

    def step() -> None:
        encoder.zero_grad(set_to_none=True)
        with autocast(config.precision, trial.device):
            features: Tensor = encoder(views)
        features.sum().backward()  # type: ignore[no-untyped-call]

    return step


def settle(device: torch.device) -> Callable[[], None]:
    """Return a function that waits for all queued work of the device."""
    return torch.cuda.synchronize if device.type == "cuda" else lambda: None
