"""Linear scale: signed and floating-point values to stored pixels, and their percentiles in memory of a fixed size."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.errors import BadInputError

FLOATS = "float32"
"""Type of decoded images whose values aren't unsigned 8- or 16-bit integers; NaN is a value without data."""
CODES = 2**16
"""Number of values of half a float32's bits."""
Ranges = tuple[tuple[float, float], ...]
"""Values of each channel that become the smallest and the largest pixel."""


@dataclass(frozen=True)
class LinearScale:
    """Scale clip((value + offset) / scale, 0, 1) of the pixels' range; values without data (NaN) become 0.

    `offsets` and `scales` have one number for all channels, or one per channel.
    """

    offsets: tuple[float, ...]
    scales: tuple[float, ...]
    dtype: str
    """uint8 or uint16."""
    truncated: bool = False
    """Whether fractions of a pixel's value are cut off, as by the rule `thesis`; otherwise they are rounded."""
    is_counted: bool = True
    """Whether values beyond the range are counted; percentiles have some by definition."""

    @classmethod
    def of_ranges(cls, ranges: Sequence[tuple[float, float]], dtype: str, *, is_counted: bool = True) -> "LinearScale":
        """Return the scale by which each channel's `low` becomes 0 and `high` the largest pixel."""
        scales = tuple(high - low for low, high in ranges)
        return cls(tuple(-low for low, _ in ranges), scales, dtype, is_counted=is_counted)

    def __call__(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return the pixels (H, W, C) of values (H, W, C)."""
        if len(self.scales) not in (1, image.shape[2]):
            raise BadInputError(f"expected {len(self.scales)} channels, found {image.shape[2]}")
        shares = image.astype(np.float64)
        shares += np.array(self.offsets)
        shares /= np.array(self.scales)
        np.clip(shares, 0.0, 1.0, out=shares)
        shares[np.isnan(shares)] = 0.0
        shares *= np.iinfo(self.dtype).max
        if not self.truncated:
            np.rint(shares, out=shares)
        return shares.astype(self.dtype)

    def cut(self, image: NDArray[Any]) -> Counter[str]:
        """Return the number of values beyond the range, in words by the end at which they are cut off."""
        if not self.is_counted:
            return Counter()
        low = 0.0 - np.array(self.offsets)
        high = low + np.array(self.scales)
        lows, highs = (f" {ends[0]:g}" if len(ends) == 1 else " their range" for ends in (low, high))
        below, above = int((image < low).sum()), int((image > high).sum())
        return Counter(
            {f"values below{lows} became 0": below, f"values above{highs} became {np.iinfo(self.dtype).max}": above}
        )


def percentile_ranges(images: Callable[[], Iterable[NDArray[Any]]], percentiles: tuple[float, float]) -> Ranges:
    """Return two percentiles of each channel's values, exact in two passes: by the upper, then the lower 16 bits.

    Args:
        images: Function that iterates over the same images (H, W, C) float32 at each call; NaN isn't counted.
        percentiles: Lower and upper percentile.

    Raises:
        BadInputError: No image, or a channel without any value.
    """
    upper = np.zeros((0, CODES), dtype=np.int64)
    for image in images():
        upper = upper if len(upper) else np.zeros((image.shape[2], CODES), dtype=np.int64)
        for channel, codes in enumerate(_channel_codes(image)):
            upper[channel] += np.bincount(codes >> 16, minlength=CODES)
    totals = upper.sum(axis=1)
    if not len(totals) or not totals.all():
        which = "no image" if not len(totals) else f"channel {int(totals.argmin()) + 1} has no value"
        raise BadInputError(f"{which} to take percentiles of")
    cumulated = np.cumsum(upper, axis=1)
    found = [[_first(counts, total, p) for p in percentiles] for counts, total in zip(cumulated, totals, strict=True)]
    lower = np.zeros((len(totals), len(percentiles), CODES), dtype=np.int64)
    for image in images():
        for channel, codes in enumerate(_channel_codes(image)):
            for number, own in enumerate(found[channel]):
                lower[channel, number] += np.bincount(codes[codes >> 16 == own] & (CODES - 1), minlength=CODES)
    ranges = []
    for channel, total in enumerate(totals):
        ends = []
        for number, (own, percentile) in enumerate(zip(found[channel], percentiles, strict=True)):
            before = cumulated[channel, own - 1] if own else 0
            rest = _first(before + np.cumsum(lower[channel, number]), total, percentile)
            ends.append(_value(own * CODES + rest))
        wider = ends[0] + max(1, 1e-6 * abs(ends[0]))  # of equal values
        ranges.append((ends[0], ends[1] if ends[1] > ends[0] else wider))
    return tuple(ranges)


def number_of(text: str) -> float:
    """Return the number of a text, an int if it is whole and short, as ranges of integers are recorded."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < CODES**2 else value


def _first(cumulated: NDArray[np.int64], total: int, percentile: float) -> int:
    return int(np.searchsorted(cumulated / total * 100.0, percentile))


def _channel_codes(image: NDArray[Any]) -> Iterable[NDArray[np.uint32]]:
    """Yield each channel's values other than NaN as integers of the same order."""
    for channel in range(image.shape[2]):
        values = image[..., channel]
        bits = values[~np.isnan(values)].astype(np.float32).view(np.uint32)
        yield np.where(bits >> 31, ~bits, bits | np.uint32(2**31))


def _value(code: int) -> float:
    """Return the value of a code, rounded to the shortest text that is the same float32."""
    bits = np.uint32(code ^ 2**31 if code >> 31 else code ^ (2**32 - 1))
    return number_of(str(bits.view(np.float32)))
