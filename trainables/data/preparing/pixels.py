"""Pixel conversion: decoded values to stored pixels, with size and 16-to-8-bit rules."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainables.data.preparing.linear_scale import LinearScale, Ranges, number_of, percentile_ranges
from trainables.data.sources.decode import UndecodableError
from trainables.data.sources.source import ImageEntry, LabelledImage
from trainables.data.stable_hash import PERCENTILE_SALT, stable_fraction
from trainables.errors import BadInputError

BRIGHTEST = 2000.0
"""Reflectance times 10,000 that becomes 255, as in TensorFlow Datasets' `bigearthnet/rgb`."""
PERCENTILES = (2.0, 98.0)
SAMPLE_IMAGES = 1000


@dataclass(frozen=True)
class FirstImage:
    """Channels and type of the first decoded image before conversion; all other images must have the same."""

    name: str
    channels: int
    dtype: str

    @classmethod
    def of(cls, name: str, image: NDArray[np.generic]) -> "FirstImage":
        """Return the channels and type of a (H, W, C) image."""
        return cls(name, image.shape[2], str(image.dtype))

    def check(self, name: str, image: NDArray[np.generic]) -> None:
        """Raise UndecodableError for an image with other channels or another type."""
        if image.ndim != 3 or image.shape[2] != self.channels or image.dtype != self.dtype:
            raise UndecodableError(
                f"{name}: has {image.shape[2]} channels of {image.dtype}, shape {image.shape}, and {self.name} has "
                f"{self.channels} of {self.dtype}: all images of a store have the same channels and bits; convert it "
                "as the others, or remove it"
            )


@dataclass(frozen=True)
class PixelConversion:
    """Conversion of a decoded image: centre crop and resizing to `size` (None: unchanged), then a table or scale.

    `tables` contains the pixel of every value, (1, values) or (channels, values). `scale` is for signed and
    floating-point values. Without both, values are kept.
    """

    size: int | None
    tables: NDArray[Any] | None = None
    scale: LinearScale | None = None

    def __call__(self, image: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the converted image (size, size, C) of a decoded image (H, W, C)."""
        if self.size is not None and image.shape[:2] != (self.size, self.size):
            image = fit(image, self.size)
        if self.scale is not None:
            return self.scale(image)
        if self.tables is None:
            return image
        if len(self.tables) == 1:
            return _looked_up(self.tables[0], image)
        if len(self.tables) != image.shape[2]:
            raise BadInputError(f"expected {len(self.tables)} channels, found {image.shape[2]}")
        return np.stack([_looked_up(table, image[..., channel]) for channel, table in enumerate(self.tables)], axis=-1)


def _looked_up(table: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """Look up in NumPy's fastest mode: no value is out of bounds, since the table has an entry for each of 16 bits."""
    return np.take(table, values, mode="wrap")


def fit(image: NDArray[np.generic], size: int) -> NDArray[np.generic]:
    """Return the central square of an image, resized with bicubic interpolation and antialiasing.

    Args:
        image: Image (H, W, C), uint8, uint16 or float32.
        size: Side of the result, in pixels.

    Returns:
        Image (size, size, C) of the same type.
    """
    height, width, channels = image.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    if image.dtype == np.uint8 and channels == 3:
        return np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.BICUBIC))
    bands = [
        np.asarray(Image.fromarray(square[..., c].astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC))
        for c in range(channels)
    ]
    if image.dtype.kind == "f":
        return np.stack(bands, axis=-1)
    limits = np.iinfo(image.dtype)  # type: ignore[type-var]
    resized: NDArray[np.generic] = np.clip(np.rint(np.stack(bands, axis=-1)), limits.min, limits.max).astype(
        image.dtype
    )
    return resized


def thesis_tables() -> NDArray[np.uint8]:
    """Return the thesis' lookup table (1, 65536): clip(value / 2000 * 255, 0, 255), truncated."""
    return scaled_tables(BRIGHTEST)


def scaled_tables(brightest: float) -> NDArray[np.uint8]:
    """Return the lookup table (1, 65536) of clip(value / brightest * 255, 0, 255), truncated."""
    values = np.clip(np.arange(2**16) / brightest * 255.0, 0, 255).astype(np.uint8)
    return values[None]


def reflectance_tables(scale: float, offset: float) -> NDArray[np.uint16]:
    """Return the lookup table (1, 65536) of clip((value + offset) / scale, 0, 1) in 16 bits, rounded."""
    values = np.clip((np.arange(2**16) + offset) / scale, 0.0, 1.0)
    table: NDArray[np.uint16] = np.rint(values * (2**16 - 1)).astype(np.uint16)[None]
    return table


def stated_scale(
    rule: str, reflectance: tuple[float, float] | None, value_range: tuple[float, float] | None
) -> LinearScale:
    """Return the scale of a rule that is stated in numbers, for signed and floating-point values.

    Args:
        rule: One of PIXEL_RULES, except `percentiles`.
        reflectance: Scale and offset of the rule `reflectance`.
        value_range: Values that become 0 and 65535 with the rule `none`.

    Raises:
        BadInputError: The rule `none` without a range.
    """
    if rule == "thesis":
        return LinearScale((0.0,), (BRIGHTEST,), "uint8", truncated=True)
    if rule == "reflectance" and reflectance is not None:
        return LinearScale(reflectance[1:], reflectance[:1], "uint16")
    if value_range is not None:
        return LinearScale.of_ranges([value_range], "uint16")
    raise BadInputError("--pixels none: signed and floating-point values need --value-range LOW,HIGH")


def percentile_tables(
    entries: Iterable[ImageEntry], reference: FirstImage | None = None, *, skip_corrupt: bool = False
) -> tuple[NDArray[np.uint8], tuple[tuple[int, int], ...]]:
    """Return the lookup tables of the percentile rule, and each channel's values (low, high) that become 0 and 255.

    Percentiles are of the images with the smallest stable hashes, so they hardly depend on file order or on added
    images. Pixels that are marked as lacking data aren't counted.

    Args:
        entries: Images to measure.
        reference: Channels and type that all images must have; None: those of the first image.
        skip_corrupt: Whether undecodable images are left out.

    Returns:
        Tables (channels, 65536), uint8, and one (low, high) per channel.

    Raises:
        BadInputError: There is no image.
    """
    counts: NDArray[np.int64] | None = None
    for picture in _decoded(_sampled(entries), reference, skip_corrupt=skip_corrupt):
        channels = picture.image.shape[2]
        if counts is None:
            counts = np.zeros((channels, 2**16), dtype=np.int64)
        for channel in range(channels):
            values = picture.image[..., channel]
            counted = values.ravel() if picture.lacking is None else values[~picture.lacking]
            counts[channel] += np.bincount(counted, minlength=2**16)
    if counts is None or not counts.any():
        raise BadInputError("no image to take percentiles of")
    ranges = tuple(_range(channel) for channel in counts)
    return range_tables(ranges), ranges


def percentile_scale(
    entries: Iterable[ImageEntry], reference: FirstImage, *, skip_corrupt: bool = False
) -> tuple[LinearScale, Ranges]:
    """Return the scale of the percentile rule for float32 images; arguments and ranges as in `percentile_tables`."""
    chosen = _sampled(entries)
    ranges = percentile_ranges(
        lambda: (picture.image for picture in _decoded(chosen, reference, skip_corrupt=skip_corrupt)), PERCENTILES
    )
    return LinearScale.of_ranges(ranges, "uint8", is_counted=False), ranges


def _sampled(entries: Iterable[ImageEntry]) -> list[ImageEntry]:
    """Return the images with the smallest stable hashes, in the order of the files, so that a scene is read once."""
    chosen = heapq.nsmallest(
        SAMPLE_IMAGES, enumerate(entries), key=lambda one: stable_fraction([one[1].name], salt=PERCENTILE_SALT)[0]
    )
    return [entry for _, entry in sorted(chosen, key=lambda one: one[0])]


def _decoded(
    entries: Iterable[ImageEntry], reference: FirstImage | None, *, skip_corrupt: bool
) -> Iterator[LabelledImage]:
    for entry in entries:
        try:
            picture = entry.read()
            reference = reference or FirstImage.of(entry.name, picture.image)
            reference.check(entry.name, picture.image)
        except BadInputError:
            if skip_corrupt:
                continue
            raise
        yield picture


def range_tables(ranges: Sequence[tuple[float, float]], dtype: str = "uint8") -> NDArray[Any]:
    """Return the lookup tables (channels, 65536) of ranges (low, high), which become the range of the type."""
    return np.stack([_stretch(low, high, dtype) for low, high in ranges])


def described_ranges(bands: Sequence[str], ranges: Sequence[tuple[float, float]]) -> str:
    """Return percentile ranges as text for a store's info."""
    return ", ".join(f"{band}: {low} to {high}" for band, (low, high) in zip(bands, ranges, strict=True))


def read_ranges(described: str) -> Ranges:
    """Return the ranges from text of `described_ranges`; empty for an empty text."""
    pairs = (part.rpartition(": ")[2].split(" to ") for part in described.split(", ") if part)
    return tuple((number_of(low), number_of(high)) for low, high in pairs)


def _range(counts: NDArray[np.int64]) -> tuple[int, int]:
    cumulated = np.cumsum(counts) / counts.sum() * 100.0
    low, high = (int(np.searchsorted(cumulated, percentile)) for percentile in PERCENTILES)
    return low, max(high, low + 1)


def _stretch(low: float, high: float, dtype: str) -> NDArray[Any]:
    most = np.iinfo(dtype).max
    table: NDArray[Any] = np.clip(np.rint((np.arange(2**16) - low) / (high - low) * most), 0, most).astype(dtype)
    return table
