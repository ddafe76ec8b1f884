"""Floating-point operations of training, counted from the layers, and their total for the thesis' grid."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from search_spaces.thesis_grid import SPACE
from sweep.space import Best
from trainables.config import TrialConfig
from trainables.data.dataset_facts import KNOWN
from trainables.memory.layer_sizes import footprint

FORWARD_AND_BACKWARD = 3
"""Products per forward product: the backward pass computes one for each of the two factors."""
PEAKS: tuple[tuple[str, dict[str, float]], ...] = (
    ("H100 PCIe", {"fp32": 51e12, "tf32": 378e12, "bf16": 756e12}),
    ("H100 NVL", {"fp32": 60e12, "tf32": 417.5e12, "bf16": 835.5e12}),
    ("H100", {"fp32": 67e12, "tf32": 494.5e12, "bf16": 989e12}),
    ("H200 NVL", {"fp32": 60e12, "tf32": 417.5e12, "bf16": 835.5e12}),
    ("H200", {"fp32": 67e12, "tf32": 494.5e12, "bf16": 989e12}),
    ("A100", {"fp32": 19.5e12, "tf32": 156e12, "bf16": 312e12}),
)
"""Dense peak FLOP/s by a part of the device's name, from NVIDIA's data sheets; the first match counts.

The data sheets give tensor cores for 2:4 sparse products, at twice these rates.
"""


def peak_of(device: str, precision: str) -> float | None:
    """Return the peak FLOP/s of a device; None if it isn't in the table."""
    return next((peaks[precision] for name, peaks in PEAKS if name in device), None)


def view_flops(config: TrialConfig, classes: int) -> float:
    """Return the FLOPs of one view's forward pass through convolutions and dense layers; a product counts two."""
    model = footprint(config, classes)
    products = sum(layer.weights * (layer.outputs // layer.channels) for layer in model.layers)
    return 2.0 * (products + model.features * model.classes)


def step_flops(config: TrialConfig, classes: int) -> float:
    """Return the FLOPs of a training step: two views of each image, forward and backward."""
    return FORWARD_AND_BACKWARD * 2 * config.batch_size * view_flops(config, classes)


def thesis_trials() -> Iterator[TrialConfig]:
    """Yield every trial of the thesis' grid; the best temperature, still unknown, has its default."""
    for stage in SPACE.stages:
        for grid in stage.grids:
            base = {**SPACE.base, **grid.base}
            base = {name: value for name, value in base.items() if not isinstance(value, Best)}
            for point in grid.points:
                for values in itertools.product(*grid.axes.values()):
                    yield TrialConfig.parse({**base, **point, **dict(zip(grid.axes, values, strict=True))})


def train_images(config: TrialConfig) -> int:
    """Return the number of train images of the published data set."""
    sizes = KNOWN[config.dataset].published_sizes
    assert sizes is not None
    return sizes["train"]


def trial_flops(config: TrialConfig) -> float:
    """Return the FLOPs of a trial's training."""
    classes = KNOWN[config.dataset].classes or 2
    return config.epochs * train_images(config) / config.batch_size * step_flops(config, classes)


def grid_hours(images_a_second: Callable[[TrialConfig], float]) -> float:
    """Return the training hours of the thesis' grid on one device.

    Args:
        images_a_second: Function from a trial's configuration to its training rate, in images per second.
    """
    seconds = (trial.epochs * train_images(trial) / images_a_second(trial) for trial in thesis_trials())
    return sum(seconds) / 3600


def counted() -> dict[str, Any]:
    """Return the FLOPs of the whole grid, and of a trial of 50 epochs on each data set."""
    trials = list(thesis_trials())
    of_50 = {trial.dataset: trial_flops(trial) for trial in trials if trial.epochs == 50}
    return {"trials": len(trials), "flop": sum(map(trial_flops, trials)), "of 50 epochs": of_50}
