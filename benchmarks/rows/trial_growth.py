"""Growth of a small trial's time with its images, its epochs and the side of its views."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness.made_up import MadeUpStore
from benchmarks.harness.measurement import CostGrowth, seconds
from trainables.config import TrialConfig
from trainables.memory.simulated_worker import ImageShape
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.training.trial import train

CLASSES, HELD_OUT = 10, 128
SMALL: dict[str, Any] = {
    "dataset": "made-up",
    "encoder": "resnet10",
    "width_factor": 0.25,
    "stem": "large",
    "image_size": 32,
    "batch_size": 64,
    "epochs": 1,
    "warmup_epochs": 0,
    "projector_layers": 2,
}
IMAGES = 512
LADDERS: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("images", "train images", (256, 512, 1024, 2048)),
    ("epochs", "epochs", (1, 2, 4, 8)),
    ("image_size", "side of views, pixels", (32, 64, 96)),
)
REPEATS = 2
LINEAR, QUADRATIC = 1.05, 2.1


def growth() -> Iterator[CostGrowth]:
    """Yield the growth of a trial's time, including evaluation, with each kind of work."""
    trial_seconds(IMAGES, **SMALL)
    for name, what, ladder in LADDERS:
        points = []
        for step in ladder:
            images = step if name == "images" else IMAGES
            fields = SMALL if name == "images" else SMALL | {name: step}
            points.append((float(step), min(trial_seconds(images, **fields) for _ in range(REPEATS))))
        yield CostGrowth("a small trial", what, "seconds", points, QUADRATIC if name == "image_size" else LINEAR)


def trial_seconds(images: int, **fields: Any) -> float:
    """Return a trial's wall time from start to final record, in seconds."""
    config = TrialConfig.parse(fields)
    store: Any = MadeUpStore(config.image_size, ImageShape(CLASSES, train=images, held_out=HELD_OUT))

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            files = TrialFiles(Storage.at(Path(folder)))
            for _ in train(config, store=store, files=files, device=torch.device("cpu")):
                pass

    return seconds(run)
