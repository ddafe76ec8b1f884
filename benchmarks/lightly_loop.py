"""Images a second of a whole trial's steps beside the loop that lightly's documentation shows for SimCLR.

Lightly's images are decoded already and lie in memory as Pillow's: reading files would be added to its time, not to
ours, whose store holds pixels. It gets the projector of our trial, its LARS, and of none and two loader processes what
is faster; it has no probe and no metrics to compute.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.utils.lars import LARS
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.made_up import made_up_images
from benchmarks.rows import Beside, Measurement, in_turns, seconds
from benchmarks.steps import Stepper, bare_encoder, made_trial, settle
from benchmarks.view_rows import lightly_transform
from trainables.numerics import Precision, autocast

SIZES = (("resnet18", 64, 128), ("resnet18", 120, 64), ("resnet50", 64, 64), ("resnet50", 120, 32))
"""Encoder, side, images a step."""
DEFAULTS_GOAL, SAME_GOAL = 1.8, 1.05
STEPS, TURNS = 3, 3
LOADERS = (0, 2)
"""Processes that make its views; those stay from epoch to epoch."""


def measurements(device: torch.device) -> Iterator[Measurement]:
    """Yield every encoder and size: as both come, and with lightly's loop given our precision and memory format."""
    for same, goal, peer in (
        (False, DEFAULTS_GOAL, "lightly's loop, fp32, contiguous"),
        (True, SAME_GOAL, "lightly's loop, our precision and memory format"),
    ):
        for encoder, side, batch in SIZES:
            fields = {"encoder": encoder, "image_size": side, "batch_size": batch}
            yield Measurement(
                f"images a second, {encoder}, {side} px, {batch} images",
                peer,
                lambda fields=fields, same=same: images_a_second(device, same, **fields),
                "/s",
                goal,
                at_most=False,
            )


def images_a_second(device: torch.device, same: bool, **fields: Any) -> Beside:
    """Measure images a second of both; `same`: it computes in our precision and memory format."""
    with tempfile.TemporaryDirectory() as folder:
        trial = made_trial(Path(folder), device, **fields)
        step = Stepper(trial)
        size = fields["batch_size"]
        layout = trial.layout if same else torch.contiguous_format
        precision = trial.config.precision if same else "fp32"
        loops = [Loop(fields, layout, precision, loaders, device) for loaders in LOADERS]
        for loop in loops:
            loop()
        theirs = min(loops, key=lambda loop: seconds(loop, 1, settle(device)))

        def ours() -> None:
            for _ in range(STEPS):
                step()

        took = list(in_turns([ours, theirs], turns=TURNS, settle=settle(device)))
        for loop in loops:
            loop.close()
        return Beside(tuple(each[0] for each in took), tuple(each[1] for each in took)).rates(size * STEPS)


class Pictures(Dataset[list[torch.Tensor]]):
    """Decoded images in memory, and their two views."""

    def __init__(self, count: int, side: int) -> None:
        self._pictures = [Image.fromarray(each) for each in made_up_images(64, side).numpy()]
        self._count = count
        self._transform: Callable[[Image.Image], list[torch.Tensor]] = lightly_transform(side)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> list[torch.Tensor]:
        return self._transform(self._pictures[number % len(self._pictures)])


class Loop:
    """Lightly's SimCLR; a call trains an epoch of STEPS steps."""

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
            Pictures(STEPS * batch, fields["image_size"]),
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
        """Train an epoch."""
        for views in self._loader:
            first, second = (view.to(self._device, memory_format=self._layout) for view in views)
            with autocast(self._precision, self._device):
                z_a, z_b = self._model(first), self._model(second)
            loss = self._criterion(z_a.float(), z_b.float())
            loss.backward()
            self._optimiser.step()
            self._optimiser.zero_grad()

    def close(self) -> None:
        """End the loader's processes."""
        self._loader._iterator = None
