"""Windows over a scene, and blending without seams."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.maps.windows import BlendedWindows, fill, starts, steps, weights


@given(st.integers(1, 60), st.integers(0, 200), st.floats(0.0, 0.95))
def test_every_pixel_is_in_a_window_and_none_leaves_the_scene(side: int, more: int, overlap: float) -> None:
    length = side + more
    found = starts(length, side, overlap)
    covered = np.zeros(length, dtype=int)
    for start in found:
        assert 0 <= start <= length - side
        covered[start : start + side] += 1
    assert covered.all()
    assert found == sorted(set(found))
    assert sum(rows for _, rows in steps(found, side)) == length


@pytest.mark.parametrize("side", [8, 24, 120])
def test_windows_that_overlap_by_half_add_up_to_a_constant(side: int) -> None:
    line = weights(side)[side // 2]
    np.testing.assert_allclose(line[: side // 2] + line[side // 2 :], line.max() + line.min(), rtol=2e-3)
    assert (weights(side) > 0).all()


@given(st.integers(4, 16), st.integers(0, 30), st.integers(0, 30), st.floats(0.0, 0.9))
def test_one_answer_everywhere_blends_to_itself(side: int, down: int, across: int, overlap: float) -> None:
    tops, lefts = starts(side + down, side, overlap), starts(side + across, side, overlap)
    blend, rows = BlendedWindows(side, side + across, 2), []
    for _, finished in steps(tops, side):
        for number, left in enumerate(lefts):
            blend.add(left, np.array([0.25, 0.75], dtype=np.float32), 1.0 / (1 + number))
        rows.append(blend.release(finished))
    means = np.concatenate(rows, axis=1)
    assert means.shape == (2, side + down, side + across)
    np.testing.assert_allclose(means[0], 0.25, rtol=1e-5)
    np.testing.assert_allclose(means[1], 0.75, rtol=1e-5)


def test_one_valid_pixel_of_a_large_window_has_its_number() -> None:
    side = 512
    blend = BlendedWindows(side, side, 1)
    blend.add(0, np.array([3.7], dtype=np.float32), 1.0 / side**2)
    np.testing.assert_allclose(blend.release(side)[0], 3.7, rtol=1e-5)


def test_sums_in_float64_keep_large_numbers() -> None:
    for dtype, error in (("float32", 1.0), ("float64", 1e-5)):
        blend = BlendedWindows(8, 12, 1, dtype)
        for left in (0, 2, 4):
            blend.add(left, np.array([1e9 + 3.0]), 1.0)
        means = blend.release(8)
        assert means.dtype == dtype
        assert (np.abs(means - (1e9 + 3.0)).max() > error) == (dtype == "float32")


def test_blending_is_the_weighted_mean_written_out() -> None:
    random = np.random.default_rng(0)
    side, height, width = 6, 17, 14
    tops, lefts = starts(height, side, 0.4), starts(width, side, 0.4)
    values = random.random((len(tops), len(lefts))).astype(np.float32)
    total, weight = np.zeros((height, width)), np.zeros((height, width))
    blend, rows = BlendedWindows(side, width, 1), []
    for i, (top, finished) in enumerate(steps(tops, side)):
        for j, left in enumerate(lefts):
            total[top : top + side, left : left + side] += weights(side) * values[i, j]
            weight[top : top + side, left : left + side] += weights(side)
            blend.add(left, values[i, j : j + 1], 1.0)
        rows.append(blend.release(finished)[0])
    np.testing.assert_allclose(np.concatenate(rows), total / weight, rtol=1e-5)


def test_nodata_are_filled_by_the_mean_of_what_is_there() -> None:
    values = np.arange(12, dtype=np.uint16).reshape(2, 2, 3)
    valid = np.array([[True, False], [True, True]])
    filled = fill(values, valid)
    assert filled[0, 1].tolist() == [5, 6, 7]
    assert (filled[valid] == values[valid]).all()
    assert fill(values, np.ones((2, 2), dtype=bool)) is values
