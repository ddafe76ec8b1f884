"""Figures of a comparison have in their titles what is drawn."""

import pytest

from sweep.figures.comparison import MetricPoint, cost_and_quality, ranking
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


def test_a_ranking_fits_a_phone_whatever_its_settings_are_called() -> None:
    settings = [f"batch size {16 * k}, base learning rate 0.45{k}, temperature 0.866{k}" for k in (1, 2, 3)]
    points = [*(MetricPoint(name, 0.5) for name in settings), MetricPoint("mean and deviation", 0.4, baseline=True)]
    figure = ranking(points, metric="val/knn_top1")
    axes = figure.axes[0]
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert names[0] == "16 / 0.451 / 0.8661"
    assert figure.get_figwidth() <= 6.0, "a wider one scrolls"
    figure.draw_without_rendering()
    title = axes.get_title(loc="left")
    assert title.split("\n") == ["Ranking", "batch size / base learning rate /", "temperature"]
    box = next(text for text in axes.get_children() if getattr(text, "get_text", str)() == title).get_window_extent()
    assert box.x1 <= figure.bbox.x1
