"""Scene reduced for display by averaging, from rows that are passed once; pure."""

import numpy as np
from numpy.typing import NDArray

from sweep.maps.windows import Mask, Values


class ReducedScene:
    """Mean of the valid pixels that each pixel of the reduced scene covers; rows are added from the top down.

    Args:
        height: Rows of the scene.
        width: Columns of the scene.
        channels: Channels to reduce, by number.
        most: Maximum number of reduced pixels per side; a smaller scene keeps its pixels.
    """

    def __init__(self, height: int, width: int, channels: list[int], most: int) -> None:
        scale = max(1.0, max(height, width) / most)
        rows, columns = (max(1, round(side / scale)) for side in (height, width))
        self._channels = channels
        self._row_of = np.arange(height) * rows // height
        self._first_columns = np.searchsorted(np.arange(width) * columns // width, np.arange(columns))
        self._sums = np.zeros((rows, columns, len(channels)))
        self._counts = np.zeros((rows, columns), dtype=np.int64)
        self._added = 0

    def add(self, values: NDArray[np.generic], valid: Mask) -> None:
        """Add the next rows.

        Args:
            values: Values (rows, W, C) of all channels of the scene.
            valid: Valid pixels (rows, W).
        """
        rows = self._row_of[self._added : self._added + len(values)]
        kept = np.where(valid[..., None], values[..., self._channels], 0)
        np.add.at(self._sums, rows, np.add.reduceat(kept, self._first_columns, axis=1, dtype=np.float64))
        np.add.at(self._counts, rows, np.add.reduceat(valid, self._first_columns, axis=1, dtype=np.int64))
        self._added += len(values)

    @property
    def valid(self) -> Mask:
        """Reduced pixels (h, w) that cover at least one valid pixel."""
        covered: Mask = self._counts > 0
        return covered

    @property
    def means(self) -> Values:
        """Means (h, w, channels) of the valid pixels; 0 without any."""
        means: Values = (self._sums / np.maximum(self._counts, 1)[..., None]).astype(np.float32)
        return means
