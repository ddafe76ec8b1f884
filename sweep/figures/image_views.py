"""Images of a data store for display: evaluation views and augmented views."""

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.augment.evaluation_view import evaluation_view
from trainables.augment.parameters import draw_view
from trainables.augment.views import joined_views
from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.randomness.counter_based import RandomStream

Pictures = NDArray[np.float64]
"""Images (N, H, W, 3) in [0, 1]."""


SCREEN = 1 / 2.2
"""Exponent of the encoding for a screen; 16-bit values are taken as linear in light, as reflectance is."""


class StorePictures:
    """Images of a store for display: red, green and blue if available.

    16-bit values are stretched with the same limits and encoded for a screen.
    """

    def __init__(self, store: ImageStore, config: TrialConfig, rows: NDArray[np.int64]) -> None:
        """Open the images; 16-bit values are stretched from the 2nd to the 98th percentile of the images in `rows`."""
        self.store, self.config = store, config
        self._channels = list(store.info.colours or (0, 1, 2))
        if store.info.channels < 3:
            self._channels = [0, 0, 0]
        self._linear, self._low, self._high = False, 0.0, 1.0
        if store.info.dtype == "uint16":
            self._low, self._high = np.percentile(self.seen(rows), (2, 98))
            self._linear = True

    def seen(self, rows: NDArray[np.int64]) -> Pictures:
        """Return the evaluation views of images, (N, H, W, 3)."""
        images = self.store.images(rows).permute(0, 3, 1, 2)
        return self._colours(evaluation_view(images, image_size=self.config.image_size))

    def views(self, pairs: NDArray[np.int64]) -> Pictures:
        """Return the first views and then the second views of pairs of rows (2, count)."""
        count = pairs.shape[1]
        images = self.store.images(pairs.ravel()).permute(0, 3, 1, 2)
        height, width = self.store.info.image_size
        channels, colours = self.store.info.channels, self.store.info.colours
        first, second = (
            draw_view(self.config, stream, 0, count, height=height, width=width, channels=channels, colours=colours)
            for stream in (RandomStream.VIEW_A, RandomStream.VIEW_B)
        )
        return self._colours(joined_views(images, (first, second), image_size=self.config.image_size))

    def _colours(self, images: torch.Tensor) -> Pictures:
        """Return red, green and blue of images (N, C, H, W), as (N, H, W, 3)."""
        pixels: Pictures = images[:, self._channels].permute(0, 2, 3, 1).double().numpy()
        stretched = np.clip((pixels - self._low) / max(self._high - self._low, 1e-9), 0.0, 1.0)
        return stretched**SCREEN if self._linear else stretched
