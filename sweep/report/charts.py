"""Interactive charts of a report page: their data for Plotly, and Plotly's script."""

import base64
import gzip
import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from sweep.console.formatting import slug
from trainables.printing.printable_text import printable

PLOTLY = Path(__file__).parent / "plotly" / "plotly-basic.min.js.gz"
PAGE_SCRIPT = Path(__file__).parent / "templates" / "page.js"
DIGITS = 5
"""Significant digits of the numbers in a chart."""


@dataclass(frozen=True)
class InteractiveChart:
    """Interactive chart, with a choice of views if there are several."""

    name: str
    title: str
    caption: str
    data: Sequence[Mapping[str, Any]]
    """Traces of Plotly, in the order of the views."""
    layout: Mapping[str, Any]
    choice: str = ""
    """Label of the menu that selects a view; empty without a menu."""
    views: Sequence[tuple[str, int, Mapping[str, Any]]] = field(default=())
    """Each view's name, number of traces, and changes to the layout."""

    @property
    def alternative(self) -> str:
        """Return the chart's text alternative."""
        return f"{self.title}. {self.caption}"

    @property
    def values(self) -> str:
        """Return the chart as JSON for the page's script, without characters that could end an HTML element."""
        views = [{"traces": count, "layout": changed} for _, count, changed in self.views]
        text = json.dumps(
            {"data": _rounded(self.data), "layout": _rounded({**BASE, **self.layout}), "views": _rounded(views)},
            separators=(",", ":"),
        )
        for mark in "<>&":
            text = text.replace(mark, f"\\u{ord(mark):04x}")
        return text

    @property
    def address(self) -> str:
        """Return the chart's id on the page."""
        return slug(self.name)


BASE = {
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "margin": {"l": 56, "r": 12, "t": 12, "b": 44},
    "height": 400,
    "font": {"size": 12},
    "hovermode": "closest",
    "showlegend": False,
}
"""Base layout of all charts."""


def safe(text: str) -> str:
    """Return a text escaped for a chart, since Plotly interprets tags in names."""
    return html.escape(printable(text))


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return Plotly's layout of an axis.

    Args:
        title: Label of the axis, with its unit.
        **more: Further layout values of Plotly.
    """
    return {"title": {"text": safe(title), "standoff": 6}, "zeroline": False, "automargin": True, **more}


def plotly_source() -> str:
    """Return the source of the Plotly library."""
    return gzip.decompress(PLOTLY.read_bytes()).decode()


@cache
def plotly_packed() -> str:
    """Return the Plotly library as base64 of gzip, which is less than half of its size."""
    return base64.b64encode(PLOTLY.read_bytes()).decode()


def page_script() -> str:
    """Return the script that draws charts, and sorts and filters tables."""
    return PAGE_SCRIPT.read_text(encoding="utf-8")


def _rounded(value: Any) -> Any:
    """Return plain values with rounded numbers; values that aren't finite become null."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return value
