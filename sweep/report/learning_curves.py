"""All trials' learning curves as one interactive chart."""

import html
import json
import math
from typing import Any

from sweep.comparison.dataset_report import DataSetReport
from sweep.console.formatting import slug
from sweep.figures.style import COLOURS
from trainables import metric_names as names
from trainables.printable_text import printable

CURVES = (
    names.CONTRASTIVE_LOSS,
    names.CONTRASTIVE_ACCURACY,
    names.SUPERVISED_LOSS,
    names.SUPERVISED_ACCURACY,
)
DRAW_CHARTS = """
for (const values of document.querySelectorAll("script.chart")) {
  const chart = JSON.parse(values.textContent);
  Plotly.newPlot(values.previousElementSibling, chart.data, chart.layout, chart.config);
}
"""
"""The script that draws the charts of a page."""
MOST_MARKED = 30
"""Epochs up to which a curve has markers."""
DASHES = ("solid", "dash", "dot", "dashdot")
"""Of curves that share a colour."""
MOST_UNIFIED = 12
"""Curves up to which one box tells of all at an epoch."""


def learning_curves(part: DataSetReport, prefix: str) -> str:
    """Return all trials' learning curves as one interactive chart with a choice of metrics, without its library."""
    reports = [report for report in part.trials.values() if report.epochs and report.epochs[-1].epoch > 0]
    split = part.sweep.objective.partition("/")[0]
    metrics = [
        metric
        for metric in dict.fromkeys((*CURVES, part.sweep.objective, f"{split}/{names.TOP1}"))
        if any(metric in record.metrics for report in reports for record in report.epochs)
    ]
    if not metrics:
        return ""
    import plotly.graph_objects as plotly

    looks = {
        trial.entry.trial_id: {
            "color": COLOURS[number % len(COLOURS)],
            "dash": DASHES[number // len(COLOURS) % len(DASHES)],
        }
        for number, one in enumerate(part.rows)
        for trial in one.row.trials
    }
    longest = max(report.epochs[-1].epoch for report in reports)
    figure = plotly.Figure()
    for metric in metrics:
        factor = 100 if names.is_share(metric) else 1
        for report in reports:
            points = [(record.epoch, record.metrics.get(metric, math.nan)) for record in report.epochs]
            points = [(epoch, factor * value) for epoch, value in points if math.isfinite(value)]
            figure.add_scatter(
                x=[epoch for epoch, _ in points],
                y=[value for _, value in points],
                name=html.escape(printable(report.trial.entry.name)),  # Plotly takes tags in names
                mode="lines+markers" if len(points) <= MOST_MARKED else "lines",
                line=looks[report.trial.entry.trial_id],
                visible=metric == metrics[0],
            )
    buttons = [
        {
            "label": html.escape(printable(f"{metric} (%)" if names.is_share(metric) else metric)),
            "method": "restyle",
            "args": ["visible", [other == metric for other in metrics for _ in reports]],
        }
        for metric in metrics
    ]
    figure.update_layout(
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 50, "r": 10, "t": 50, "b": 40},
        height=480,
        hovermode="x unified" if len(reports) <= MOST_UNIFIED else "closest",
        legend={"orientation": "h", "y": -0.2, "yanchor": "top"},
        xaxis={
            "title": {"text": "epoch", "standoff": 6},
            "tickformat": ",d",
            **({"dtick": 1} if longest <= 12 else {}),
        },
        modebar={"bgcolor": "rgba(0,0,0,0)"},
        updatemenus=[{"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.14, "yanchor": "top"}],
    )
    return _chart(figure, f"{prefix}learning-curves")


def _chart(figure: Any, name: str) -> str:
    """Return a place for a chart and its values, which DRAW_CHARTS draws: data, in which no mark ends the element."""
    config = {"displaylogo": False, "responsive": True}
    values = json.dumps({**json.loads(figure.to_json()), "config": config})
    for mark in "<>&":
        values = values.replace(mark, f"\\u{ord(mark):04x}")
    return f'<div id="{slug(name)}"></div><script type="application/json" class="chart">{values}</script>'


def plotly_source() -> str:
    """Return the library that draws charts."""
    from plotly.offline import get_plotlyjs

    source: str = get_plotlyjs()
    return source
