"""Trials of a second for tests, over digits or over a few patches with several labels."""

from pathlib import Path
from typing import Any

import torch

from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.training.trial import train

CPU = torch.device("cpu")
SMALL = TrialConfig(
    dataset="digits",
    image_size=20,
    encoder="resnet10",
    width_factor=1 / 16,
    projector_layers=2,
    projector_output_width=16,
    batch_size=20,
    epochs=1,
    warmup_epochs=0,
    max_train_images=60,
    max_test_images=60,
    positive=("closed_loop",),
    validation_fraction=0.2,
)
LABELS = [["Sea and ocean"], ["Mixed forest", "Pastures"], ["Pastures"], ["Mixed forest", "Sea and ocean", "Pastures"]]


def changed(**values: Any) -> TrialConfig:
    return TrialConfig.parse({**SMALL.model_dump(), **values})


MULTI = {"target": "labels", "positive": (), "max_train_images": None, "batch_size": 12, "validation_fraction": 0.3}


def files_in(folder: Path) -> TrialFiles:
    return TrialFiles(Storage.at(folder))


def final_metrics(config: TrialConfig, folder: Path, **stores: ImageStore) -> dict[str, float]:
    (record,) = train(config, **stores, files=files_in(folder), device=CPU)  # type: ignore[arg-type]
    return record.metrics
