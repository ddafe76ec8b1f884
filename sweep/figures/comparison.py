"""Figures that compare settings: values in, a matplotlib figure out.

If there are many settings, only the best have names and colours; the others are grey.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from sweep.console.formatting import plain, short_percent
from sweep.figures.style import (
    COLOURS,
    CONTRASTIVE,
    INK,
    REST,
    SUPERVISED,
    WIDTH,
    compact,
    finish,
    label,
    legend_below,
    legend_height,
    look,
    panel,
    title_lines,
)
from sweep.statistics.share_intervals import ConfidenceInterval
from sweep.statistics.threshold_curves import pareto_front
from trainables.metrics.names import is_share

LONGEST_LABEL, LONGEST_RANKED = 60, 90
"""Maximum characters of a setting's name in a legend and in a ranking."""
LONG_LABEL = 26
"""Characters of a setting's name from which a ranking shows its values alone, with the fields in the title."""
LABEL_LINE = 36
"""Characters of a line of a setting's name in a ranking."""
MOST_RANKED = 40
"""Maximum number of settings with their own line in the ranking."""
MOST_NAMED = 8
"""Maximum number of settings with their own colour and marker."""
HATCHES = ("", "//", "--", "xx", "||", "++", "////", "\\\\")
"""Hatches of adjacent bars, which otherwise only the colour would distinguish."""
PLOT = 3.9
"""Height of a figure without its legend, in inches."""


@dataclass(frozen=True)
class MetricPoint:
    """Value of a metric for one setting; shares are between 0 and 1, also in both intervals."""

    label: str
    value: float
    seeds: ConfidenceInterval | None = None
    images: ConfidenceInterval | None = None
    published: float | None = None
    baseline: bool = False


def ranking(points: Sequence[MetricPoint], *, metric: str) -> Figure:
    """Draw one line per setting: its value, a thick interval over seeds, and a thin one over images.

    Settings after the first 40 share a line.

    Args:
        points: Settings and baselines, best first.
        metric: Name of the metric, as `test/knn_top1`; shares are drawn in percent.
    """
    settings = [point for point in points if not point.baseline]
    shown, rest = settings[:MOST_RANKED], settings[MOST_RANKED:]
    lines = [*shown, *(point for point in points if point.baseline)]
    count = len(lines) + bool(rest)
    names, fields = compact([point.label for point in lines], LONG_LABEL, longest=LONGEST_RANKED)
    names = ["\n".join(wrap(name, LABEL_LINE)) for name in names]
    row = 0.26 + 0.13 * max((name.count("\n") for name in names), default=0)
    figure, axes = panel(width=WIDTH, height=1.3 + row * max(count, 2))
    for place, point in enumerate(lines):
        _ranked(axes, place + (place >= len(shown) and bool(rest)), point)
    if rest:
        names.insert(len(shown), f"{len(rest)} more settings")
        axes.plot([point.value for point in rest], [len(shown)] * len(rest), "|", color=REST, markersize=9)
    finish(axes, title=title_lines("Ranking", fields), x=_unit(metric), y="")
    _in_percent(axes.xaxis, metric)
    axes.set_yticks(range(count), names, fontsize=9)
    axes.set_ylim(count - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    return figure


def _ranked(axes: Axes, place: float, point: MetricPoint) -> None:
    colour = SUPERVISED if point.baseline else CONTRASTIVE
    for interval, width in ((point.images, 1.2), (point.seeds, 4.0)):
        if interval is not None:
            alpha = 0.5 if width > 2 else 1.0
            axes.plot([interval.low, interval.high], [place, place], color=colour, linewidth=width, alpha=alpha)
    axes.plot([point.value], [place], "s" if point.baseline else "o", color=colour, markersize=6)
    if point.published is not None:
        axes.plot([point.published], [place], "D", markerfacecolor="none", markeredgecolor=INK, markersize=6)


def grouped_bars(
    values: Mapping[tuple[str, str], tuple[float, ConfidenceInterval | None]],
    *,
    metric: str,
    x: str,
    group: str,
    published: Mapping[tuple[str, str], float] | None = None,
) -> Figure:
    """Draw grouped bars of a metric over one or two axes.

    Args:
        values: Metric and its 95 % interval by (value of `x`, value of `group`); shares are between 0 and 1.
        metric: Name of the metric; shares are drawn in percent.
        x: Axis of the settings along the horizontal axis.
        group: Axis of the settings for adjacent bars; empty for single bars.
        published: Published values by the same keys, drawn as marks.
    """
    published = published or {}
    places, groups = (list(dict.fromkeys(key[number] for key in values)) for number in (0, 1))
    names = [label(name, 40) for name in groups] if group else []
    wide = float(np.clip(1.6 + 0.42 * len(values), WIDTH, 11.0))
    figure, axes = panel(width=wide, height=3.4 + legend_height(names, title=group))
    width = 0.8 / len(groups)
    written = len(values) <= 3.2 * wide
    for number, name in enumerate(groups):
        colour, hatch = (
            COLOURS[number % len(COLOURS)],
            HATCHES[(number + number // len(COLOURS)) % len(HATCHES)] if group else "",
        )
        for place, at in enumerate(places):
            if (at, name) not in values:
                continue
            value, interval = values[at, name]
            left = place - 0.4 + width * (number + 0.5)
            first = place == min(i for i, p in enumerate(places) if (p, name) in values)
            shown = names[number] if group and first else None
            axes.bar(left, value, width=0.92 * width, color=colour, hatch=hatch, edgecolor="white", lw=0, label=shown)
            text = short_percent(value) if is_share(metric) else plain(metric, value)
            _annotate_bar(axes, left, value, interval, published.get((at, name)), text if written else "")
    finish(axes, title=title_lines(f"By {x} and {group}" if group else f"By {x}", metric), x=x, y=_unit(metric))
    _in_percent(axes.yaxis, metric)
    axes.set_xticks(range(len(places)), [label(place, 24) for place in places])
    axes.grid(visible=False, axis="x")
    axes.margins(y=0.12)
    if group:
        legend_below(figure, axes, title=label(group))
    return figure


def _annotate_bar(
    axes: Axes, left: float, value: float, interval: ConfidenceInterval | None, published: float | None, text: str
) -> None:
    """Draw a bar's interval, its published value and, above both, its value as text."""
    if interval is not None:
        axes.plot([left, left], list(interval), color=INK, linewidth=1.2)
    if published is not None:
        axes.plot(left, published, "D", markerfacecolor="none", markeredgecolor=INK, markersize=5)
    if text:
        top = max(value, interval.high if interval else value)
        axes.text(left, top, text, ha="center", va="bottom", fontsize=8, color=INK)


def cost_and_quality(points: Sequence[tuple[str, float, float]], *, metric: str, unit: str, highest: bool) -> Figure:
    """Draw the metric of each setting over its time, and the Pareto front.

    Args:
        points: Label, time and value of each setting, best first.
        metric: Name of the metric; shares are drawn in percent.
        unit: Unit of the time, as the label of the horizontal axis.
        highest: Whether higher values are better.
    """
    named, rest = points[:MOST_NAMED], points[MOST_NAMED:]
    names, fields = numbered([name for name, _, _ in named])
    shown = [*names, f"{len(rest)} more settings"] if rest else names
    figure, axes = panel(width=WIDTH, height=PLOT + legend_height(shown, title=fields))
    if rest:
        places = ([point[1] for point in rest], [point[2] for point in rest])
        axes.plot(*places, ".", color=REST, markersize=6, label=shown[-1])
    for number, (name, (_, hours, value)) in enumerate(zip(names, named, strict=True)):
        own = look(number)
        axes.plot([hours], [value], own.marker, color=own.colour, label=name)
        number_at(axes, number, len(named), hours, value)
    front = pareto_front([(hours, value) for _, hours, value in points], highest=highest)
    if len(front) > 1:
        axes.plot(*zip(*(points[number][1:] for number in front), strict=True), color=REST, linewidth=1.4, zorder=0)
    line = " (line: nothing cheaper is better)" if len(front) > 1 else ""
    finish(axes, title=f"Cost and quality{line}", x=unit, y=_unit(metric))
    _in_percent(axes.yaxis, metric)
    legend_below(figure, axes, title=fields)
    return figure


def numbered(labels: Sequence[str]) -> tuple[list[str], str]:
    """Return the labels with the numbers of their curves or points, if there are several, and the legend's title."""
    short, fields = compact(labels, LONGEST_LABEL)
    if len(labels) < 2:
        return short, fields
    return [f"{number}{':' * bool(fields)} {text}" for number, text in enumerate(short, start=1)], fields


def number_at(axes: Axes, number: int, count: int, x: float, y: float) -> None:
    """Write a curve's or point's number beside it, if there are several."""
    if count > 1:
        beside: dict[str, Any] = {"textcoords": "offset points", "xytext": (5, 3), "fontsize": 8, "fontweight": "bold"}
        axes.annotate(str(number + 1), (x, y), color=INK, **beside)


def _unit(metric: str) -> str:
    return f"{metric} (%)" if is_share(metric) else metric


def _in_percent(axis: Axis, metric: str) -> None:
    if is_share(metric):
        axis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=""))
