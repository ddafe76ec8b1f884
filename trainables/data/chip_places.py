"""Sizes and positions of chips on the ground, for distances between chips of any coordinate reference system (CRS)."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from trainables.data.chip import Chip

EQUATOR_RADIUS = 6_378_137.0
ECCENTRICITY_SQUARED = 0.00669437999014
"""Shape of the Earth in WGS 84; the radius in metres."""
DEGREE_METRES = math.radians(EQUATOR_RADIUS)
"""Length in metres of a degree along the equator; no degree of longitude is longer."""
NEAR_DEGREES = 0.01
"""Maximum difference between a centre's coordinates and its longitude and latitude in a CRS of degrees."""


def by_size(chips: Sequence[Chip], numbers: Iterable[int]) -> dict[tuple[str, float], NDArray[np.int64]]:
    """Return the numbers of the chips by CRS and side, in units of the CRS; chips without CRS are left out.

    Sides are rounded to six digits, since scenes in degrees have slightly different pixels.
    """
    groups: defaultdict[tuple[str, float], list[int]] = defaultdict(list)
    for number in numbers:
        if chips[number].crs:
            groups[chips[number].crs, float(f"{chips[number].ground_side:.6g}")].append(int(number))
    return {key: np.array(own, dtype=np.int64) for key, own in groups.items()}


def metres_per_unit(chip: Chip) -> float:
    """Return an upper bound of the metres per unit of a chip's CRS: a degree at the equator, else 1.

    Projected coordinates count as metres; those in feet are less.
    """
    across, down = chip.centre
    if chip.longitude is None or chip.latitude is None:
        return 1.0
    is_degrees = abs(across - chip.longitude) < NEAR_DEGREES and abs(down - chip.latitude) < NEAR_DEGREES
    return DEGREE_METRES if is_degrees else 1.0


def on_ellipsoid(chips: Sequence[Chip]) -> NDArray[np.float64]:
    """Return the centres' positions (n, 3) in metres from the Earth's centre; zeros where they are unknown.

    On a sphere, chips that touch would seem to overlap.
    """
    known = [(chip.longitude, chip.latitude) if chip.longitude is not None else (0.0, 0.0) for chip in chips]
    longitude, latitude = np.radians(np.array(known, dtype=np.float64).reshape(-1, 2)).T
    radius = EQUATOR_RADIUS / np.sqrt(1.0 - ECCENTRICITY_SQUARED * np.sin(latitude) ** 2)
    across = radius * np.cos(latitude)
    up = (1.0 - ECCENTRICITY_SQUARED) * radius * np.sin(latitude)
    return np.stack([across * np.cos(longitude), across * np.sin(longitude), up], 1)
