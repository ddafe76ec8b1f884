"""Numbers as tables and sentences show them."""

import pytest

from sweep.console.formatting import half_width, interval, number, signed_interval


def test_half_a_width_has_the_decimals_of_its_value() -> None:
    assert half_width("test/linear_rmse", 0.20111, 0.0009877) == "0.0010"
    assert half_width("val/lidar", 15.6213, 1.23456) == "1.23"
    assert half_width("val/knn_top1", 0.6, 0.0497) == "4.97"


@pytest.mark.parametrize(
    ("metric", "value", "shown"),
    [
        ("val/linear_r2", 0.0039671, "0.004"),
        ("val/linear_r2", -123.456, "-123.5"),
        ("test/linear_spearman", 1.0, "1.000"),
        ("test/linear_rmse", 20.60381, "20.60"),
        ("test/linear_rmse", 0.19701, "0.1970"),
        ("test/linear_rmse", 1234.4, "1234"),
        ("test/labels_evaluated", 19.0, "19"),
        ("val/knn_top1", 0.21667, "21.67"),
        ("val/lidar", 15.6213, "15.62"),
    ],
)
def test_a_number_has_as_many_digits_as_its_metric_needs(metric: str, value: float, shown: str) -> None:
    assert number(metric, value) == shown


def test_ends_below_zero_are_told_from_the_dash() -> None:
    assert interval("val/linear_r2", (-0.2052, -0.0007)) == "-0.205 to -0.001"
    assert interval("val/linear_r2", (0.2, 0.41)) == "0.200\u20130.410"
    assert signed_interval("val/linear_r2", (-0.2, 0.41)) == "-0.200 to +0.410"
