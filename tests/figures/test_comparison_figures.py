"""Figures of a comparison have in their titles what is drawn."""

import pytest

from sweep.figures.comparison import MetricPoint, cost_and_quality, grouped_bars, ranking
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


@pytest.mark.parametrize("names", [("frozen", "fine-tuned", "from scratch"), ("a" * 8,) * 4, ("w" * 20, "w" * 19)])
def test_a_legend_is_not_cut_off(names: tuple[str, ...]) -> None:
    points = [(f"method {name}", 1.0 + place, 0.5) for place, name in enumerate(names)]
    figure = cost_and_quality(points, metric="val/linear_r2", unit="seconds", highest=True)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert legend.get_window_extent().x1 <= figure.bbox.x1


def test_long_names_of_a_ranking_take_two_lines_and_leave_room_for_the_values() -> None:
    names = ("mean and deviation of each channel, label fraction 0.25", "raw pixels")
    figure = ranking([MetricPoint(name, 0.5, baseline=True) for name in names], metric="val/knn_top1")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert labels == ["mean and deviation of each channel,\nlabel fraction 0.25", "raw pixels"]
    assert axes.get_window_extent().width > 0.4 * figure.bbox.width
    assert min(tick.get_window_extent().x0 for tick in axes.get_yticklabels()) >= 0


def test_bars_have_as_many_digits_as_the_table() -> None:
    values = {("a", ""): (0.0609, None), ("b", ""): (0.1, None)}
    (axes,) = grouped_bars(values, metric="val/linear_r2", x="method", group="").axes
    assert [text.get_text() for text in axes.texts] == ["0.061", "0.100"]
