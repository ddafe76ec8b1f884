"""Tables of ratios and growths, in Markdown and as plain text."""

from typing import Any

from benchmarks.harness.machine import described
from benchmarks.harness.measurement import BenchmarkRow, CostGrowth, number


def line(row: BenchmarkRow) -> str:
    """Return a row as a line of plain text."""
    named, *rest = cells(row)
    return f"{named} beside {row.beside}: {' | '.join(rest)}"


def cells(row: BenchmarkRow) -> tuple[str, ...]:
    """Return the table cells of a row."""
    low, high = row.spread
    sign = "<=" if row.at_most else ">="
    peer = f"{number(row.peer)} {row.unit}"
    return (
        row.what + (f" ({row.note})" if row.note else ""),
        f"{number(row.ours)} {row.unit}",
        peer if peer == row.beside else f"{peer}, {row.beside}",
        f"{number(row.ratio)} ({number(low)} to {number(high)})",
        "" if row.goal is None else f"{sign} {row.goal:g}",
        {True: "yes", False: "no", None: ""}[row.met],
    )


HEADINGS = ("what", "ours", "peer", "ratio", "goal", "met")


def show(rows: list[BenchmarkRow], growths: list[CostGrowth], found: dict[str, Any]) -> None:
    """Print the tables in Markdown, for copying into documents."""
    print(f"\n{described(found)}\n\n| {' | '.join(HEADINGS)} |\n|{'---|' * len(HEADINGS)}")
    for row in rows:
        print(f"| {' | '.join(cells(row))} |")
    if growths:
        print("\n| cost | work | from | to | exponent | goal |\n|---|---|---|---|---|---|")
    for growth in growths:
        ends = (f"{number(work)}: {number(cost)} {growth.cost}" for work, cost in (growth.points[0], growth.points[-1]))
        goal = "" if growth.goal is None else f"<= {growth.goal:g}"
        print(f"| {growth.what} | {growth.work} | {' | '.join(ends)} | {growth.exponent:.2f} | {goal} |")
    print()
