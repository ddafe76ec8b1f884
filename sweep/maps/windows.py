"""Overlapping windows over a scene, and the blending of their predictions; pure."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from trainables.errors import BadInputError

Values = NDArray[np.float32]
Mask = NDArray[np.bool_]
LEAST_WEIGHT = 0.03
"""Of a line's outermost pixels: enough for a full window to decide at its edge, too little for a seam to be seen."""
FULLNESS = 8
"""Power of a window's valid share: a half filled one counts 256 times less than a full one that sees the same pixel."""
MOST_OVERLAP = 0.95
"""Each pixel is then in 400 windows."""


def starts(length: int, side: int, overlap: float) -> list[int]:
    """Return where the windows of `side` pixels begin along `length`, every pixel in one at least.

    `overlap` is the share of a window that the next one repeats; the last is moved back to end with the scene.
    BadInputError for a scene smaller than a window and for an overlap that isn't in [0, 0.95].
    """
    if not 0.0 <= overlap <= MOST_OVERLAP:
        raise BadInputError(f"--overlap must be >= 0 and <= {MOST_OVERLAP}, got {overlap}")
    if length < side:
        raise BadInputError(f"the scene has {length} pixels in one direction, a window {side}: give a larger scene")
    step = max(1, round(side * (1.0 - overlap)))
    return [*range(0, length - side, step), length - side]


def weights(side: int) -> Values:
    """Return how much each pixel of a window counts, (side, side): a raised cosine, nowhere zero.

    Windows that overlap by half add up to a constant; all are divided by what they add up to.
    """
    line = LEAST_WEIGHT + (1.0 - LEAST_WEIGHT) * np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    return np.outer(line, line).astype(np.float32)


def fill(values: NDArray[np.generic], valid: Mask) -> NDArray[np.generic]:
    """Return a window (H, W, C) whose invalid pixels have each band's mean over the valid ones.

    So that nodata look like nothing in particular, and not like black water.
    """
    if valid.all():
        return values
    filled = values.copy()
    filled[~valid] = np.rint(values[valid].mean(axis=0)).astype(values.dtype)
    return filled


class BlendedWindows:
    """The weighted mean of overlapping windows, as many rows of it in memory as a window has.

    `width` is the scene's, `channels` how many values a window has. Windows are added row by row of windows; `release`
    hands out the rows that no later one reaches.
    """

    def __init__(self, side: int, width: int, channels: int) -> None:
        self._weights = weights(side)
        self._total = np.zeros((channels, side, width), dtype=np.float32)
        self._weight = np.zeros((side, width), dtype=np.float32)

    def add(self, left: int, values: Values, share: float) -> None:
        """Add a window at column `left` that has `values` (channels,), `share` of whose pixels are valid.

        A window of much filling says little of its pixels: they are left to a fuller one, where there is one.
        """
        side = len(self._weights)
        counted = self._weights * np.float32(share**FULLNESS)
        self._weight[:, left : left + side] += counted
        for total, value in zip(self._total, values, strict=True):
            total[:, left : left + side] += counted * value

    def release(self, rows: int) -> Values:
        """Return the means of the first `rows` rows, (channels, rows, width), NaN where no window was; go on below."""
        with np.errstate(invalid="ignore"):
            means = self._total[:, :rows] / self._weight[:rows]
        for kept in (*self._total, self._weight):
            kept[: len(kept) - rows] = kept[rows:].copy()
            kept[len(kept) - rows :] = 0.0
        return means


def steps(tops: list[int], side: int) -> Iterator[tuple[int, int]]:
    """Yield for each row of windows its first row of pixels, and how many rows are finished after it."""
    for number, top in enumerate(tops):
        yield top, (tops[number + 1] - top if number + 1 < len(tops) else side)
