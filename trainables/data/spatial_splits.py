"""Spatial splits of chips by block, tile or longitude, and the distance between the splits."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainables.data.chip import Chip
from trainables.data.chip_places import TOUCHING, by_shape, closer, metres_per_unit, on_ellipsoid
from trainables.data.splits import LEFT_OUT, SPLITS, TEST, TRAIN, VALIDATION, Codes, place_split
from trainables.errors import BadInputError

Numbers = NDArray[np.int64]
BLOCK_SIDES = 10
"""Default side of a block, in sides of the largest chip."""
MEAN_RADIUS = 6_371_008.8
"""Mean radius of the Earth in metres."""
BY_LONGITUDE = (0.6, 0.8)
"""Cumulative shares at which train and validation end: 60, 20 and 20 %, as in torchgeo's EuroSATSpatial."""


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
    blocks = blocks_of(chips, size)
    if len(set(blocks)) < 2:
        raise BadInputError(f"--block-size {size:g}: all {len(chips):,} chips lie in one block; choose a smaller one")
    codes = _hashed(blocks, share, f"--block-size {size:g}: makes {len(set(blocks)):,} blocks", "a smaller one")
    return _apart(chips, codes, buffer, "a larger --block-size or --stride")


def tile_split(chips: Sequence[Chip], share: float, buffer: float) -> Codes:
    """Split chips by tile; train chips nearer than `buffer` to a test chip are left out.

    Raises:
        BadInputError: Train or test is empty.
    """
    tiles = [chip.tile for chip in chips]
    if len(set(tiles)) == 1:
        raise BadInputError(
            f"--splits tile: all {len(chips):,} chips are of the tile {tiles[0]}; choose --splits block"
        )
    codes = _hashed(tiles, share, f"--splits tile: there are {len(set(tiles)):,} tiles", "--splits block")
    return _apart(chips, codes, buffer, "--splits block")


def _hashed(places: Sequence[str], share: float, told: str, way: str) -> Codes:
    """Return the splits of places by their hashes; BadInputError if all of them are tested on."""
    try:
        return place_split(places, share)
    except BadInputError as error:
        raise BadInputError(f"{told}, which are all test places by their hashes; choose {way}") from error


def longitude_split(chips: Sequence[Chip], buffer: float | None = None) -> Codes:
    """Split chips by longitude: train on the western 60 %, validate on the next 20 %, test on the eastern 20 %.

    Chips of equal longitude are in the same split.

    Args:
        chips: Chips to split.
        buffer: Minimum gap between chips of two splits, in units of the CRS: chips in the west of a boundary that
            overlap a chip in its east, or are nearer to one, are left out. None: no chip is left out.

    Raises:
        BadInputError: A split is empty, or a longitude is unknown.
    """
    unknown = [chip.scene for chip in chips if chip.longitude is None]
    if unknown:
        raise BadInputError(f"--splits longitude: {unknown[0]} has no longitude; choose --splits block or random")
    longitudes = unwrapped(np.array([chip.longitude for chip in chips], dtype=np.float64))
    first, second = np.quantile(longitudes, BY_LONGITUDE, method="lower")
    if second == longitudes.max():
        raise BadInputError(
            "--splits longitude: no chip lies east of 80 % of the others, which have "
            f"{len(set(longitudes)):,} different longitudes; choose --splits block"
        )
    codes = np.where(longitudes <= first, TRAIN, np.where(longitudes <= second, VALIDATION, TEST)).astype(np.int8)
    if buffer is None:
        return codes
    way = "--splits block"
    codes = _apart(chips, codes, buffer, way, split=VALIDATION, others=(TEST,)) if VALIDATION in codes else codes
    return _apart(chips, codes, buffer, way, others=(VALIDATION, TEST))


def unwrapped(longitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return longitudes that continue beyond 180 degrees where the places lie on both sides of that meridian.

    They begin in the east of the widest gap between them.
    """
    if not len(longitudes) or np.ptp(longitudes) <= 180.0:
        return longitudes
    own = np.unique(longitudes % 360.0)
    gaps = np.diff(own, append=own[0] + 360.0)
    first = own[(int(gaps.argmax()) + 1) % len(own)]
    moved: NDArray[np.float64] = (longitudes - first) % 360.0 + first
    return moved


def distances(chips: Sequence[Chip], codes: Codes) -> NDArray[np.float64]:
    """Return each test chip's distance in metres on the ellipsoid to the nearest train chip, between centres."""
    from scipy.spatial import cKDTree

    known = np.array([chip.longitude is not None for chip in chips], dtype=bool)
    train, test = (np.flatnonzero((codes == code) & known) for code in (TRAIN, TEST))
    if not len(train) or not len(test):
        return np.zeros(0)
    points = on_ellipsoid(chips)
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


def block_size(chips: Sequence[Chip], stated: float | None) -> float:
    """Return the side of a block in units of the CRS: the stated one, else BLOCK_SIDES sides of the largest chip."""
    return stated or BLOCK_SIDES * max(chip.ground_side for chip in chips)


def blocks_of(chips: Sequence[Chip], size: float) -> list[str]:
    """Return the identifier of each chip's block of ground; BadInputError for a chip without coordinates."""
    return [_block(chip, size) for chip in chips]


def near(chips: Sequence[Chip], own: Numbers, others: Numbers, buffer: float) -> Numbers:
    """Return those of `own` that overlap a chip of `others`, or are nearer to one than `buffer`, by their numbers.

    Chips of one CRS are compared by their footprints. Chips of two CRS are compared by the circles around these, so a
    few more are returned than overlap.
    """
    from scipy.spatial import cKDTree

    centres, points = np.array([chip.centre for chip in chips]), on_ellipsoid(chips)
    found = [np.zeros(0, dtype=np.int64)]
    groups = by_shape(chips, own)
    for shape, fixed in by_shape(chips, others).items():
        flat, round_ = cKDTree(centres[fixed]), cKDTree(points[fixed])
        circle = shape.outer * metres_per_unit(chips[fixed[0]])
        for other, rows in groups.items():
            if other.crs == shape.crs and shape.is_square and other.is_square:
                gaps = flat.query(centres[rows], p=np.inf)[0] - shape.inner - other.inner
                close = gaps < buffer - TOUCHING * 2.0 * min(shape.inner, other.inner)
            elif other.crs == shape.crs:
                close = np.array([len(one) > 0 for one in closer(flat, shape, centres[rows], other, buffer)])
            else:
                unit = metres_per_unit(chips[rows[0]])
                close = round_.query(points[rows])[0] < circle + unit * (other.outer + buffer)
            found.append(rows[close])
    return np.unique(np.concatenate(found))


def _block(chip: Chip, size: float) -> str:
    if not chip.crs:
        raise BadInputError(f"--splits block: {chip.scene} has no coordinates; choose --splits random")
    across, down = chip.centre
    return f"{chip.crs} {np.floor(across / size):.0f} {np.floor(down / size):.0f}"


def _apart(
    chips: Sequence[Chip],
    codes: Codes,
    buffer: float,
    way: str,
    *,
    split: int = TRAIN,
    others: tuple[int, ...] = (TEST,),
) -> Codes:
    """Leave out a split's chips that are near the `others`; BadInputError if none is left."""
    codes = codes.copy()
    codes[near(chips, np.flatnonzero(codes == split), np.flatnonzero(np.isin(codes, others)), buffer)] = LEFT_OUT
    if not (codes == split).any():
        raise BadInputError(_none_apart(buffer, way, SPLITS[split], SPLITS[others[-1]]))
    return codes


def _none_apart(buffer: float, way: str, split: str, other: str) -> str:
    if buffer:
        return f"every {split} chip lies within --buffer {buffer:g} of a {other} chip; choose a smaller one, or {way}"
    return f"every {split} chip overlaps a {other} chip; choose {way}"
