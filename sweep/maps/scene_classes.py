"""Scene classification (SCL) of Sentinel-2's level 2A: which pixels are cloud, shadow, snow or without data."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCL_FILE = re.compile(r"(?:^|_)SCL(?:_\d\dm)?\.(?:tif|tiff|jp2)$", re.IGNORECASE)
COVER_CLASSES = {"cloud": (8, 9, 10), "shadow": (3,), "snow": (11,), "nodata": (0,)}
"""Classes of the SCL by cover (Sentinel-2 level 2A product specification): 8 and 9 are cloud, 10 is thin cirrus."""


def scl_file(scene: Path) -> Path | None:
    """Return the SCL of a product or folder of bands, that of the finest pixels; None where there is none."""
    found = sorted(path for path in scene.rglob("*") if SCL_FILE.search(path.name)) if scene.is_dir() else []
    return found[0] if found else None


def covered(classes: NDArray[Any], cover: str) -> NDArray[np.bool_]:
    """Return which pixels have a cover."""
    return np.isin(classes, COVER_CLASSES[cover])
