"""Spatial splits of chips by block, tile or longitude, and the distance between the splits."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from trainables.data.chip import Chip
from trainables.data.splits import LEFT_OUT, TEST, TRAIN, VALIDATION, Codes, place_split
from trainables.errors import BadInputError

EQUATOR_RADIUS, MEAN_RADIUS = 6_378_137.0, 6_371_008.8
ECCENTRICITY_SQUARED = 0.00669437999014
"""Shape of the Earth in WGS 84; radii in metres."""
BY_LONGITUDE = (0.6, 0.8)
"""Cumulative shares at which train and validation end: 60, 20 and 20 %, as in torchgeo's EuroSATSpatial."""
TOUCHING = 1e-6
"""Tolerance as a share of a chip's side, below which footprints touch rather than overlap."""


def block_split(chips: Sequence[Chip], share: float, size: float, buffer: float) -> Codes:
    """Split chips by blocks of ground, with a buffer between train and test.

    Train chips that overlap a test chip are always left out.

    Args:
        chips: Chips to split.
        share: Share of blocks to test on.
        size: Side of a block, in units of the CRS.
        buffer: Minimum gap between train and test chips, in units of the CRS; nearer train chips are left out.

    Raises:
        BadInputError: Train or test is empty.
    """
    blocks = [_block(chip, size) for chip in chips]
    if len(set(blocks)) < 2:
        raise BadInputError(f"--block-size {size:g}: all {len(chips):,} chips lie in one block; choose a smaller one")
    return _apart(chips, place_split(blocks, share), buffer)


def tile_split(chips: Sequence[Chip], share: float, buffer: float) -> Codes:
    """Split chips by tile; train chips nearer than `buffer` to a test chip are left out."""
    return _apart(chips, place_split([chip.tile for chip in chips], share), buffer)


def longitude_split(chips: Sequence[Chip]) -> Codes:
    """Split chips by longitude: train on the western 60 %, validate on the next 20 %, test on the eastern 20 %.

    Chips of equal longitude are in the same split.
    """
    unknown = [chip.scene for chip in chips if chip.longitude is None]
    if unknown:
        raise BadInputError(f"--splits longitude: {unknown[0]} has no coordinates; choose --splits random")
    longitudes = np.array([chip.longitude for chip in chips], dtype=np.float64)
    first, second = np.quantile(longitudes, BY_LONGITUDE, method="lower")
    codes = np.where(longitudes <= first, TRAIN, np.where(longitudes <= second, VALIDATION, TEST))
    return codes.astype(np.int8)


def distances(chips: Sequence[Chip], codes: Codes) -> NDArray[np.float64]:
    """Return each test chip's distance in metres on the ellipsoid to the nearest train chip, between centres."""
    from scipy.spatial import cKDTree

    known = np.array([chip.longitude is not None for chip in chips], dtype=bool)
    train, test = (np.flatnonzero((codes == code) & known) for code in (TRAIN, TEST))
    if not len(train) or not len(test):
        return np.zeros(0)
    points = _on_ellipsoid(chips, known)
    chords = cKDTree(points[train]).query(points[test])[0]
    metres: NDArray[np.float64] = 2.0 * MEAN_RADIUS * np.arcsin(np.clip(chords / (2.0 * MEAN_RADIUS), 0.0, 1.0))
    return metres


def described_distance(chips: Sequence[Chip], codes: Codes) -> str:
    """Return the distance between test and train chips as text; empty if unknown."""
    metres = distances(chips, codes) if chips else np.zeros(0)
    if not len(metres):
        return ""
    return (
        f"test chips are {np.median(metres):,.0f} m from the nearest train chip in the median, {metres.min():,.0f} m "
        "at least (between centres)"
    )


def _block(chip: Chip, size: float) -> str:
    if not chip.crs:
        raise BadInputError(f"--splits block: {chip.scene} has no coordinates; choose --splits random")
    across, down = chip.centre
    return f"{chip.crs} {np.floor(across / size):.0f} {np.floor(down / size):.0f}"


def _apart(chips: Sequence[Chip], codes: Codes, buffer: float) -> Codes:
    """Leave out train chips whose footprint is nearer than `buffer` to a test chip's; compared within each CRS."""
    from scipy.spatial import cKDTree

    groups: defaultdict[str, defaultdict[float, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, chip in enumerate(chips):
        if chip.crs:
            groups[chip.crs][chip.ground_side].append(number)
    codes, before = codes.copy(), codes
    centres = np.array([chip.centre for chip in chips])
    for sides in groups.values():
        for (side, own), (other, numbers) in product(sides.items(), repeat=2):
            train = np.array([number for number in own if before[number] == TRAIN], dtype=np.int64)
            test = np.array([number for number in numbers if before[number] == TEST], dtype=np.int64)
            if len(train) and len(test):
                apart = (side + other) / 2.0
                gaps = cKDTree(centres[test]).query(centres[train], p=np.inf)[0] - apart
                codes[train[gaps < buffer - TOUCHING * apart]] = LEFT_OUT
    return codes


def _on_ellipsoid(chips: Sequence[Chip], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return positions in metres from the Earth's centre; on a sphere, chips that touch would seem to overlap."""
    degrees = np.array(
        [(chip.longitude, chip.latitude) if own else (0.0, 0.0) for chip, own in zip(chips, known, strict=True)]
    )
    longitude, latitude = np.radians(degrees).T
    radius = EQUATOR_RADIUS / np.sqrt(1.0 - ECCENTRICITY_SQUARED * np.sin(latitude) ** 2)
    across = radius * np.cos(latitude)
    up = (1.0 - ECCENTRICITY_SQUARED) * radius * np.sin(latitude)
    return np.stack([across * np.cos(longitude), across * np.sin(longitude), up], 1)
