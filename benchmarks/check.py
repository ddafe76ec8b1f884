"""Regression check of performance in half a minute: `make bench-check`, with exit code 1 for a large regression.

The rows are small ones of `make bench`, with torchvision instead of lightly and one thread, since several threads
suffer most from other processes. Limits are far beyond the goals for the same reason.
"""

import sys

import torch

from benchmarks.harness.machine import described, machine
from benchmarks.harness.measurement import BenchmarkRow, PlannedMeasurement
from benchmarks.harness.table import line
from benchmarks.rows import lars, nt_xent, training_step, views

BEHIND = 0.5
"""Margin below which a row fails the check: less than half as good as its goal."""


def measurements() -> list[PlannedMeasurement]:
    """Return the measurements of the check."""
    cpu = torch.device("cpu")
    return [training_step.small(cpu), views.small(), *lars.measurements(cpu), nt_xent.small()]


def behind(rows: list[BenchmarkRow]) -> list[BenchmarkRow]:
    """Return the rows that are at most half as good as their goal."""
    return [row for row in rows if row.goal is not None and row.margin < BEHIND]


def main() -> None:
    """Measure, and print the rows that fail."""
    torch.set_num_threads(1)
    print(described(machine()), flush=True)
    rows = []
    for measurement in measurements():
        rows.append(measurement.row())
        print(line(rows[-1]), flush=True)
    slow = behind(rows)
    for row in slow:
        limit = row.goal / BEHIND if row.at_most else row.goal * BEHIND  # type: ignore[operator]
        print(f"too slow: {row.what} is {row.ratio:.3g} times {row.beside}; limit {limit:.3g}", file=sys.stderr)
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()
