"""Learning curves of trials in one interactive chart."""

import math
from typing import TYPE_CHECKING, Any

from sweep.comparison.dataset_report import DataSetReport
from sweep.comparison.trial_report import TrialReport
from sweep.figures.style import COLOURS
from sweep.report.charts import InteractiveChart, axis, safe
from trainables.metrics import names

if TYPE_CHECKING:
    from collections.abc import Iterator

CURVES = (
    names.CONTRASTIVE_LOSS,
    names.CONTRASTIVE_ACCURACY,
    names.SUPERVISED_LOSS,
    names.SUPERVISED_ACCURACY,
)
MOST_MARKED = 30
"""Maximum number of epochs for which a curve has markers."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "star")
MOST_UNIFIED = 12
"""Maximum number of curves for which one box shows all values at an epoch."""
MOST_CURVES = 40
"""Maximum number of trials with a curve, those of the best settings."""


def learning_curves(part: DataSetReport, prefix: str) -> InteractiveChart | None:
    """Return the learning curves of the best settings over epochs, with a menu of metrics.

    Args:
        part: Report of the data set; its metrics are shares between 0 and 1, drawn in percent.
        prefix: Prefix of the chart's name, which makes it unique on a page.

    Returns:
        The chart; None if no trial has trained.
    """
    trained = list(_trained(part))
    shown = trained[:MOST_CURVES]
    split = part.sweep.objective.partition("/")[0]
    metrics = [
        metric
        for metric in dict.fromkeys((*CURVES, part.sweep.objective, f"{split}/{names.TOP1}"))
        if any(metric in record.metrics for _, report in shown for record in report.epochs)
    ]
    if not metrics:
        return None
    longest = max(report.epochs[-1].epoch for _, report in shown)
    few = f"; those of the best settings: {len(shown)} of {len(trained)} trials" if len(shown) < len(trained) else ""
    layout = {
        "height": 420 + 22 * -(-len(shown) // 2),
        "hovermode": "x unified" if len(shown) <= MOST_UNIFIED else "closest",
        "showlegend": True,
        # At the figure's bottom: placed by the plot, it lies over the curves once a sheet's width changes its rows.
        "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
        "xaxis": axis("epoch", tickformat=",d", **({"dtick": 1} if longest <= 12 else {})),
    }
    return InteractiveChart(
        f"{prefix}learning-curves",
        "Learning curves",
        f"one line per trial{few}; all numbers: tables/{prefix}epochs.csv",
        [_trace(metric, number, report) for metric in metrics for number, report in shown],
        layout,
        "Metric",
        [(_unit(metric), len(shown), {"yaxis": axis(_unit(metric))}) for metric in metrics],
    )


def _trained(part: DataSetReport) -> "Iterator[tuple[int, TrialReport]]":
    """Yield the trained trials with the index of their setting, best settings first."""
    for number, one in enumerate((*part.rows, *part.halved)):
        for trial in one.row.trials:
            report = part.trials[trial.entry.trial_id]
            if report.epochs and report.epochs[-1].epoch > 0:
                yield number, report


def _trace(metric: str, number: int, report: TrialReport) -> dict[str, Any]:
    factor = 100 if names.is_share(metric) else 1
    points = [(record.epoch, factor * record.metrics.get(metric, math.nan)) for record in report.epochs]
    points = [(epoch, value) for epoch, value in points if math.isfinite(value)]
    colour = COLOURS[number % len(COLOURS)]
    return {
        "type": "scatter",
        "x": [epoch for epoch, _ in points],
        "y": [value for _, value in points],
        "name": safe(report.trial.entry.name),
        "mode": "lines+markers" if len(points) <= MOST_MARKED else "lines",
        "line": {"color": colour, "dash": DASHES[(number + number // len(COLOURS)) % len(DASHES)], "width": 1.6},
        "marker": {"color": colour, "symbol": SYMBOLS[number % len(SYMBOLS)], "size": 5},
    }


def _unit(metric: str) -> str:
    return f"{metric} (%)" if names.is_share(metric) else metric
