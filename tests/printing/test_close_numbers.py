"""Numbers of a range as text: with four digits, or as many as tell them apart."""

import pytest

from trainables.printing.close_numbers import in_range, range_text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (2.0, 22.8, "2 to 22.8"),
        (0.12345678, 1.0, "0.1235 to 1"),
        (100.0, 10_000.0, "100 to 10000"),
        (2e-11, 2.28e-10, "2e-11 to 2.28e-10"),
        (1e9 + 2.1, 1e9 + 22.8, "1000000002.1 to 1000000022.8"),
        (-1e12 - 200.0, -1e12, "-1000000000200 to -1000000000000"),
        (-3.0, 1e14, "-3 to 1e+14"),
        (7.0, 7.0, "7 to 7"),
        (0.0, 0.0, "0 to 0"),
        (float("-inf"), float("inf"), "-inf to inf"),
        (5e-324, 1.0, "4.941e-324 to 1"),
    ],
)
def test_a_range_has_the_digits_that_tell_its_ends_apart(low: float, high: float, text: str) -> None:
    assert range_text(low, high) == text


def test_a_mean_has_the_digits_of_its_range() -> None:
    assert in_range(1e9 + 12.34, 1e9, 1e9 + 20.0) == "1000000012.3"
