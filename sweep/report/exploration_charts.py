"""Charts for exploring many settings: values by axis, pairs of axes, parallel coordinates, history, EDF."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from sweep.comparison.dataset_report import DataSetReport, ReportRow
from sweep.comparison.effects import NotComputed
from sweep.comparison.exploration import (
    FEWEST,
    FEWEST_APART,
    AxisScale,
    ExploredSetting,
    best_of_pairs,
    best_so_far,
)
from sweep.comparison.pivots import pivot_tables
from sweep.comparison.wording import metric_words, spelled
from sweep.console.formatting import axis_label, number
from sweep.figures.style import CONTRASTIVE, REST, SUPERVISED
from sweep.report.charts import InteractiveChart, axis, safe
from sweep.report.parallel_chart import parallel_chart, result_scale

MOST_PAIRS = 15
MOST_TICKS = 8
"""Maximum number of values that a logarithmic axis names itself; Plotly would write 0.2 and 0.5 as 2 and 5."""
SCALE = [[0.0, "#3b528b"], [0.35, "#21908c"], [0.7, "#5dc863"], [1.0, "#fde725"]]
"""Colour scale of results, from worst to best (viridis)."""


def exploration_charts(part: DataSetReport, prefix: str) -> list[InteractiveChart]:
    """Return the charts for many settings; empty for few settings, for which the ranking is clearer.

    Args:
        part: Report of the data set; its metrics are shares between 0 and 1, drawn in percent.
        prefix: Prefix of the charts' names, which makes them unique on a page.
    """
    settings = explored(part)
    in_tables = any(pivot_tables(part.table, part.sweep.objective))
    if len(settings) < (FEWEST if in_tables else FEWEST_APART) or not part.table.axes:
        return []
    scales = [AxisScale.of(name, settings) for name in part.table.axes]
    return [
        chart
        for make in (_slices, _pairs, parallel_chart, _history, _edf)
        for chart in make(part, settings, scales, prefix)
    ]


def explored(part: DataSetReport) -> list[ExploredSetting]:
    """Return the settings with a result, best first."""
    metric = part.sweep.objective
    order = {entry.trial_id: place for place, entry in enumerate(part.sweep.trials)}
    return [_explored(one, part, order) for one in part.rows if one.row.is_defined(metric) and not one.row.label]


def _explored(one: ReportRow, part: DataSetReport, order: Mapping[str, int]) -> ExploredSetting:
    cell = one.cells[part.sweep.objective]
    assert cell.mean is not None
    values = {name: one.row.config[name] for name in part.table.axes}
    return ExploredSetting(
        one.label, values, cell.mean, cell.seeds or cell.images, order[one.row.trials[0].entry.trial_id]
    )


def _slices(
    part: DataSetReport, settings: Sequence[ExploredSetting], scales: Sequence[AxisScale], prefix: str
) -> Iterator[InteractiveChart]:
    """Yield charts of the result over each axis."""
    factor, unit = result_scale(part)
    results = [factor * one.result for one in settings]
    common = {
        "type": "scatter",
        "mode": "markers",
        "y": results,
        "text": [safe(one.label) for one in settings],
        "hovertemplate": "%{text}<br>%{y}<extra></extra>",
        "error_y": _bars([one.interval for one in settings], results, factor),
        "marker": {
            "color": [CONTRASTIVE if place else SUPERVISED for place in range(len(settings))],
            "symbol": ["star"] + ["circle"] * (len(settings) - 1),
            "size": [13] + [7] * (len(settings) - 1),
        },
    }
    views = [(axis_label(scale.name), 1, {"xaxis": _axis_of(scale), "yaxis": axis(unit)}) for scale in scales]
    caption = f"{_what(part)}; star: the best setting; lines: 95 % over seeds, over the images with one seed"
    data = [{**common, "x": [_on_axis(scale, one.values[scale.name]) for one in settings]} for scale in scales]
    yield InteractiveChart(f"{prefix}slices", "Values by axis", caption, data, {}, "Axis", views)


def _pairs(
    part: DataSetReport, settings: Sequence[ExploredSetting], scales: Sequence[AxisScale], prefix: str
) -> Iterator[InteractiveChart]:
    """Yield a heat map of the best result for each pair of values of two axes."""
    factor, unit = result_scale(part)
    pairs = list(combinations(scales, 2))[:MOST_PAIRS]
    if not pairs:
        return
    results = [factor * one.result for one in settings]
    marker = {
        "colorscale": SCALE,
        "reversescale": part.sweep.direction != "max",
        "cmin": min(results),
        "cmax": max(results),
        "colorbar": {"title": {"text": safe(unit), "side": "right"}, "thickness": 12},
        "symbol": "square",
        "size": 22,
        "line": {"color": REST, "width": 1},
    }
    data: list[dict[str, Any]] = []
    views = []
    for x, y in pairs:
        best = best_of_pairs(settings, x.name, y.name, part.sweep.direction)
        data.append(
            _heat_map(best, x, y, part.sweep.objective, {"color": [factor * one.result for one in best], **marker})
        )
        names = f"{axis_label(x.name)} and {axis_label(y.name)}"
        views.append((names, 1, {"xaxis": _axis_of(x), "yaxis": _axis_of(y)}))
    caption = f"{_what(part)} of the best setting at each pair of values, whatever its other axes are"
    yield InteractiveChart(
        f"{prefix}pairs",
        "Two axes at a time",
        caption,
        data,
        {"margin": {"l": 70, "r": 12, "t": 12, "b": 44}},
        "Axes",
        views,
    )


def _heat_map(
    best: Sequence[ExploredSetting], x: AxisScale, y: AxisScale, objective: str, marker: Mapping[str, Any]
) -> dict[str, Any]:
    """Return one square for each pair of values of two axes, with its best setting."""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [_on_axis(x, one.values[x.name]) for one in best],
        "y": [_on_axis(y, one.values[y.name]) for one in best],
        "text": [safe(f"{one.label}: {number(objective, one.result)}") for one in best],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": marker,
    }


def _history(
    part: DataSetReport, settings: Sequence[ExploredSetting], _: Sequence[AxisScale], prefix: str
) -> Iterator[InteractiveChart]:
    """Yield the results of a search in order, and the best so far; a full grid has no meaningful order."""
    if not isinstance(part.effects.levels, NotComputed):
        return
    searched = sorted(settings, key=lambda one: one.order)
    factor, unit = result_scale(part)
    results = [factor * one.result for one in searched]
    numbers = list(range(1, len(searched) + 1))
    dots = {
        "type": "scatter",
        "mode": "markers",
        "name": "setting",
        "x": numbers,
        "y": results,
        "text": [safe(one.label) for one in searched],
        "hovertemplate": "%{text}<br>%{y}<extra></extra>",
        "error_y": _bars([one.interval for one in searched], results, factor),
        "marker": {"color": CONTRASTIVE, "size": 7},
    }
    best = [factor * value for value in best_so_far(searched, part.sweep.direction)]
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": "best so far",
        "x": numbers,
        "y": best,
        "line": {"color": SUPERVISED, "shape": "hv", "width": 2},
    }
    layout = {
        "xaxis": axis("setting, in the order of the search", tickformat=",d"),
        "yaxis": axis(unit),
    }
    yield InteractiveChart(
        f"{prefix}history", "History", f"{_what(part)} of each setting; line: the best so far", [dots, line], layout
    )


def _edf(
    part: DataSetReport, settings: Sequence[ExploredSetting], _: Sequence[AxisScale], prefix: str
) -> Iterator[InteractiveChart]:
    """Yield the empirical distribution function of results, with the baselines."""
    factor, unit = result_scale(part)
    results = sorted(factor * one.result for one in settings)
    shares = [100 * (place + 1) / len(results) for place in range(len(results))]
    line: dict[str, Any] = {"type": "scatter", "mode": "lines"}
    steps = {"color": CONTRASTIVE, "shape": "hv", "width": 2}
    data = [{**line, "x": results, "y": shares, "name": "settings", "line": steps}]
    notes = []
    for place, one in enumerate(one for one in part.rows if one.row.label):
        if (value := one.cells[part.sweep.objective].mean) is None:
            continue
        at, name, dash = factor * value, safe(one.label), ("dash", "dot", "dashdot", "longdash")[place % 4]
        look = {"color": SUPERVISED, "dash": dash, "width": 1.6}
        data.append({**line, "x": [at, at], "y": [0, 100], "name": name, "line": look})
        beside = {"showarrow": False, "xanchor": "left", "xshift": 4}
        notes.append({**beside, "x": at, "y": 100 - 12 * place, "text": name})
    layout = {"xaxis": axis(unit), "yaxis": axis("settings up to here (%)", range=[0, 104]), "annotations": notes}
    caption = f"share of the settings whose {_what(part)} is at most this"
    yield InteractiveChart(f"{prefix}edf", "Distribution of results", caption, data, layout)


def importance_chart(part: DataSetReport, prefix: str) -> InteractiveChart | None:
    """Return a chart of the share of variance that each axis explains, with its range over resampled settings.

    Args:
        part: Report of the data set.
        prefix: Prefix of the chart's name, which makes it unique on a page.

    Returns:
        The chart; None if the shares can't be computed.
    """
    found = part.effects.importance
    if not isinstance(found, dict) or not found:
        return None
    ranked = sorted(found.items(), key=lambda item: item[1].share)
    shares = [100 * one.share for _, one in ranked]
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": shares,
        "y": [safe(axis_label(name)) for name, _ in ranked],
        "marker": {"color": CONTRASTIVE},
        "error_x": _bars([(one.low, one.high) for _, one in ranked], shares, 100),
        "hovertemplate": "%{y}: %{x} %<extra></extra>",
    }
    layout = {
        "xaxis": axis("share of the variance (%)", rangemode="tozero"),
        "yaxis": axis(""),
        "height": 120 + 34 * len(ranked),
    }
    caption = "fANOVA over a random forest; lines: the least and the most over forests of resampled settings"
    return InteractiveChart(f"{prefix}importance", "Importance of the axes", caption, [bars], layout)


def _what(part: DataSetReport) -> str:
    return metric_words(part.sweep.objective)


def _on_axis(scale: AxisScale, value: Any) -> Any:
    return value if scale.is_numeric else safe(spelled(value, scale.name))


def _axis_of(scale: AxisScale) -> dict[str, Any]:
    if scale.is_logarithmic and len(scale.values) <= MOST_TICKS:
        texts = [spelled(value, scale.name) for value in scale.values]
        return axis(axis_label(scale.name), type="log", tickvals=list(scale.values), ticktext=texts)
    if scale.is_logarithmic:
        decades = scale.values[-1] / scale.values[0] >= 100
        return axis(axis_label(scale.name), type="log", dtick=1 if decades else "D2")
    return axis(axis_label(scale.name), type="linear" if scale.is_numeric else "category")


def _bars(intervals: Sequence[tuple[float, float] | None], values: Sequence[float], factor: int) -> dict[str, Any]:
    """Return error bars from intervals; a missing interval has none."""
    ends = [
        (value, value) if own is None else (factor * own[0], factor * own[1])
        for own, value in zip(intervals, values, strict=True)
    ]
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value for (_, high), value in zip(ends, values, strict=True)],
        "arrayminus": [value - low for (low, _), value in zip(ends, values, strict=True)],
        "thickness": 1,
        "width": 0,
        "color": REST,
    }
