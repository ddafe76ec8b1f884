"""Footprints of turned, sheared and mirrored grids: overlaps, splits and identifiers are those of their true ground."""

from math import cos, radians, sin

import numpy as np
import pytest
from numpy.typing import NDArray

from trainables.data.chip import Chip
from trainables.data.chip_places import by_shape, gaps, shape_of
from trainables.data.preparing.store_leaks import _overlaps_within
from trainables.data.spatial_splits import block_split, near
from trainables.data.splits import TEST, TRAIN

SIDE, PIXEL = 24, 10.0
NORTH_UP = (PIXEL, 0.0, 0.0, -PIXEL)
Linear = tuple[float, float, float, float]


def turned(degrees: float, shear: float = 0.0, tall: float = 1.0) -> Linear:
    """Return the linear part (a, b, d, e) of a grid that is turned, sheared, or of taller pixels."""
    c, s = cos(radians(degrees)) * PIXEL, sin(radians(degrees)) * PIXEL
    return c, tall * (s + shear * c), s, tall * (shear * s - c)


def chip(linear: Linear, left: float, top: float) -> Chip:
    a, b, d, e = linear
    return Chip("s", "s", "", "EPSG:32634", (a, b, left, d, e, top), SIDE, 20.0, 60.0, None, None, None, None)


def grid(linear: Linear, count: int, left: float = 5e5, top: float = 7e6) -> list[Chip]:
    a, b, d, e = (SIDE * part for part in linear)
    cells = np.ndindex(count, count)
    return [chip(linear, left + a * k + b * i, top + d * k + e * i) for i, k in cells]


def overlap(one: Chip, other: Chip) -> bool:
    """Whether a point of a fine grid within one footprint lies within the other: the oracle."""
    inside = (np.stack(np.meshgrid(np.arange(60), np.arange(60)), -1).reshape(-1, 2) + 0.5) / 60 * SIDE
    points = transformed(one, inside)
    a, b, left, d, e, top = other.transform
    own = np.linalg.solve(np.array([[a, b], [d, e]]), (points - (left, top)).T)
    return bool(((own > 0) & (own < SIDE)).all(axis=0).any())


def transformed(one: Chip, points: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b, left, d, e, top = one.transform
    return points @ np.array([[a, d], [b, e]]) + (left, top)


LINEAR = [NORTH_UP, turned(45.0), turned(20.0), turned(0.0, shear=0.5), turned(0.0, tall=3.0), turned(10.0, 0.3, 0.5)]


def test_gaps_are_negative_where_the_ground_is_the_same() -> None:
    random = np.random.default_rng(0)
    counts = {True: 0, False: 0}
    for linear in LINEAR:
        for other in LINEAR:
            for across, down in random.uniform(-400, 400, (12, 2)):
                one, two = chip(linear, 0.0, 0.0), chip(other, across, down)
                offset = np.subtract(two.centre, one.centre)
                (gap,) = gaps(offset[None], shape_of("", one.edges), shape_of("", two.edges))
                if abs(gap) > 5.0:  # the oracle's points are 4 to 12 m apart
                    assert overlap(one, two) == overlap(two, one) == (gap < 0.0)
                    counts[bool(gap < 0.0)] += 1
    assert min(counts.values()) > 80


@pytest.mark.parametrize("linear", LINEAR[1:])
def test_leaks_are_those_of_the_true_footprints(linear: Linear) -> None:
    pool, tested = grid(NORTH_UP, 5), grid(linear, 4, left=5e5 + 333.0, top=7e6 - 217.0)
    found = _overlaps_within(pool, tested)
    truth = {k for k, own in enumerate(tested) if any(overlap(own, other) for other in pool)}
    assert 0 < len(truth) < len(tested) or linear == LINEAR[3]
    assert truth <= set(found)
    assert all(overlap(tested[k], pool[row]) or k not in truth for k, row in found.items())
    assert len(set(found) - truth) <= 1  # a corner between the oracle's points
    assert not _overlaps_within(grid(linear, 3), grid(linear, 3, left=5e5 + 5000.0))


@pytest.mark.parametrize("linear", LINEAR)
def test_chips_of_one_grid_touch_and_dont_overlap(linear: Linear) -> None:
    chips = grid(linear, 5)
    rows = np.arange(len(chips))
    assert not _overlaps_within(chips[:12], chips[12:])
    assert not len(near(chips, rows[:12], rows[12:], 0.0))
    codes = block_split(chips, 0.3, 500.0, 0.0)
    assert set(codes.tolist()) == {TRAIN, TEST}
    assert 4 <= len(near(chips, rows[:12], rows[12:], 1.0)) < 12


def test_train_chips_on_a_turned_chips_corner_are_left_out() -> None:
    """Two diamonds, 1.3 sides apart: the squares of their sides don't overlap, and their corners do."""
    one, two = chip(turned(45.0), 0.0, 0.0), chip(turned(45.0), 1.3 * SIDE * PIXEL, 0.0)
    assert overlap(one, two)
    assert near([one, two], np.array([0]), np.array([1]), 0.0).tolist() == [0]
    assert len(by_shape([one, two], [0, 1])) == 1


def test_ground_that_differs_has_another_footprint() -> None:
    """All of these begin at one corner, with pixels of one width."""
    found = [chip(linear, 5e5, 7e6) for linear in (*LINEAR, (PIXEL, 0.0, 0.0, PIXEL), (-PIXEL, 0.0, 0.0, -PIXEL))]
    assert len({own.footprint for own in found}) == len(found)
    moved = found[1]._replace(transform=tuple(value * (1 + 1e-13) for value in found[1].transform))
    assert moved.footprint == found[1].footprint
    assert found[0].footprint == f"{found[0].place} 240.000"
