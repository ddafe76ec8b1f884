"""Cover mask: pixels that the scene classification (SCL) excludes from a map, as cloud, shadow, snow and nodata."""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.maps.open_scene import enter_band
from sweep.maps.raster_file import explained_raster
from sweep.maps.scene import Scene
from sweep.maps.scene_classes import COVER_CLASSES, CoverFile, cover_file
from sweep.maps.windows import Mask
from trainables.errors import BadInputError


@dataclass(frozen=True)
class CoverMask:
    """Mask from the SCL, with counts of the pixels excluded so far, by cover."""

    file: CoverFile
    read: Callable[[int, int], NDArray[Any]]
    """Function of first row and number of rows that returns values (rows, W) at the scene's resolution."""
    pixels: Counter[str] = field(default_factory=Counter)

    def clear(self, top: int, rows: int) -> Mask:
        """Return which pixels (rows, W) are free of all covers; call it once per row, since it counts the pixels."""
        with explained_raster(str(self.file.path)):
            classes = self.read(top, rows)
        hidden = np.zeros(classes.shape, dtype=bool)
        for cover in COVER_CLASSES:
            own = self.file.covered(classes, cover)
            self.pixels[cover] += int(own.sum())
            hidden |= own
        return ~hidden

    def shares(self, scene: Scene) -> dict[str, float]:
        """Return the share of the scene's pixels that each cover excluded."""
        return {cover: self.pixels[cover] / (scene.height * scene.width) for cover in COVER_CLASSES}


def enter_cover_mask(stack: ExitStack, source: Path, scene: Scene) -> CoverMask | None:
    """Return the cover mask of a scene, open as long as `stack`; None without SCL.

    Raises:
        BadInputError: The SCL doesn't match the scene's pixel grid.
    """
    file = cover_file(source)
    if file is None:
        return None
    try:
        return CoverMask(file, enter_band(stack, file.path, scene).read)
    except BadInputError as error:
        raise BadInputError(f"{error}; or map without it (--no-scl)") from error
