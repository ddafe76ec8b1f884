"""Figures of a classifier's decisions: sensitivity against specificity, ROC, precision and recall, calibration."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from sweep.comparison.classifier_curves import TradeOff
from sweep.figures.comparison import PLOT, number_at, numbered
from sweep.figures.style import (
    REST,
    WIDTH,
    finish,
    legend_below,
    legend_height,
    look,
    panel,
    title_lines,
)
from sweep.statistics.threshold_curves import ThresholdCurves


def sensitivity_specificity(points: Sequence[TradeOff], *, about: str = "") -> Figure:
    """Draw each setting's sensitivity against its specificity, with both intervals over the test images.

    Args:
        points: Sensitivity and specificity of each setting, between 0 and 1, best first.
        about: Description of the classifier or images, for the title.
    """
    names, fields = numbered([point.label for point in points])
    figure, axes = panel(width=WIDTH, height=PLOT + legend_height(names, title=fields))
    for number, (name, point) in enumerate(zip(names, points, strict=True)):
        own = look(number)
        line: dict[str, Any] = {"color": own.colour, "linewidth": 1.2, "alpha": 0.7}
        if point.sensitivity_interval is not None:
            axes.plot([point.specificity] * 2, list(point.sensitivity_interval), **line)
        if point.specificity_interval is not None:
            axes.plot(list(point.specificity_interval), [point.sensitivity] * 2, **line)
        axes.plot([point.specificity], [point.sensitivity], own.marker, color=own.colour, label=name)
        number_at(axes, number, len(points), point.specificity, point.sensitivity)
    title = title_lines("Sensitivity against specificity", about)
    finish(axes, title=title, x="specificity (%)", y="sensitivity (%)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=""))
    legend_below(figure, axes, title=fields)
    return figure


def roc_curves(curves: Sequence[ThresholdCurves], *, about: str = "") -> Figure:
    """Draw ROC curves: sensitivity over the false positive rate, at every threshold.

    Args:
        curves: Curves of each setting; rates are arrays (t,) between 0 and 1, one entry per threshold.
        about: Description of the classifier or images, for the title.
    """
    with _square_panel(
        curves, title_lines("ROC (marks: the decision as made)", about), x="1 - specificity (%)", y="sensitivity (%)"
    ) as (figure, axes, names):
        axes.plot([0, 1], [0, 1], color=REST, linewidth=1.0)
        for number, (name, own) in enumerate(zip(names, curves, strict=True)):
            seen = look(number)
            axes.plot(*own.roc, color=seen.colour, linestyle=seen.line, label=name, linewidth=1.5)
            axes.plot(*([place] for place in own.decision), seen.marker, color=seen.colour, markersize=5)
            number_at(axes, number, len(curves), *own.decision)
    return figure


def precision_recall_curves(curves: Sequence[ThresholdCurves], *, about: str = "") -> Figure:
    """Draw precision over sensitivity, and the share of positives as the baseline of random guessing.

    Args:
        curves: Curves of each setting; rates are arrays (t,) between 0 and 1, one entry per threshold.
        about: Description of the classifier or images, for the title.
    """
    with _square_panel(
        curves,
        title_lines("Precision and recall (line: blind guess)", about),
        x="sensitivity, recall (%)",
        y="precision (%)",
    ) as (figure, axes, names):
        for number, (name, own) in enumerate(zip(names, curves, strict=True)):
            seen = look(number)
            axes.step(
                *own.precision_recall, where="post", color=seen.colour, linestyle=seen.line, label=name, linewidth=1.5
            )
            recall, precision = (np.asarray(side) for side in own.precision_recall)
            at = int(np.abs(recall - (0.95 - 0.09 * number)).argmin())
            number_at(axes, number, len(curves), float(recall[at]), float(precision[at]))
        axes.axhline(curves[0].positive_share, color=REST, linewidth=1.2)
    return figure


def calibration_curves(curves: Sequence[ThresholdCurves], *, about: str = "") -> Figure:
    """Draw the share of positives over the predicted probability, in bins with equal numbers of images.

    Args:
        curves: Curves of each setting; probabilities and shares are arrays (b,) between 0 and 1, one entry per bin.
        about: Description of the classifier or images, for the title.
    """
    with _square_panel(
        curves,
        title_lines("Calibration (diagonal: as predicted)", about),
        x="predicted probability (%)",
        y="positives (%)",
    ) as (figure, axes, names):
        axes.plot([0, 1], [0, 1], color=REST, linewidth=1.0)
        for number, (name, own) in enumerate(zip(names, curves, strict=True)):
            seen = look(number)
            style: dict[str, Any] = {
                "color": seen.colour,
                "linestyle": seen.line,
                "marker": seen.marker,
                "markersize": 4,
            }
            axes.plot(*own.calibration, label=name, linewidth=1.2, **style)
    return figure


@contextmanager
def _square_panel(
    curves: Sequence[ThresholdCurves], title: str, *, x: str, y: str
) -> Iterator[tuple[Figure, Axes, list[str]]]:
    """Yield a figure, its square panel and the curves' names; add titles, scales and legend after the drawing."""
    names, fields = numbered([own.label for own in curves])
    figure, axes = panel(width=WIDTH, height=WIDTH + 0.45 + legend_height(names, title=fields))
    yield figure, axes, names
    finish(axes, title=title, x=x, y=y)
    _square(axes)
    legend_below(figure, axes, title=fields)


def _square(axes: Axes) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=""))
