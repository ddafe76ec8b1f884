"""Chart of many settings in parallel coordinates: one line per setting, through its values to its result."""

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any

from sweep.comparison.dataset_report import DataSetReport
from sweep.comparison.exploration import AxisScale, ExploredSetting
from sweep.comparison.wording import spelled
from sweep.console.formatting import axis_label, number
from sweep.figures.style import CONTRASTIVE, REST, SUPERVISED
from sweep.report.charts import InteractiveChart, axis, safe
from trainables.metrics.names import is_share

BEST_SHOWN = 8
"""Number of highlighted settings."""
TITLE_LINE = 12
"""Maximum characters of a line of a column's title, unless a word is longer."""


def result_scale(part: DataSetReport) -> tuple[int, str]:
    """Return the factor by which results are drawn, and the axis title with the unit."""
    metric = part.sweep.objective
    return (100, f"{metric} (%)") if is_share(metric) else (1, metric)


def parallel_chart(
    part: DataSetReport, settings: Sequence[ExploredSetting], scales: Sequence[AxisScale], prefix: str
) -> Iterator[InteractiveChart]:
    """Yield parallel coordinates: one line per setting through its value on each axis to its result."""
    factor, unit = result_scale(part)
    low, high = (ends(one.result for one in settings) for ends in (min, max))
    columns = [_title(name) for name in (*(scale.name for scale in scales), unit)]
    data = []
    for place, one in sorted(enumerate(settings), reverse=True):
        up = (one.result - low) / (high - low) if high > low else 0.5
        heights = [*(scale.place(one.values[scale.name]) for scale in scales), up]
        data.append(_line(place, heights, f"{one.label}: {number(part.sweep.objective, one.result)}"))
    ends = [(spelled(scale.values[0], scale.name), spelled(scale.values[-1], scale.name)) for scale in scales]
    layout = {
        "annotations": _notes([*ends, (f"{factor * low:.3g}", f"{factor * high:.3g}")]),
        "shapes": _columns(len(columns)),
        # By default, Plotly leaves out titles that reach over the chart's edge.
        "xaxis": axis(
            "", tickvals=list(range(len(columns))), ticktext=columns, showgrid=False, ticklabeloverflow="allow"
        ),
        "yaxis": {"visible": False, "range": [-0.12, 1.12]},
        "margin": {"l": 44, "r": 44, "t": 12, "b": 44},
    }
    caption = f"one line per setting; orange and dashed: the best one; thick: the best {min(BEST_SHOWN, len(settings))}"
    yield InteractiveChart(f"{prefix}parallel", "Parallel coordinates", caption, data, layout)


def _title(name: str) -> str:
    """Return a column's title in short lines, so that neighbouring ones don't touch."""
    return "<br>".join(map(safe, wrap(axis_label(name.replace("/", " ")), TITLE_LINE, break_long_words=False)))


def _line(place: int, heights: Sequence[float], words: str) -> dict[str, Any]:
    """Return the line of the setting at `place` in the ranking, with its height on each column."""
    stands_out = place < BEST_SHOWN
    return {
        "type": "scatter",
        "mode": "lines+markers" if stands_out else "lines",
        "x": list(range(len(heights))),
        "y": list(heights),
        "text": safe(words),
        "hovertemplate": "%{text}<extra></extra>",
        "line": {
            "color": SUPERVISED if not place else CONTRASTIVE if stands_out else REST,
            "width": 2.2 if stands_out else 0.8,
            "dash": "solid" if place else "dash",
        },
        "opacity": 1.0 if stands_out else 0.55,
        "marker": {"size": 6},
    }


def _notes(ends: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return the texts below and above each column: its ends."""
    return [
        {"x": column, "y": at, "text": safe(text), "showarrow": False, "yshift": shift}
        for column, pair in enumerate(ends)
        for at, text, shift in ((0, pair[0], -12), (1, pair[1], 12))
    ]


def _columns(count: int) -> list[dict[str, Any]]:
    """Return the vertical lines of the columns."""
    line = {"color": REST, "width": 1}
    return [
        {"type": "line", "x0": column, "x1": column, "y0": 0, "y1": 1, "line": line, "layer": "below"}
        for column in range(count)
    ]
