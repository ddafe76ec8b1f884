"""Complete training step beside the bare encoder's, and the share of the step that makes the views."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness.measurement import PairedTimings, PlannedMeasurement, beside
from benchmarks.harness.steps import TrialSteps, bare_step, made_trial, settle

STEPS = (("resnet50", 256, 1.05, 3), ("resnet50", 64, 1.08, 5), ("resnet18", 256, 1.10, 5))
"""Encoder, batch size, maximum ratio and turns; at 64 px."""
SIDE = 64
VIEWS_SHARE = 0.02
SMALL = {"encoder": "resnet18", "batch_size": 32, "image_size": 32, "stem": "large"}
SMALL_GOAL = 1.25


def measurements(device: torch.device) -> Iterator[PlannedMeasurement]:
    """Yield the measurements for `make bench`."""
    bare = "forward and backward of torchvision's encoder"
    for encoder, batch, goal, turns in STEPS:
        fields = {"encoder": encoder, "batch_size": batch, "image_size": SIDE}
        yield PlannedMeasurement(
            f"training step, {encoder}, {SIDE} px, {batch} images",
            bare,
            lambda fields=fields, turns=turns: step(device, turns, **fields),
            goal=goal,
        )
    yield PlannedMeasurement(
        f"reading images and making views, resnet18, {SIDE} px, 256 images",
        "the whole step",
        lambda: views_share(device, 5, encoder="resnet18", batch_size=256, image_size=SIDE),
        goal=VIEWS_SHARE,
    )


def small(device: torch.device, turns: int = 9) -> PlannedMeasurement:
    """Return a small step for a check of every change; its fixed costs weigh more than in real steps."""
    return PlannedMeasurement(
        "training step, resnet18, 32 px, 32 images",
        "forward and backward of torchvision's encoder",
        lambda: step(device, turns, **SMALL),
        goal=SMALL_GOAL,
    )


def step(device: torch.device, turns: int, **fields: Any) -> PairedTimings:
    """Time a trial's step beside the bare step."""
    with tempfile.TemporaryDirectory() as folder:
        trial = made_trial(Path(folder), device, **fields)
        return beside(TrialSteps(trial), bare_step(trial), turns=turns, settle=settle(device))


def views_share(device: torch.device, turns: int, **fields: Any) -> PairedTimings:
    """Time a step's input beside the step."""
    with tempfile.TemporaryDirectory() as folder:
        stepper = TrialSteps(made_trial(Path(folder), device, **fields))
        return beside(stepper.input, stepper, turns=turns, settle=settle(device))
