"""What many settings are looked through by: scales of axes, the best so far, the best at each pair."""

import pytest

from sweep.comparison.exploration import AxisScale, ExploredSetting, best_of_pairs, best_so_far


def settings(*values: tuple[object, object, float]) -> list[ExploredSetting]:
    return [
        ExploredSetting(str(place), {"x": x, "y": y}, result, None, place)
        for place, (x, y, result) in enumerate(values)
    ]


def test_the_best_so_far_follows_the_direction() -> None:
    found = settings((1, 1, 0.5), (2, 1, 0.4), (3, 1, 0.7), (4, 1, 0.6))
    assert best_so_far(found, "max") == [0.5, 0.5, 0.7, 0.7]
    assert best_so_far(found, "min") == [0.5, 0.4, 0.4, 0.4]


def test_each_pair_has_its_best_setting() -> None:
    found = settings((1, "a", 0.5), (1, "a", 0.7), (2, "a", 0.4), (1, "b", 0.1))
    assert [one.result for one in best_of_pairs(found, "x", "y", "max")] == [0.7, 0.4, 0.1]
    assert [one.result for one in best_of_pairs(found, "x", "y", "min")] == [0.5, 0.4, 0.1]


def test_axes_are_logarithmic_where_numbers_lie_far_apart_and_in_order_where_they_are_words() -> None:
    far = AxisScale.of("x", settings((10.0, 1, 0.1), (0.1, 1, 0.1), (1.0, 1, 0.1)))
    assert far.is_logarithmic
    assert [far.place(value) for value in (0.1, 1.0, 10.0)] == pytest.approx([0.0, 0.5, 1.0])
    near = AxisScale.of("x", settings((1, 1, 0.1), (3, 1, 0.1), (2, 1, 0.1)))
    assert not near.is_logarithmic
    assert near.place(2) == 0.5
    words = AxisScale.of("y", settings((1, "b", 0.1), (1, "a", 0.1), (1, None, 0.1), (1, "b", 0.1)))
    assert not words.is_numeric
    assert [words.place(value) for value in (None, "a", "b")] == [0.0, 0.5, 1.0]
    assert AxisScale.of("x", settings((3, 1, 0.1))).place(3) == 0.5
