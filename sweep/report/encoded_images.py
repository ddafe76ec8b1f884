"""Sample of a trial's images with their features; its size depends on the encoder's cost."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sweep.console.app import progress
from sweep.report.image_selection import Numbers
from trainables.data.data_split import DataSplit, limited
from trainables.data.stable_hash import SUBSET_SALT
from trainables.data.trial_data import TrialData
from trainables.evaluation.features import encode
from trainables.models.encoder import Encoder

MOST_TEST, MOST_TRAIN = 2_000, 10_000
"""Maximum numbers of encoded test and train images."""
MOST_OPERATIONS = 6 * 10**12
"""Maximum floating-point operations for encoding, about a minute on two cores; larger encoders use fewer images."""
FEWEST_TEST, FEWEST_TRAIN = 100, 500
ENCODED_AT_ONCE = 250


@dataclass(frozen=True)
class ImageLabels:
    """Labels of images, in words."""

    targets: NDArray[np.generic]
    """Classes (n,), or multi-label targets (n, K)."""
    classes: tuple[str, ...]

    @classmethod
    def of(cls, split: DataSplit, classes: tuple[str, ...]) -> "ImageLabels":
        """Return the labels of a split's images."""
        return cls(split.targets.numpy(), classes)

    def spelled(self, image: int) -> str:
        """Return the class of an image, or its labels, in words."""
        if self.targets.ndim == 1:
            return self.classes[int(self.targets[image])]
        return "; ".join(self.classes[k] for k in np.flatnonzero(self.targets[image])) or "no label"

    def shared(self, image: int, other: "ImageLabels", there: int) -> bool:
        """Return whether two images have the same class, or at least one label in common."""
        if self.targets.ndim == 1:
            return bool(self.targets[image] == other.targets[there])
        return bool(np.logical_and(self.targets[image], other.targets[there]).any())


@dataclass(frozen=True)
class EncodedImages:
    """Images with their features."""

    split: DataSplit
    features: Numbers
    """Features, (n, F)."""
    words: ImageLabels

    @property
    def by_hash(self) -> NDArray[np.int64]:
        """Return the images' indices sorted by stable hash, so that all reports show the same images."""
        return np.argsort(self.split.store.stable_fractions(self.split.rows, SUBSET_SALT), kind="stable")


def encoded(
    encoder: Encoder, data: TrialData, classes: tuple[str, ...], *, image_size: int
) -> tuple[EncodedImages, EncodedImages]:
    """Return samples of test and labelled train images with their features: those with the smallest stable hash."""
    tests, trains = _numbers(encoder, data, image_size)
    splits = limited(data.test, tests), limited(data.bank, trains)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder.to(device)
    with progress("encoding images", sum(map(len, splits))) as advance:
        test, train = (
            EncodedImages(split, _features(encoder, split, image_size, device, advance), ImageLabels.of(split, classes))
            for split in splits
        )
    return test, train


def _numbers(encoder: Encoder, data: TrialData, image_size: int) -> tuple[int, int]:
    """Return the numbers of test and train images that the encoder's cost allows."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder(torch.zeros(1, data.channels, image_size, image_size))
    affordable = MOST_OPERATIONS // max(1, counter.get_total_flops())
    tests = int(np.clip(affordable // 6, FEWEST_TEST, MOST_TEST))
    return tests, int(np.clip(affordable - tests, FEWEST_TRAIN, MOST_TRAIN))


def _features(
    encoder: Encoder, split: DataSplit, image_size: int, device: torch.device, advance: Callable[[int], None]
) -> Numbers:
    pieces = []
    for start in range(0, len(split), ENCODED_AT_ONCE):
        piece = split.part(np.arange(start, min(start + ENCODED_AT_ONCE, len(split))))
        pieces.append(encode(encoder, piece, image_size=image_size, device=device).features.cpu().numpy())
        advance(len(piece))
    return np.concatenate(pieces)
