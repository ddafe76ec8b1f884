"""Training rate of a complete trial beside the SimCLR loop of lightly's documentation, in images per second.

Lightly's images are decoded and in memory as Pillow images: reading files would add to its time only, since our store
holds pixels. Lightly gets our trial's projector and LARS, and the faster of zero and two loader processes; it has no
probe and computes no metrics.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from typing import Any

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.utils.lars import LARS
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.harness.made_up import made_up_images
from benchmarks.harness.measurement import PairedTimings, PlannedMeasurement, in_turns, seconds
from benchmarks.harness.steps import TrialSteps, bare_encoder, made_trial, settle
from benchmarks.rows.views import lightly_transform
from trainables.training.precision import Precision, autocast
from trainables.training.trial import TrialTrainer

SIZES = (("resnet18", 64, 64), ("resnet18", 120, 32), ("resnet50", 64, 32), ("resnet50", 120, 16))
"""Encoder, image side and batch size."""
DEFAULT_GOAL, ALIKE_GOAL = 1.8, 1.05
STEPS, TURNS = 2, 4
LOADERS = (0, 2)
"""Numbers of lightly's loader processes, which persist over epochs."""


def measurements(device: torch.device) -> Iterator[PlannedMeasurement]:
    """Yield rows for every encoder and size: our defaults and bf16, beside lightly's loop in its defaults and in ours.

    bf16 is measured only on processors that multiply it in hardware; elsewhere a step takes minutes.
    """
    ways = []
    for precision in _precisions(device):
        ours = "our defaults, fp32" if precision == "fp32" else f"precision={precision}"
        ways.append((ours, "lightly's loop, fp32, contiguous", DEFAULT_GOAL))
        ways.append((ours, f"lightly's loop, {precision}, our memory format", ALIKE_GOAL))
    for encoder, side, batch in SIZES:
        for number, (ours, peer, goal) in enumerate(ways):
            yield PlannedMeasurement(
                f"images per second, {encoder}, {side} px, {batch} images, {ours}",
                peer,
                lambda size=(encoder, side, batch), number=number: images_a_second(device, *size)[number],
                "/s",
                goal,
                at_most=False,
            )


def _precisions(device: torch.device) -> list[Precision]:
    native = device.type != "cpu" or torch.backends.cpu.get_cpu_capability() == "AVX512"
    return ["fp32", "bf16"] if native else ["fp32"]


@cache
def images_a_second(device: torch.device, encoder: str, side: int, batch: int) -> list[PairedTimings]:
    """Measure images per second in our precisions, in turns with lightly's loop; the order is that of the rows."""
    fields = {"encoder": encoder, "image_size": side, "batch_size": batch}
    with ExitStack() as stack:
        trials = [
            made_trial(Path(stack.enter_context(tempfile.TemporaryDirectory())), device, precision=precision, **fields)
            for precision in _precisions(device)
        ]
        plain = (torch.contiguous_format, "fp32")
        alike = [(trial.layout, trial.config.precision) for trial in trials]
        loops = {
            way: stack.enter_context(closing(_faster(fields, *way, device))) for way in dict.fromkeys([plain, *alike])
        }
        calls = [*(_steps(trial) for trial in trials), *loops.values()]
        took = list(zip(*in_turns(calls, turns=TURNS, settle=settle(device)), strict=True))
    theirs = dict(zip(loops, took[len(trials) :], strict=True))
    pairs = [(mine, theirs[way]) for mine, own in zip(took, alike, strict=False) for way in (plain, own)]
    return [PairedTimings(*pair).rates(STEPS * batch) for pair in pairs]


def _steps(trial: TrialTrainer) -> Callable[[], None]:
    step = TrialSteps(trial)

    def some() -> None:
        for _ in range(STEPS):
            step()

    return some


def _faster(
    fields: dict[str, Any], layout: torch.memory_format, precision: Precision, device: torch.device
) -> "LightlyTraining":
    """Return lightly's loop with the faster number of loader processes."""
    loops = [LightlyTraining(fields, layout, precision, loaders, device) for loaders in LOADERS]
    for loop in loops:
        loop()
    loops.sort(key=lambda loop: seconds(loop, 1, settle(device)))
    for loop in loops[1:]:
        loop.close()
    return loops[0]


class LightlyImages(Dataset[list[torch.Tensor]]):
    """Dataset of decoded images in memory that returns their two views."""

    def __init__(self, count: int, side: int) -> None:
        self._pictures = [Image.fromarray(each) for each in made_up_images(64, side).numpy()]
        self._count = count
        self._transform: Callable[[Image.Image], list[torch.Tensor]] = lightly_transform(side)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> list[torch.Tensor]:
        return self._transform(self._pictures[number % len(self._pictures)])


class LightlyTraining:
    """Lightly's SimCLR training; a call runs an epoch of STEPS steps."""

    def __init__(
        self,
        fields: dict[str, Any],
        layout: torch.memory_format,
        precision: Precision,
        loaders: int,
        device: torch.device,
    ) -> None:
        self._device, self._layout, self._precision = device, layout, precision
        batch = fields["batch_size"]
        self._loader = DataLoader(
            LightlyImages(STEPS * batch, fields["image_size"]),
            batch,
            shuffle=True,
            drop_last=True,
            num_workers=loaders,
            persistent_workers=loaders > 0,
        )
        backbone = bare_encoder(fields["encoder"], device, layout)
        width = 2048 if fields["encoder"] == "resnet50" else 512
        head = SimCLRProjectionHead(width, width, 128, num_layers=3)
        self._model = nn.Sequential(backbone, head).to(device).train()
        self._criterion = NTXentLoss(temperature=0.25)
        self._optimiser = LARS(self._model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-6)

    def __call__(self) -> None:
        """Train one epoch."""
        for views in self._loader:
            first, second = (view.to(self._device, memory_format=self._layout) for view in views)
            with autocast(self._precision, self._device):
                z_a, z_b = self._model(first), self._model(second)
            loss = self._criterion(z_a.float(), z_b.float())
            loss.backward()
            self._optimiser.step()
            self._optimiser.zero_grad()

    def close(self) -> None:
        """End the loader processes."""
        self._loader._iterator = None
