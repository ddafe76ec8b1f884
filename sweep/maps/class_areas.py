"""Pixels and area of each class of a map; pure."""

from typing import Any

import numpy as np

from sweep.maps.ground_resolution import GroundResolution, area
from sweep.maps.windows import Mask, Values


class ClassAreas:
    """Pixel counts and areas of the classes of a map, accumulated row by row."""

    def __init__(self, names: tuple[str, ...], ground: GroundResolution) -> None:
        self._names, self._ground = names, ground
        self._row = 0
        self.pixels = np.zeros(len(names), dtype=np.int64)
        self.hectares = np.zeros(len(names))
        self.probability = 0.0
        """Sum over valid pixels."""

    def add(self, bands: Values, valid: Mask) -> None:
        """Count the next rows (bands, H, W) of probability and class, from the top down."""
        probability, classes = bands[:2]
        counts = np.stack([((classes == number) & valid).sum(axis=1) for number in range(len(self._names))])
        self.pixels += counts.sum(axis=1)
        if self._ground.row_hectares is not None:
            self.hectares += counts @ self._ground.row_hectares[self._row : self._row + len(valid)]
        self.probability += float(probability[valid].sum(dtype=np.float64))
        self._row += len(valid)

    def described(self) -> dict[str, Any]:
        """Return pixels, share of the valid area, hectares and square kilometres of each class and in total."""
        known = self._ground.row_hectares is not None
        amounts = self.hectares if known else self.pixels.astype(np.float64)
        whole = max(float(amounts.sum()), 1e-300)
        areas = [area(float(value) if known else None) for value in self.hectares]
        classes = {
            name: {"pixels": int(self.pixels[k]), "share": float(amounts[k]) / whole, **areas[k]}
            for k, name in enumerate(self._names)
        }
        total = int(self.pixels.sum())
        return {
            "valid": {"pixels": total, **area(float(self.hectares.sum()) if known else None)},
            "classes": classes,
            "mean_probability": self.probability / max(total, 1),
        }
