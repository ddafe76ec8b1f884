"""Synthetic images with the interface of an ImageStore that a trial needs: a few images, repeated, in memory."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from trainables.data.bands import EncoderInputs, unnamed_bands
from trainables.memory.simulated_worker import ImageShape

DISTINCT_IMAGES = 64
COARSE, GRAIN = 8, 12.0
"""Side of the noise that is enlarged to an image, and the standard deviation of the noise added to each value."""


def made_up_images(count: int, side: int, channels: int = 3) -> torch.Tensor:
    """Return images (count, side, side, channels), uint8, of large colour fields with a little noise; always the same.

    Neighbouring values are similar, as in photographs, so that branches of colour conversions behave alike.
    """
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, channels, COARSE, COARSE, generator=random) * 255
    fields = functional.interpolate(coarse, size=(side, side), mode="bicubic")
    grain = torch.randn(count, channels, side, side, generator=random) * GRAIN
    return (fields + grain).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


class MadeUpStore:
    """Store of `made_up_images`, repeated up to the wanted `sizes`, with classes in turn."""

    def __init__(self, side: int, sizes: ImageShape) -> None:
        self._pixels = made_up_images(DISTINCT_IMAGES, side, sizes.channels)
        self._splits = {"train": np.arange(sizes.train), "test": sizes.train + np.arange(sizes.held_out)}
        self.fingerprint = "made-up"
        self.info = SimpleNamespace(
            labelled_images=sizes.train + sizes.held_out,
            colours=(0, 1, 2),
            number=None,
            unlabelled={},
            name="made-up",
            splits={name: len(rows) for name, rows in self._splits.items()},
            class_names=tuple(f"class {number}" for number in range(sizes.classes)),
            image_size=(side, side),
            channels=sizes.channels,
            dtype="uint8",
            inputs=EncoderInputs(bands=unnamed_bands(sizes.channels), full=255),
            multi_label=False,
        )

    def with_bands(self, names: tuple[str, ...]) -> "MadeUpStore":
        """Return the store itself: it has no named bands."""
        assert not names
        return self

    def images(self, rows: Any) -> torch.Tensor:
        """Return images (N, H, W, C)."""
        return self._pixels[torch.from_numpy(np.asarray(rows) % DISTINCT_IMAGES)]

    def labels(self, rows: Any) -> torch.Tensor:
        """Return classes (N,), in turn."""
        return torch.from_numpy(np.asarray(rows) % len(self.info.class_names))

    def labelled(self, rows: Any) -> np.ndarray:
        """Return True for each image (N,): all are labelled."""
        return np.ones(len(rows), dtype=np.bool_)

    def split(self, name: str) -> np.ndarray:
        """Return the rows of a split."""
        return self._splits[name]

    def names(self, rows: Any) -> list[str]:
        """Return a name for each row: patches of BigEarthNet v2.0, each place at two dates."""
        places = [divmod(row // 2, 1000) for row in np.asarray(rows).tolist()]
        return [
            f"S2A_MSIL2A_2017061{row % 2}T101031_N9999_R022_T34VER_{down}_{across}"
            for row, (down, across) in zip(np.asarray(rows).tolist(), places, strict=True)
        ]

    def chips(self, rows: Any) -> None:
        """Return None: the images weren't cut from scenes."""

    def stable_fractions(self, rows: Any, salt: str) -> np.ndarray:
        """Return a number in [0, 1) for each row."""
        return np.asarray(rows) / sum(self.info.splits.values())
