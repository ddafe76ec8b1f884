"""Splits by ground: each empty split is refused with the option that caused it, and 180 degrees is no border."""

import math

import numpy as np
import pytest

from trainables.data.chip import Chip
from trainables.data.spatial_splits import block_split, longitude_split, tile_split, unwrapped
from trainables.data.splits import LEFT_OUT, TEST, TRAIN, VALIDATION
from trainables.errors import BadInputError


def chip(left: float, top: float = 0.0, *, pixel: float = 10.0, tile: str = "T1", longitude: float = 0.0) -> Chip:
    """Return a chip of 10 x 10 pixels by its upper left corner."""
    place = (pixel, 0.0, left, 0.0, -pixel, top)
    return Chip("scene", tile, "2023-06-13", "EPSG:32634", place, 10, longitude, 60.0, None, None, None, None)


LINE = [chip(100.0 * number) for number in range(40)]


def test_a_buffer_that_leaves_no_train_chip_is_named() -> None:
    with pytest.raises(
        BadInputError, match=r"every train chip lies within --buffer 1e\+07 of a test chip; choose a sm"
    ):
        block_split(LINE, 0.2, 300.0, 1e7)


def test_chips_that_all_overlap_are_refused_with_the_sizes_to_change() -> None:
    close = [chip(5.0 * number) for number in range(12)]
    with pytest.raises(BadInputError, match=r"every train chip overlaps a test chip; choose a larger --block-size or"):
        block_split(close, 0.2, 30.0, 0.0)


def test_one_tile_cant_be_split_by_tile() -> None:
    with pytest.raises(BadInputError, match=r"--splits tile: all 40 chips are of the tile T1; choose --splits block"):
        tile_split(LINE, 0.2, 0.0)


def test_chips_of_different_sizes_are_kept_apart_too() -> None:
    coarse = [chip(300.0 * number + 150.0, pixel=30.0) for number in range(14)]
    chips = [*LINE, *coarse]
    codes = block_split(chips, 0.2, 300.0, 0.0)
    tested, trained = ([chips[k] for k in np.flatnonzero(codes == code)] for code in (TEST, TRAIN))
    assert tested
    assert trained
    assert (codes == LEFT_OUT).any()
    for own in trained:
        for other in tested:
            gap = abs(own.centre[0] - other.centre[0]) - (own.ground_side + other.ground_side) / 2.0
            assert gap > -1e-3


def test_longitude_goes_on_beyond_180_degrees() -> None:
    east = [*np.linspace(179.0, 179.9, 10), *np.linspace(-180.0, -179.1, 10)]
    chips = [chip(number * 100.0, longitude=value) for number, value in enumerate(east)]
    codes = longitude_split(chips)
    assert codes.tolist() == [TRAIN] * 12 + [VALIDATION] * 4 + [TEST] * 4
    assert math.isclose(np.ptp(unwrapped(np.array(east))), 1.9)
    np.testing.assert_array_equal(unwrapped(np.array([-170.0, 5.0])), [-170.0, 5.0])


def test_a_buffer_keeps_the_splits_by_longitude_apart() -> None:
    """Chips of 100 m every 50 m, of which neighbours overlap: each boundary loses chips in its west alone."""
    chips = [chip(50.0 * number, longitude=number / 1000.0) for number in range(100)]
    whole, apart, wide = (longitude_split(chips, buffer) for buffer in (None, 0.0, 300.0))
    assert [(whole == code).sum() for code in (TRAIN, VALIDATION, TEST, LEFT_OUT)] == [60, 20, 20, 0]
    assert [(apart == code).sum() for code in (TRAIN, VALIDATION, TEST, LEFT_OUT)] == [59, 19, 20, 2]
    assert [(wide == code).sum() for code in (TRAIN, VALIDATION, TEST, LEFT_OUT)] == [53, 13, 20, 14]
    for codes in (apart, wide):
        assert (codes[codes != LEFT_OUT] == whole[codes != LEFT_OUT]).all()
    ends = [[chips[k].centre[0] for k in np.flatnonzero(wide == code)] for code in (TRAIN, VALIDATION, TEST)]
    assert min(ends[1]) - max(ends[0]) - 100.0 >= 300.0
    assert min(ends[2]) - max(ends[1]) - 100.0 >= 300.0
    with pytest.raises(BadInputError, match=r"every validation chip lies within --buffer 5000 of a test chip; choose"):
        longitude_split(chips, 5000.0)


def test_too_few_longitudes_are_refused() -> None:
    chips = [chip(0.0, longitude=float(number % 4)) for number in range(16)]
    with pytest.raises(BadInputError, match=r"which have 4 different longitudes; choose --splits block"):
        longitude_split(chips)
