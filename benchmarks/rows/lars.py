"""LARS step beside the step of torch's SGD, on the parameters of ResNet-50."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks.harness.measurement import PairedTimings, PlannedMeasurement, beside
from benchmarks.harness.steps import bare_encoder, settle
from trainables.lars import LARS

GOAL = 1.5
DECAY, MOMENTUM, RATE = 1e-6, 0.9, 1e-3


def measurements(device: torch.device) -> Iterator[PlannedMeasurement]:
    """Yield the measurements of LARS."""
    yield PlannedMeasurement(
        "LARS' step on ResNet-50's parameters",
        "torch.optim.SGD, momentum and decay, foreach",
        lambda: steps(device),
        goal=GOAL,
    )


def steps(device: torch.device, turns: int = 9) -> PairedTimings:
    """Time both optimisers, each with its own weights."""
    ours = LARS(groups(device), lr=RATE, momentum=MOMENTUM)
    peer = torch.optim.SGD(groups(device), lr=RATE, momentum=MOMENTUM, foreach=True)
    return beside(_step(ours), _step(peer), turns=turns, settle=settle(device))


def groups(device: torch.device) -> list[dict[str, Any]]:
    """Return ResNet-50's parameters with gradients: weight decay for kernels, none for batch norm."""
    encoder = bare_encoder("resnet50", device, torch.contiguous_format)
    for weight in encoder.parameters():
        weight.grad = torch.randn_like(weight)
    kernels = [weight for weight in encoder.parameters() if weight.dim() > 1]
    others = [weight for weight in encoder.parameters() if weight.dim() == 1]
    return [{"params": kernels, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]


def _step(optimiser: torch.optim.Optimizer) -> Callable[[], None]:
    # LARS leaves groups alone that aren't to be adapted; SGD knows no such thing and keeps the key unread.
    optimiser.param_groups[1]["adapt"] = False
    return lambda: optimiser.step()
