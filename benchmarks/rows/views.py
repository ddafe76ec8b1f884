"""Views a second: ours, made in batches, beside lightly's and torchvision's, made image by image with Pillow."""

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
from trainables.randomness import RandomStream

GOALS = ((64, 20.0), (120, 8.0))
"""Side of stored images and views, and by how much one core of ours is to be faster."""
BATCH, PEER_IMAGES = 256, 32
THREADS_GOAL = 1.7
BANDS_GOAL = 0.6
"""Of the rate of a band in views of pictures."""


def measurements() -> Iterator[PlannedMeasurement]:
    """Yield what `make bench` measures of views; needs lightly."""
    for side, goal in GOALS:
        yield PlannedMeasurement(
            f"views a second and core, {side} px",
            "lightly's SimCLRTransform of decoded images",
            lambda side=side: views(side, lightly_transform(side)),
            "/s",
            goal,
            at_most=False,
        )
    for side, _ in GOALS:
        yield PlannedMeasurement(
            f"views a second with two threads, {side} px",
            "ours with one thread",
            lambda side=side: two_threads(side),
            "/s",
            THREADS_GOAL,
            at_most=False,
        )
    yield of_bands()


def of_bands(bands: int = 13, side: int = 64) -> PlannedMeasurement:
    """Return the rate of a band: views of 16-bit images of many bands beside those of 8-bit pictures."""
    return PlannedMeasurement(
        f"bands a second and core in views of {bands} bands, {side} px",
        "ours of red, green and blue",
        lambda: bands_a_second(bands, side),
        "/s",
        BANDS_GOAL,
        at_most=False,
    )


def bands_a_second(bands: int, side: int, turns: int = 7) -> PairedTimings:
    """Measure bands of views a second, side by side, in one thread; all have the default views."""
    with threads(1):
        took = beside(ViewBatches(side, bands), ViewBatches(side), turns=turns)
    return took.rates(2 * BATCH * bands, 2 * BATCH * 3)


def small(side: int = 64) -> PlannedMeasurement:
    """Return the same beside torchvision's transforms, which are always there."""
    return PlannedMeasurement(
        f"views a second and core, {side} px",
        "torchvision's transforms of decoded images",
        lambda: views(side, torchvision_transform(side)),
        "/s",
        dict(GOALS)[side],
        at_most=False,
    )


def views(side: int, transform: Callable[[Image.Image], Any], turns: int = 7) -> PairedTimings:
    """Measure views a second of both in one thread."""
    pictures = [Image.fromarray(each) for each in made_up_images(PEER_IMAGES, side).numpy()]
    with threads(1):
        took = beside(ViewBatches(side), lambda: [transform(picture) for picture in pictures], turns=turns)
    return took.rates(2 * BATCH, 2 * PEER_IMAGES)


def two_threads(side: int, turns: int = 7) -> PairedTimings:
    """Measure our views a second with two threads beside one."""
    make = ViewBatches(side)

    def one() -> None:
        with threads(1):
            make()

    def two() -> None:
        with threads(2):
            make()

    return beside(two, one, turns=turns).rates(2 * BATCH)


class ViewBatches:
    """Makes both views of batch after batch, drawing their parameters first."""

    def __init__(self, side: int, bands: int = 3) -> None:
        self._config = TrialConfig.parse({"dataset": "made-up", "image_size": side, "batch_size": BATCH})
        images = made_up_images(BATCH, side).permute(0, 3, 1, 2)
        if bands > 3:  # each band one of the picture's, in 16 bits, as stores hold them: channels last
            many = images[:, torch.arange(bands) % 3].to(torch.int32) * 257
            images = many.to(torch.uint16).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        self._images = images
        self._number = 0

    def __call__(self) -> None:
        """Make the next."""
        size = {"height": self._config.image_size, "width": self._config.image_size}
        size["channels"] = self._images.shape[1]
        first, second = (
            draw_view(self._config, stream, self._number, BATCH, **size)
            for stream in (RandomStream.VIEW_A, RandomStream.VIEW_B)
        )
        two_views(self._images, (first, second), image_size=self._config.image_size)
        self._number += 1


def lightly_transform(side: int) -> Callable[[Image.Image], Any]:
    """Return lightly's transform with our strength of jitter and blur, which are its own defaults."""
    from lightly.transforms import SimCLRTransform

    return SimCLRTransform(input_size=side, cj_strength=1.0, gaussian_blur=0.5)


def torchvision_transform(side: int) -> Callable[[Image.Image], Any]:
    """Return the same of torchvision's parts; its blur works on tensors."""
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
