"""Masks of cloud, shadow, snow and nodata: Sentinel-2's scene classification (SCL), HLS' Fmask, Landsat's QA_PIXEL."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.maps.other_products import mask_file
from sweep.maps.scene_files import is_band_scene, scene_files

SCL_FILE = re.compile(r"(?:^|_)SCL(?:_\d\dm)?\.(?:tif|tiff|jp2)$", re.IGNORECASE)
COVER_CLASSES = {"cloud": (8, 9, 10), "shadow": (3,), "snow": (11,), "nodata": (0,)}
"""SCL classes by cover (Sentinel-2 Products Specification Document): 8 and 9 are cloud, 10 is thin cirrus."""
BITS: dict[str, dict[str, tuple[int, ...]]] = {
    "Fmask": {"cloud": (1,), "shadow": (3,), "snow": (4,)},
    "QA_PIXEL": {"cloud": (2, 3), "shadow": (4,), "snow": (5,), "nodata": (0,)},
}
"""Bits by cover: HLS Product User Guide v2.0, table 9; QA_PIXEL in LSDS-1619 and LSDS-1618 (4-7, without cirrus).

Pixels next to a cloud, Fmask's bit 2 and QA_PIXEL's bit 1, aren't cloud.
"""
FMASK_NODATA = 255


@dataclass(frozen=True)
class CoverFile:
    """File of a scene's covers; `kind` is SCL, Fmask or QA_PIXEL."""

    path: Path
    kind: str

    def covered(self, values: NDArray[Any], cover: str) -> NDArray[np.bool_]:
        """Return a mask of the pixels under a cover (a key of COVER_CLASSES), in the shape of `values`."""
        if self.kind == "SCL":
            return np.isin(values, COVER_CLASSES[cover])
        empty = values == FMASK_NODATA if self.kind == "Fmask" else np.zeros(values.shape, dtype=bool)
        if cover == "nodata" and self.kind == "Fmask":
            return empty
        bits = sum(1 << bit for bit in BITS[self.kind][cover])
        under: NDArray[np.bool_] = (values.astype(np.uint16) & bits > 0) & ~empty
        return under


def cover_file(scene: Path) -> CoverFile | None:
    """Return the finest SCL of a product or folder of bands, or its Fmask or QA_PIXEL; None if there is none."""
    if not is_band_scene(scene):
        return None
    files = scene_files(scene)
    found = [path for path in files if SCL_FILE.search(path.name)]
    if found:
        return CoverFile(found[0], "SCL")
    other = mask_file(files)
    return None if other is None else CoverFile(*other)
