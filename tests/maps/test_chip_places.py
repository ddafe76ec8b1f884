"""Chips of several coordinate reference systems and sizes: no test chip's ground is trained on, and leaks are found."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from rasterio.warp import transform

from trainables.data.chip import Chip
from trainables.data.preparing.store_leaks import _overlaps_across
from trainables.data.spatial_splits import block_split, tile_split
from trainables.data.splits import TEST, TRAIN

EAST_OF_32, WEST_OF_33, DEGREES = "EPSG:32632", "EPSG:32633", "EPSG:4326"
CORNER = (11.99, 47.0)
"""Longitude and latitude near the border of two UTM zones, whose tiles overlap there."""


def grid(crs: str, tile: str, pixel: float, *, side: int = 24, count: int = 8, east: float = 0.0) -> list[Chip]:
    """Return `count` x `count` chips without gaps, to the south-east of CORNER, moved `east` by degrees."""
    (left,), (top,) = transform(DEGREES, crs, [CORNER[0] + east], [CORNER[1]])
    step = side * pixel
    places = [(left + step * (k % count), top - step * (k // count)) for k in range(count**2)]
    longitudes, latitudes = transform(
        crs, DEGREES, *zip(*((x + step / 2, y - step / 2) for x, y in places), strict=True)
    )
    return [
        Chip(tile, tile, "", crs, (pixel, 0.0, x, 0.0, -pixel, y), side, longitude, latitude, None, None, None, None)
        for (x, y), longitude, latitude in zip(places, longitudes, latitudes, strict=True)
    ]


def overlapping(one: Chip, others: Sequence[Chip]) -> NDArray[np.bool_]:
    """Return which chips cover one of 25 x 25 points within a chip, by coordinates in their own CRS."""
    across, down = (part.ravel() for part in np.meshgrid(*[(np.arange(25) + 0.5) / 25] * 2))
    pixel, _, left, _, _, top = one.transform
    ground = pixel * one.side
    found = np.zeros(len(others), dtype=bool)
    for crs in {other.crs for other in others}:
        own = np.array([number for number, other in enumerate(others) if other.crs == crs])
        x, y = (np.array(part) for part in transform(one.crs, crs, left + across * ground, top - down * ground))
        lefts, tops = (np.array([others[k].transform[part] for k in own])[:, None] for part in (2, 5))
        sides = np.array([others[k].ground_side for k in own])[:, None]
        found[own] = ((x > lefts) & (x < lefts + sides) & (y < tops) & (y > tops - sides)).any(axis=1)
    return found


@pytest.mark.parametrize("second", [(WEST_OF_33, 10.0), (DEGREES, 1.2e-4), (EAST_OF_32, 20.0), (EAST_OF_32, 9.99999)])
def test_no_ground_of_a_test_chip_is_trained_on_in_another_grid(second: tuple[str, float]) -> None:
    chips = [*grid(EAST_OF_32, "T32TQT", 10.0), *grid(second[0], "T33TUN", second[1], count=12, east=0.012)]
    codes = tile_split(chips, 0.2, 0.0)
    tested = [chip for chip, code in zip(chips, codes, strict=True) if code == TEST]
    at_all = np.array([overlapping(chip, tested).any() for chip in chips])
    assert (at_all & (codes != TEST)).sum() > 5
    assert not (at_all & (codes == TRAIN)).any()
    trained = next(chip.crs for chip, code in zip(chips, codes, strict=True) if code == TRAIN)
    apart = tile_split(chips, 0.2, 0.006 if trained == DEGREES else 600.0)
    assert 0 < (apart == TRAIN).sum() < (codes == TRAIN).sum()


def test_chips_of_one_grid_are_left_out_as_before() -> None:
    chips = grid(EAST_OF_32, "T32TQT", 10.0, count=30)
    codes = block_split(chips, 0.2, 2400.0, 0.0)
    assert set(codes.tolist()) == {TRAIN, TEST}  # the blocks touch, and nothing overlaps


def test_leaks_across_grids_are_counted_where_footprints_overlap() -> None:
    pool = grid(EAST_OF_32, "T32TQT", 10.0)
    for crs, pixel in ((WEST_OF_33, 10.0), (DEGREES, 1e-4)):
        tested = grid(crs, "T33TUN", pixel, count=12)
        found = _overlaps_across(pool, tested)
        truth = {number for number, chip in enumerate(tested) if overlapping(chip, pool).any()}
        assert set(found) <= truth
        assert len(found) > 0.75 * len(truth) > 0
        assert all(overlapping(tested[number], [pool[row]])[0] for number, row in found.items())


def test_neighbours_in_degrees_are_different_places() -> None:
    """Chips of 16 pixels of 0.3 m, 5e-5 degrees apart, and one of the next date that is moved by a rounding error."""
    chips = grid(DEGREES, "aerial", 2.7e-6, side=16)
    assert len({chip.place for chip in chips}) == len({chip.footprint for chip in chips}) == len(chips)
    again = chips[5]._replace(transform=tuple(value * (1 + 1e-13) for value in chips[5].transform))
    assert (again.place, again.footprint) == (chips[5].place, chips[5].footprint)
    utm = grid(EAST_OF_32, "T32TQT", 10.0)[0]
    assert utm.place == f"EPSG:32632 {utm.transform[2]:.3f} {utm.transform[5]:.3f}"
    turned = utm._replace(transform=(0.0, 10.0, utm.transform[2], 10.0, 0.0, utm.transform[5]))
    assert turned.ground_side == utm.ground_side == 240.0
