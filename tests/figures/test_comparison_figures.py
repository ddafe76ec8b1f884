"""Figures of a comparison have in their titles what is drawn."""

import pytest

from sweep.figures.comparison import cost_and_quality
from sweep.figures.style import GRID


@pytest.mark.parametrize(("second", "front"), [(0.4, []), (0.7, [[1.0, 2.0]])])
def test_the_line_of_cost_and_quality_is_named_and_seen_where_it_is_drawn(
    second: float, front: list[list[float]]
) -> None:
    points = [("a", 1.0, 0.5), ("b", 2.0, second)]
    (axes,) = cost_and_quality(points, metric="val/lidar", unit="seconds", highest=True).axes
    lines = [line for line in axes.lines if len(line.get_xdata()) > 1]  # type: ignore[arg-type]
    assert [sorted(line.get_xdata()) for line in lines] == front  # type: ignore[arg-type]
    assert ("line: nothing cheaper is better" in axes.get_title(loc="left") + axes.get_title()) == bool(front)
    assert all(line.get_color() != GRID for line in lines)
