"""Pixels that a scene's classification (SCL) hides from a map: cloud, shadow, snow and nodata."""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.maps.scene import Scene, enter_band, explained_raster
from sweep.maps.scene_classes import COVER_CLASSES, covered, scl_file
from sweep.maps.windows import Mask
from trainables.errors import BadInputError


@dataclass(frozen=True)
class CoverMask:
    """What the SCL hides, and how many pixels each cover hid so far."""

    read: Callable[[int, int], NDArray[Any]]
    """From a first row and a number of rows to classes (rows, W), on the scene's pixels."""
    location: str
    pixels: Counter[str] = field(default_factory=Counter)

    def clear(self, top: int, rows: int) -> Mask:
        """Return which pixels (rows, W) no cover hides; each row is asked for once, as its pixels are counted."""
        with explained_raster(self.location):
            classes = self.read(top, rows)
        hidden = np.zeros(classes.shape, dtype=bool)
        for cover in COVER_CLASSES:
            own = covered(classes, cover)
            self.pixels[cover] += int(own.sum())
            hidden |= own
        return ~hidden

    def shares(self, scene: Scene) -> dict[str, float]:
        """Return the share of the scene's pixels that each cover hid."""
        return {cover: self.pixels[cover] / (scene.height * scene.width) for cover in COVER_CLASSES}


def enter_cover_mask(stack: ExitStack, source: Path, scene: Scene) -> CoverMask | None:
    """Return what the scene's SCL hides, open as long as `stack`; None without an SCL.

    BadInputError for one that doesn't lie on the scene's pixels.
    """
    file = scl_file(source)
    if file is None:
        return None
    try:
        return CoverMask(enter_band(stack, file, scene).read, str(file))
    except BadInputError as error:
        raise BadInputError(f"{error}; or map without it (--no-scl)") from error
