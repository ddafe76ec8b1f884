"""Random augmentation parameters of a global batch, drawn on the CPU; each rank takes its slice.

Crops follow torchvision's RandomResizedCrop, or TensorFlow's sample_distorted_bounding_box with the whole image as the
object, as in the reference.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from trainables.config import COLOUR_OPERATIONS, JITTER_OPERATIONS, RED_GREEN_BLUE, TrialConfig
from trainables.randomness.counter_based import RandomStream, uniform

MIN_OBJECT_COVERED = 0.1
FIRST_CROP_BLOCK = 3
TURNS_BLOCK = FIRST_CROP_BLOCK + 100  # after the crop blocks of the rule with the most attempts
BANDS_BLOCK, DROPS_BLOCK = TURNS_BLOCK + 1, TURNS_BLOCK + 2

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class ViewDraws:
    """Augmentation parameters of one view of N images."""

    boxes: Integers
    """(N, 4): top, left, height and width of the crop, in source pixels."""
    flip: NDArray[np.bool_]
    """(N,): whether the view is flipped horizontally."""
    vertical_flip: NDArray[np.bool_]
    """(N,): whether the view is flipped vertically."""
    quarter_turns: Integers
    """(N,): number of counter-clockwise rotations by 90 degrees, 0 to 3."""
    jitter: NDArray[np.bool_]
    """(N,): whether colours are jittered."""
    order: Integers
    """(N, 4): indices into JITTER_OPERATIONS in order of application; -1 for none."""
    factors: Floats
    """(N, 4): factors of brightness, contrast and saturation, and the hue offset in turns."""
    grayscale: NDArray[np.bool_]
    """(N,): whether the view is converted to grayscale."""
    blur: NDArray[np.bool_]
    """(N,): whether the view is blurred."""
    sigma: Floats
    """(N,): standard deviation of the blur, in pixels."""
    band_factors: Floats
    """(N, 2, C): brightness and contrast factors per band, instead of those in `factors`; (N, 2, 0): none."""
    dropped: NDArray[np.bool_]
    """(N, C): whether a band is set to 0; (N, 0): none."""
    colours: tuple[int, int, int] | None = RED_GREEN_BLUE
    """Channel indices of red, green and blue; None without them."""

    def __len__(self) -> int:
        return len(self.flip)

    def slice(self, part: slice) -> Self:
        """Return the parameters of a slice of the images."""
        return self._with({name: getattr(self, name)[part] for name in PER_IMAGE})

    def joined(self, other: Self) -> Self:
        """Return the parameters concatenated with those of `other`."""
        return self._with({name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in PER_IMAGE})

    def _with(self, parts: dict[str, Any]) -> Self:
        return replace(self, **parts)


PER_IMAGE = tuple(field.name for field in fields(ViewDraws) if field.name != "colours")


def draw_view(
    config: TrialConfig,
    stream: RandomStream,
    step: int,
    count: int,
    *,
    height: int,
    width: int,
    channels: int = 3,
    colours: tuple[int, int, int] | None = RED_GREEN_BLUE,
) -> ViewDraws:
    """Draw the parameters of one view for the `count` images of a step, as a pure function of (seed, stream, step).

    `colours` are the channel indices of red, green and blue. If None, saturation, hue and grayscale aren't applied.
    """
    coins = uniform(config.seed, stream, step, (count, 4))
    numbers = uniform(config.seed, stream, step, (count, 8), block=1)
    turns = uniform(config.seed, stream, step, (count, 3), block=TURNS_BLOCK)
    strength = 0.8 * config.jitter_strength
    factors = np.empty((count, 4))
    low, high = max(0.0, 1.0 - strength), 1.0 + strength
    factors[:, :3] = _between(numbers[:, :3], low, high)
    bands = channels if config.jitter_per == "band" else 0
    factors[:, 3] = _between(numbers[:, 3], -0.2 * config.jitter_strength, 0.2 * config.jitter_strength)
    sigma_numbers = uniform(config.seed, stream, step, (count,), block=2)
    if config.blur_sigma_per == "batch":
        sigma_numbers = np.broadcast_to(sigma_numbers[:1], (count,))
    return ViewDraws(
        boxes=_draw_boxes(config, stream, step, count, height, width),
        flip=coins[:, 0] < config.flip_probability,
        vertical_flip=turns[:, 0] < config.vertical_flip_probability,
        quarter_turns=np.where(turns[:, 1] < config.rotation_probability, 1 + (3 * turns[:, 2]).astype(np.int64), 0),
        jitter=coins[:, 1] < config.jitter_probability,
        order=_draw_order(numbers[:, 4:], config.jitter_operations, coloured=colours is not None),
        factors=factors,
        grayscale=(coins[:, 2] < config.grayscale_probability) & (colours is not None),
        blur=coins[:, 3] < config.blur_probability,
        sigma=_between(sigma_numbers, *config.blur_sigma),
        band_factors=_between(uniform(config.seed, stream, step, (count, 2, bands), block=BANDS_BLOCK), low, high),
        dropped=_draw_dropped(config, stream, step, count, channels),
        colours=colours,
    )


def _draw_dropped(config: TrialConfig, stream: RandomStream, step: int, count: int, channels: int) -> NDArray[np.bool_]:
    """Draw the dropped bands (count, C), never all bands of a view; (count, 0) without dropping."""
    if config.band_drop_probability == 0.0:
        return np.zeros((count, 0), dtype=np.bool_)
    numbers = uniform(config.seed, stream, step, (count, channels), block=DROPS_BLOCK)
    dropped = numbers < config.band_drop_probability
    dropped[np.arange(count), numbers.argmax(axis=1)] = False
    return dropped


def _draw_order(numbers: Floats, operations: tuple[str, ...], *, coloured: bool) -> Integers:
    order = np.argsort(numbers, axis=1, kind="stable")
    meant = [name for name in operations if coloured or name not in COLOUR_OPERATIONS]
    left_out = [number for number, name in enumerate(JITTER_OPERATIONS) if name not in meant]
    return np.where(np.isin(order, left_out), -1, order)


def _between(numbers: Floats, low: float, high: float) -> Floats:
    return low + numbers * (high - low)


def _draw_boxes(config: TrialConfig, stream: RandomStream, step: int, count: int, height: int, width: int) -> Integers:
    """Draw crops (count, 4) of top, left, height and width until all are acceptable or the rule's fallback applies."""
    rule = CROP_RULES[config.crop_rule]
    boxes = np.tile(np.array(rule.fallback(height, width, config.crop_aspect), dtype=np.int64), (count, 1))
    missing = np.arange(count)
    for attempt in range(rule.attempts):
        # The whole block is drawn, so that an image's numbers are independent of the other images' attempts.
        numbers = uniform(config.seed, stream, step, (count, 4), block=FIRST_CROP_BLOCK + attempt)[missing]
        candidates, acceptable = rule.candidates(
            numbers, area=config.crop_area, aspect=config.crop_aspect, height=height, width=width
        )
        boxes[missing[acceptable]] = candidates[acceptable]
        missing = missing[~acceptable]
        if len(missing) == 0:
            break
    return boxes


def tensorflow_crops(
    numbers: Floats, *, area: tuple[float, float], aspect: tuple[float, float], height: int, width: int
) -> tuple[Integers, NDArray[np.bool_]]:
    """Convert uniform numbers (N, 4) to crops by TensorFlow's rule.

    The aspect ratio is uniform. The integer height, rather than the area, is then uniform between the heights of the
    smallest and largest area. Offsets exclude their upper end.

    Returns:
        Boxes (N, 4) and a mask (N,) of the acceptable ones.
    """
    ratio = _between(numbers[:, 0], *aspect)
    smallest, largest = area[0] * height * width, area[1] * height * width
    low = np.rint(np.sqrt(smallest / ratio))
    high = np.rint(np.sqrt(largest / ratio))
    # Largest height whose rounded width still fits.
    fitting = np.floor((width + 0.5 - 1e-7) / ratio)
    fitting -= np.rint(fitting * ratio) > width
    high = np.minimum(np.where(np.rint(high * ratio) > width, fitting, high), height)
    low = np.minimum(low, high)
    crop_height = low + np.floor(numbers[:, 1] * (high - low + 1))
    # Rounding may move the area just outside its limits; then the height changes by one pixel.
    crop_height += crop_height * np.rint(crop_height * ratio) < smallest
    crop_height -= crop_height * np.rint(crop_height * ratio) > largest
    crop_width = np.rint(crop_height * ratio)
    crop = crop_height * crop_width
    acceptable = (smallest <= crop) & (crop <= largest) & (crop_height <= height) & (crop_width <= width)
    acceptable &= (crop_width > 0) & (crop >= MIN_OBJECT_COVERED * height * width)
    top = np.floor(numbers[:, 2] * np.maximum(height - crop_height, 0))
    left = np.floor(numbers[:, 3] * np.maximum(width - crop_width, 0))
    return np.stack([top, left, crop_height, crop_width], axis=1).astype(np.int64), acceptable


def torchvision_crops(
    numbers: Floats, *, area: tuple[float, float], aspect: tuple[float, float], height: int, width: int
) -> tuple[Integers, NDArray[np.bool_]]:
    """Convert uniform numbers (N, 4) to crops by torchvision's rule.

    The area is uniform, the aspect ratio log-uniform, and offsets include their upper end.

    Returns:
        Boxes (N, 4) and a mask (N,) of those that fit into the image.
    """
    target = _between(numbers[:, 1], *area) * height * width
    ratio = np.exp(_between(numbers[:, 0], *np.log(aspect)))
    crop_height, crop_width = np.rint(np.sqrt(target / ratio)), np.rint(np.sqrt(target * ratio))
    fits = (crop_height > 0) & (crop_height <= height) & (crop_width > 0) & (crop_width <= width)
    top = np.floor(numbers[:, 2] * np.maximum(height - crop_height + 1, 1))
    left = np.floor(numbers[:, 3] * np.maximum(width - crop_width + 1, 1))
    return np.stack([top, left, crop_height, crop_width], axis=1).astype(np.int64), fits


def _whole(height: int, width: int, aspect: tuple[float, float]) -> tuple[int, int, int, int]:
    return 0, 0, height, width


def _central(height: int, width: int, aspect: tuple[float, float]) -> tuple[int, int, int, int]:
    """Return the largest central crop with an allowed aspect ratio, as in torchvision."""
    crop_height, crop_width = height, width
    if width / height < aspect[0]:
        crop_height = round(width / aspect[0])
    elif width / height > aspect[1]:
        crop_width = round(height * aspect[1])
    return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width


class _CropRule(NamedTuple):
    candidates: Callable[..., tuple[Integers, NDArray[np.bool_]]]
    attempts: int
    fallback: Callable[[int, int, tuple[float, float]], tuple[int, int, int, int]]


CROP_RULES = {
    "tensorflow": _CropRule(tensorflow_crops, 100, _whole),
    "torchvision": _CropRule(torchvision_crops, 10, _central),
}
