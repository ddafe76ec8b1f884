"""Views per second: ours, made in batches, beside lightly's and torchvision's, made image by image with Pillow."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from PIL import Image
from torchvision import transforms

from benchmarks.harness.machine import threads
from benchmarks.harness.made_up import made_up_images
from benchmarks.harness.measurement import PairedTimings, PlannedMeasurement, beside
from trainables.augment.parameters import draw_view
from trainables.augment.views import two_views
from trainables.config import TrialConfig
from trainables.randomness.counter_based import RandomStream

GOALS = ((64, 20.0), (120, 8.0))
"""Side of stored images and views, and how many times faster one core of ours should be."""
BATCH, PEER_IMAGES = 256, 32
THREADS_GOAL = 1.7
BANDS_GOAL = 0.6
"""Goal for the rate per band, relative to the rate per channel of 8-bit RGB views."""


def measurements() -> Iterator[PlannedMeasurement]:
    """Yield the measurements of views for `make bench`; needs lightly."""
    for side, goal in GOALS:
        yield PlannedMeasurement(
            f"views per second and core, {side} px",
            "lightly's SimCLRTransform of decoded images",
            lambda side=side: views(side, lightly_transform(side)),
            "/s",
            goal,
            at_most=False,
        )
    for side, _ in GOALS:
        yield PlannedMeasurement(
            f"views per second with two threads, {side} px",
            "ours with one thread",
            lambda side=side: two_threads(side),
            "/s",
            THREADS_GOAL,
            at_most=False,
        )
    yield of_bands()


def of_bands(bands: int = 13, side: int = 64) -> PlannedMeasurement:
    """Return the rate per band: views of 16-bit images of many bands beside views of 8-bit RGB images."""
    return PlannedMeasurement(
        f"bands per second and core in views of {bands} bands, {side} px",
        "ours of red, green and blue",
        lambda: bands_a_second(bands, side),
        "/s",
        BANDS_GOAL,
        at_most=False,
    )


def bands_a_second(bands: int, side: int, turns: int = 7) -> PairedTimings:
    """Measure bands of default views per second, in turns and with one thread."""
    with threads(1):
        took = beside(ViewBatches(side, bands), ViewBatches(side), turns=turns)
    return took.rates(2 * BATCH * bands, 2 * BATCH * 3)


def small(side: int = 64) -> PlannedMeasurement:
    """Return a small measurement beside torchvision's transforms, which are always installed."""
    return PlannedMeasurement(
        f"views per second and core, {side} px",
        "torchvision's transforms of decoded images",
        lambda: views(side, torchvision_transform(side)),
        "/s",
        dict(GOALS)[side],
        at_most=False,
    )


def views(side: int, transform: Callable[[Image.Image], Any], turns: int = 7) -> PairedTimings:
    """Measure views per second of both with one thread."""
    pictures = [Image.fromarray(each) for each in made_up_images(PEER_IMAGES, side).numpy()]
    with threads(1):
        took = beside(ViewBatches(side), lambda: [transform(picture) for picture in pictures], turns=turns)
    return took.rates(2 * BATCH, 2 * PEER_IMAGES)


def two_threads(side: int, turns: int = 7) -> PairedTimings:
    """Measure our views per second with two threads beside one."""
    make = ViewBatches(side)

    def one() -> None:
        with threads(1):
            make()

    def two() -> None:
        with threads(2):
            make()

    return beside(two, one, turns=turns).rates(2 * BATCH)


class ViewBatches:
    """Generator of both views of consecutive batches, including their parameters."""

    def __init__(self, side: int, bands: int = 3) -> None:
        self._config = TrialConfig.parse({"dataset": "made-up", "image_size": side, "batch_size": BATCH})
        images = made_up_images(BATCH, side).permute(0, 3, 1, 2)
        if bands > 3:  # each band one of the picture's, in 16 bits, as stores hold them: channels last
            many = images[:, torch.arange(bands) % 3].to(torch.int32) * 257
            images = many.to(torch.uint16).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        self._images = images
        self._number = 0

    def __call__(self) -> None:
        """Make the next batch."""
        size = {"height": self._config.image_size, "width": self._config.image_size}
        size["channels"] = self._images.shape[1]
        first, second = (
            draw_view(self._config, stream, self._number, BATCH, **size)
            for stream in (RandomStream.VIEW_A, RandomStream.VIEW_B)
        )
        two_views(self._images, (first, second), image_size=self._config.image_size)
        self._number += 1


def lightly_transform(side: int) -> Callable[[Image.Image], Any]:
    """Return lightly's transform with our strengths of jitter and blur, its own defaults."""
    from lightly.transforms import SimCLRTransform

    return SimCLRTransform(input_size=side, cj_strength=1.0, gaussian_blur=0.5)


def torchvision_transform(side: int) -> Callable[[Image.Image], Any]:
    """Return the same transform from torchvision's parts; its blur works on tensors."""
    one = transforms.Compose(
        [
            transforms.RandomResizedCrop(side, scale=(0.08, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.RandomApply([transforms.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8),
            transforms.RandomGrayscale(0.2),
            transforms.ToTensor(),
            transforms.RandomApply([transforms.GaussianBlur(2 * (side // 10 // 2) + 1, (0.1, 2.0))], p=0.5),
        ]
    )
    return lambda picture: (one(picture), one(picture))
