"""Overlapping windows over a scene, and the weighted blending of their predictions; pure."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from trainables.errors import BadInputError

Values = NDArray[np.float32] | NDArray[np.float64]
"""Values of pixels: float32, or float64 for numbers that float32 rounds too much."""
Mask = NDArray[np.bool_]
LEAST_WEIGHT = 0.03
"""Weight at a window's border: large enough that a full window decides there, small enough to hide seams."""
FULLNESS = 8
"""Exponent of a window's valid share: a half valid window weighs 256 times less than a full one."""
LEAST_SHARE = 1 / 64
"""Valid share below which windows weigh the same: the power of a pixel's share of a large window would be 0."""
MOST_OVERLAP = 0.95
"""Maximum overlap, at which each pixel is in 400 windows."""


def starts(length: int, side: int, overlap: float) -> list[int]:
    """Return the first pixel of each window in one direction; every pixel is in at least one window.

    Args:
        length: Length of the scene in pixels.
        side: Side of a window in pixels.
        overlap: Share of a window that the next one overlaps; the last window ends with the scene.

    Raises:
        BadInputError: The scene is smaller than a window, or the overlap isn't in [0, 0.95].
    """
    if not 0.0 <= overlap <= MOST_OVERLAP:
        raise BadInputError(f"--overlap must be >= 0 and <= {MOST_OVERLAP}, got {overlap}")
    if length < side:
        raise BadInputError(f"the scene has {length} pixels in one direction, a window {side}: give a larger scene")
    step = max(1, round(side * (1.0 - overlap)))
    return [*range(0, length - side, step), length - side]


def weights(side: int) -> Values:
    """Return the weight of each pixel of a window, (side, side): a raised cosine, positive everywhere.

    Windows that overlap by half have a constant sum of weights; blending divides by the sum.
    """
    line = LEAST_WEIGHT + (1.0 - LEAST_WEIGHT) * np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    return np.outer(line, line).astype(np.float32)


def fill(values: NDArray[np.generic], valid: Mask) -> NDArray[np.generic]:
    """Return a window (H, W, C) with each band's mean of valid pixels in place of invalid ones.

    A constant nodata value would look to the model like dark water.
    """
    if valid.all():
        return values
    filled, means = values.copy(), values[valid].mean(axis=0)
    filled[~valid] = means if values.dtype.kind == "f" else np.rint(means).astype(values.dtype)
    return filled


class BlendedWindows:
    """Weighted mean of overlapping windows; only as many rows as a window are in memory.

    Windows are added in rows from the top; `release` returns the rows that no later window reaches.

    Args:
        side: Side of a window in pixels.
        width: Width of the scene in pixels.
        channels: Number of values per window.
        dtype: Type of the sums and means, float32 or float64.
    """

    def __init__(self, side: int, width: int, channels: int, dtype: str = "float32") -> None:
        self._weights = weights(side)
        self._total = np.zeros((channels, side, width), dtype=dtype)
        self._weight = np.zeros((side, width), dtype=dtype)

    def add(self, left: int, values: Values, share: float) -> None:
        """Add a window's prediction; the weight falls with its share of invalid pixels, so that fuller windows decide.

        Args:
            left: First column of the window.
            values: Prediction (channels,).
            share: Share of valid pixels.
        """
        side = len(self._weights)
        counted = self._weights * np.float32(max(share, LEAST_SHARE) ** FULLNESS)
        self._weight[:, left : left + side] += counted
        for total, value in zip(self._total, values.astype(self._total.dtype), strict=True):
            total[:, left : left + side] += counted * value

    def release(self, rows: int) -> Values:
        """Return the means of the first `rows` rows, and continue below them.

        Returns:
            Means (channels, rows, width); NaN in pixels without a window.
        """
        with np.errstate(invalid="ignore"):
            means = self._total[:, :rows] / self._weight[:rows]
        for kept in (*self._total, self._weight):
            kept[: len(kept) - rows] = kept[rows:].copy()
            kept[len(kept) - rows :] = 0.0
        return means


def steps(tops: list[int], side: int) -> Iterator[tuple[int, int]]:
    """Yield for each row of windows its first pixel row, and the number of pixel rows finished after it."""
    for number, top in enumerate(tops):
        yield top, (tops[number + 1] - top if number + 1 < len(tops) else side)
