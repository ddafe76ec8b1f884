"""Scene classification (SCL) of Sentinel-2 level 2A: pixels of cloud, shadow, snow and nodata."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCL_FILE = re.compile(r"(?:^|_)SCL(?:_\d\dm)?\.(?:tif|tiff|jp2)$", re.IGNORECASE)
COVER_CLASSES = {"cloud": (8, 9, 10), "shadow": (3,), "snow": (11,), "nodata": (0,)}
"""SCL classes by cover (Sentinel-2 level 2A product specification): 8 and 9 are cloud, 10 is thin cirrus."""


def scl_file(scene: Path) -> Path | None:
    """Return the finest SCL file of a product or folder of bands; None if there is none."""
    found = sorted(path for path in scene.rglob("*") if SCL_FILE.search(path.name)) if scene.is_dir() else []
    return found[0] if found else None


def covered(classes: NDArray[Any], cover: str) -> NDArray[np.bool_]:
    """Return a mask of the pixels whose SCL class belongs to a cover, in the shape of `classes`."""
    return np.isin(classes, COVER_CLASSES[cover])
