"""Charts of measured ratios beside their goals, and of costs over work."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.harness.measurement import BenchmarkRow, CostGrowth, number

MET, MISSED, GOAL, INK = "#2a7f62", "#c2553a", "#1b1b1b", "#444444"
BAR, HEAD = 0.34, 1.1
"""Height in inches of a row, and of title and axis."""


def draw_rows(rows: Sequence[BenchmarkRow], caption: str, path: Path) -> None:
    """Draw each ratio that has a goal as a bar of how many times better than the goal it is; right of 1 is better.

    Ratios of times and bytes are better below their goal, ratios of rates above it.

    Args:
        rows: Measured rows; those without a goal aren't drawn.
        caption: Machine and versions, shown below the chart.
        path: File to write; its suffix names the format.
    """
    shown = [row for row in rows if row.goal is not None]
    figure = Figure(figsize=(10.5, HEAD + BAR * len(shown)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(reversed(shown)):
        axes.barh(place, row.margin - 1.0, left=1.0, height=0.62, color=MET if row.met else MISSED)
        axes.annotate(
            f"{row.ratio:.3g} ({'at most' if row.at_most else 'at least'} {row.goal:g})",
            (max(row.margin, 1.0), place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            color=INK,
        )
    axes.set_yticks(range(len(shown)), [f"{row.what}\n/ {row.beside}" for row in reversed(shown)], fontsize=6.5)
    axes.axvline(1.0, color=GOAL, linewidth=1.2)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.margins(x=0.22, y=0.01)
    axes.set_xlabel("times better than the goal (the line), logarithmic")
    axes.set_title(f"Measured ratios and their goals\n{caption}", loc="left", fontsize=7.5, wrap=True)
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def draw_growth(growths: Sequence[CostGrowth], path: Path) -> None:
    """Draw each cost against its work on logarithmic axes, with the fitted exponent.

    Args:
        growths: Costs with their points (work, cost).
        path: File to write; its suffix names the format.
    """
    columns = 3
    lines = -(-len(growths) // columns)
    figure = Figure(figsize=(3.5 * columns, 2.9 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).flat
    for growth, axes in zip(growths, panels, strict=False):  # in this order, so that no panel is lost
        works, costs = zip(*growth.points, strict=True)
        axes.loglog(works, costs, marker="o", color=MET)
        axes.set_title(f"{growth.what}\nexponent {growth.exponent:.2f}", loc="left", fontsize=9)
        axes.set_xlabel(growth.work, fontsize=8)
        axes.set_ylabel(growth.cost, fontsize=8)
        axes.set_xticks(works, [f"{work:,.0f}" for work in works], fontsize=7, rotation=30)
        axes.set_yticks(costs, [number(cost) for cost in costs], fontsize=7)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    for axes in list(panels):
        axes.set_axis_off()
    figure.savefig(path, dpi=130)
