"""Figures that compare settings: values in, a matplotlib figure out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from sweep.comparison.classifier_curves import TradeOff
from sweep.console.formatting import short_percent
from sweep.figures.style import COLOURS, CONTRASTIVE, GRID, INK, SUPERVISED, finish, label, panel
from sweep.statistics.share_intervals import Interval
from sweep.statistics.threshold_curves import ThresholdCurves, pareto_front
from trainables.metric_names import is_share

MARKERS = "os^Dv"
"""For those that share a colour."""


@dataclass(frozen=True)
class Point:
    """One setting's value of a metric."""

    label: str
    value: float
    seeds: Interval | None = None
    images: Interval | None = None
    published: float | None = None
    baseline: bool = False


def ranking(points: Sequence[Point], *, metric: str) -> Figure:
    """Draw one line a setting, the first on top: its value, the interval over seeds, and thinly that over images."""
    figure, axes = panel(width=8.0, height=float(np.clip(1.5 + 0.34 * len(points), 2.4, 14.0)))
    for place, point in enumerate(points):
        colour = SUPERVISED if point.baseline else CONTRASTIVE
        for interval, width in ((point.images, 1.2), (point.seeds, 4.0)):
            if interval is not None:
                alpha = 0.45 if width > 2 else 0.9
                axes.plot([interval.low, interval.high], [place, place], color=colour, linewidth=width, alpha=alpha)
        axes.plot([point.value], [place], "o", color=colour, markersize=6)
        if point.published is not None:
            axes.plot([point.published], [place], "D", markerfacecolor="none", markeredgecolor=INK, markersize=6)
    finish(axes, title="", x=_unit(metric), y="")
    _in_percent(axes.xaxis, metric)
    axes.set_yticks(range(len(points)), [label(point.label) for point in points], fontsize=9)
    axes.set_ylim(len(points) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    return figure


def grouped_bars(
    values: Mapping[tuple[str, str], tuple[float, Interval | None]],
    *,
    metric: str,
    x: str,
    group: str,
    published: Mapping[tuple[str, str], float] | None = None,
) -> Figure:
    """Draw bars of a metric over one axis, side by side for another: `values` by (value of x, value of group)."""
    published = published or {}
    places, groups = (list(dict.fromkeys(key[number] for key in values)) for number in (0, 1))
    figure, axes = panel(width=float(np.clip(2.0 + 0.8 * len(values), 4.5, 12.0)), height=3.8)
    width = 0.8 / len(groups)
    for number, name in enumerate(groups):
        for place, at in enumerate(places):
            if (at, name) not in values:
                continue
            value, interval = values[at, name]
            left = place - 0.4 + width * (number + 0.5)
            shown = label(name) if place == min(i for i, p in enumerate(places) if (p, name) in values) else None
            colour = COLOURS[number % len(COLOURS)]
            axes.bar(left, value, width=0.92 * width, color=colour, label=shown if group else None)
            if interval is not None:
                axes.plot([left, left], list(interval), color=INK, linewidth=1.2)
            if (at, name) in published:
                axes.plot(left, published[at, name], "D", markerfacecolor="none", markeredgecolor=INK, markersize=5)
            text = short_percent(value) if is_share(metric) else f"{value:.3g}"
            top = max(value, interval.high if interval else value)
            axes.text(left, top, text, ha="center", va="bottom", fontsize=8, color=INK)
    finish(axes, title=f"{x} and {group}" if group else x, x=x, y=_unit(metric))
    _in_percent(axes.yaxis, metric)
    axes.set_xticks(range(len(places)), [label(place) for place in places])
    axes.grid(visible=False, axis="x")
    axes.margins(y=0.12)
    if group:
        look = {"fontsize": 8, "title_fontsize": 8, "loc": "upper left", "bbox_to_anchor": (1, 1)}
        axes.legend(frameon=False, title=label(group), **look)
    return figure


def sensitivity_specificity(points: Sequence[TradeOff]) -> Figure:
    """Draw each setting's sensitivity against its specificity, with the intervals of both over the test images."""
    figure, axes = panel(width=6.5, height=4.6)
    for number, point in enumerate(points):
        colour = COLOURS[number % len(COLOURS)]
        if point.sensitivity_interval is not None:
            axes.plot([point.specificity] * 2, list(point.sensitivity_interval), color=colour, linewidth=1.2, alpha=0.6)
        if point.specificity_interval is not None:
            axes.plot(list(point.specificity_interval), [point.sensitivity] * 2, color=colour, linewidth=1.2, alpha=0.6)
        axes.plot([point.specificity], [point.sensitivity], "o", color=colour, label=label(point.label))
    finish(axes, title="Sensitivity against specificity", x="specificity (%)", y="sensitivity (%)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=""))
    _legend(axes, len(points))
    return figure


def roc_curves(curves: Sequence[ThresholdCurves]) -> Figure:
    """Draw sensitivity over the share of negatives taken for positive, at every threshold."""
    figure, axes = panel(width=5.6, height=4.6)
    axes.plot([0, 1], [0, 1], color=GRID, linewidth=1.0)
    for number, own in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(*own.roc, color=colour, label=label(own.label), linewidth=1.4)
        axes.plot(*([place] for place in own.decision), "o", color=colour)
    finish(axes, title="ROC (dot: the decision as made)", x="1 - specificity (%)", y="sensitivity (%)")
    _square(axes)
    _legend(axes, len(curves))
    return figure


def precision_recall_curves(curves: Sequence[ThresholdCurves]) -> Figure:
    """Draw precision over sensitivity, and the share of positives, which a blind guess has."""
    figure, axes = panel(width=5.6, height=4.6)
    for number, own in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        axes.step(*own.precision_recall, where="post", color=colour, label=label(own.label), linewidth=1.4)
    axes.axhline(curves[0].positive_share, color=GRID, linewidth=1.2)
    finish(axes, title="Precision and recall (line: blind guess)", x="sensitivity, recall (%)", y="precision (%)")
    _square(axes)
    _legend(axes, len(curves))
    return figure


def calibration_curves(curves: Sequence[ThresholdCurves]) -> Figure:
    """Draw the share of positives over the predicted probability, in bins of equally many images."""
    figure, axes = panel(width=5.6, height=4.6)
    axes.plot([0, 1], [0, 1], color=GRID, linewidth=1.0)
    for number, own in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(*own.calibration, "o-", color=colour, label=label(own.label), linewidth=1.2, markersize=4)
    finish(axes, title="Calibration (diagonal: as predicted)", x="predicted probability (%)", y="positives (%)")
    _square(axes)
    _legend(axes, len(curves))
    return figure


def cost_and_quality(points: Sequence[tuple[str, float, float]], *, metric: str, unit: str, highest: bool) -> Figure:
    """Draw (label, hours, value) of each setting, and the line of those that nothing cheaper beats."""
    figure, axes = panel(width=6.5, height=4.2)
    for number, (name, hours, value) in enumerate(points):
        marker = MARKERS[number // len(COLOURS) % len(MARKERS)]
        axes.plot([hours], [value], marker, color=COLOURS[number % len(COLOURS)], label=label(name))
    front = pareto_front([(hours, value) for _, hours, value in points], highest=highest)
    axes.plot(*zip(*(points[number][1:] for number in front), strict=True), color=GRID, linewidth=1.4, zorder=0)
    finish(axes, title="Cost and quality (line: nothing cheaper is better)", x=unit, y=_unit(metric))
    _in_percent(axes.yaxis, metric)
    _legend(axes, len(points))
    return figure


def _unit(metric: str) -> str:
    return f"{metric} (%)" if is_share(metric) else metric


def _in_percent(axis: Axis, metric: str) -> None:
    if is_share(metric):
        axis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=""))


def _square(axes: Axes) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=""))


def _legend(axes: Axes, entries: int) -> None:
    if entries > 1:
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
