"""A scene's picture is the mean of the valid pixels below each of its pixels."""

import numpy as np
import pytest

from sweep.maps.reduced_scene import ReducedScene


@pytest.mark.parametrize(("height", "width", "most"), [(60, 40, 30), (50, 37, 7), (9, 14, 20), (3, 100, 10)])
def test_each_pixel_is_the_mean_of_the_valid_ones_that_it_covers(height: int, width: int, most: int) -> None:
    """By a loop over all pixels; rows come in strips of any height."""
    random = np.random.default_rng(0)
    values = random.integers(0, 65536, (height, width, 4)).astype(np.uint16)
    valid = random.random((height, width)) < 0.6
    valid[:, : width // 3] = False
    reduced = ReducedScene(height, width, [2, 0], most)
    for start in range(0, height, 8):
        reduced.add(values[start : start + 8], valid[start : start + 8])
    rows, columns = reduced.valid.shape
    assert max(rows, columns) == min(most, max(height, width))
    sums, counts = np.zeros((rows, columns, 2)), np.zeros((rows, columns))
    for y, x in np.argwhere(valid).tolist():
        place = y * rows // height, x * columns // width
        sums[place] += values[y, x, [2, 0]]
        counts[place] += 1
    assert np.array_equal(reduced.valid, counts > 0)
    assert not reduced.valid.all()
    expected = sums[counts > 0] / counts[counts > 0][:, None]
    np.testing.assert_allclose(reduced.means[reduced.valid], expected, rtol=1e-6)


def test_nodata_darkens_no_edge() -> None:
    values = np.full((8, 8, 1), 200, dtype=np.uint8)
    valid = np.ones((8, 8), dtype=bool)
    valid[:, 3:] = False
    values[~valid] = 0
    reduced = ReducedScene(8, 8, [0], 2)
    reduced.add(values, valid)
    assert reduced.means[:, 0, 0].tolist() == [200.0, 200.0]
    assert reduced.valid.tolist() == [[True, False], [True, False]]
