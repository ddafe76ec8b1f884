"""Linear scale: the same pixels as the lookup tables, and exact percentiles in two passes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainables.data.preparing.linear_scale import LinearScale, percentile_ranges
from trainables.data.preparing.pixels import (
    range_tables,
    read_ranges,
    reflectance_tables,
    stated_scale,
    thesis_tables,
)
from trainables.errors import BadInputError

EVERY = np.arange(2**16).astype(np.float32).reshape(1, -1, 1)


@pytest.mark.parametrize(
    ("scale", "table"),
    [
        (stated_scale("thesis", None, None), thesis_tables()),
        (stated_scale("reflectance", (10_000.0, -1000.0), None), reflectance_tables(10_000.0, -1000.0)),
        (stated_scale("reflectance", (36_363.6364, -7272.72727), None), reflectance_tables(36_363.6364, -7272.72727)),
        (LinearScale.of_ranges([(312, 4077)], "uint8"), range_tables([(312, 4077)])),
        (stated_scale("none", None, (-1000.0, 64_535.0)), range_tables([(-1000, 64_535)], "uint16")),
    ],
)
def test_pixels_are_those_of_the_lookup_tables(scale: LinearScale, table: NDArray[Any]) -> None:
    found = scale(EVERY)
    assert found.dtype == table.dtype
    np.testing.assert_array_equal(found[0, :, 0], table[0])


def test_missing_values_become_0_and_those_beyond_the_range_are_counted() -> None:
    values = np.array([[[np.nan], [-0.1], [0.0], [0.5], [1.0], [2.0]]], np.float32)
    scale = stated_scale("reflectance", (1.0, 0.0), None)
    assert scale(values).ravel().tolist() == [0, 0, 0, 32768, 65535, 65535]
    assert scale.cut(values) == {"values below 0 became 0": 1, "values above 1 became 65535": 1}
    assert not LinearScale.of_ranges([(0.0, 1.0)], "uint8", is_counted=False).cut(values)


@given(st.lists(st.lists(st.floats(width=32, allow_infinity=False), min_size=1, max_size=30), min_size=1, max_size=4))
def test_percentiles_are_those_of_the_sorted_values(parts: list[list[float]]) -> None:
    images = [np.array(part, np.float32).reshape(1, -1, 1) for part in parts]
    values = np.concatenate([image.ravel() for image in images])
    values = np.sort(values[~np.isnan(values)])
    if not len(values):
        with pytest.raises(BadInputError, match="channel 1 has no value"):
            percentile_ranges(lambda: images, (2.0, 98.0))
        return
    ((low, high),) = percentile_ranges(lambda: images, (2.0, 98.0))
    shares = np.arange(1, len(values) + 1) / len(values) * 100.0
    first, last = (values[np.searchsorted(shares, p)] for p in (2.0, 98.0))
    assert np.float32(low) == first
    assert np.float32(high) == last or (last == first and high > low)
    assert read_ranges(f"0: {low} to {high}") == ((low, high),)
