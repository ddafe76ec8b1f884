"""A short look at whether something fell far behind: `make bench-check`, exit code 1 where it did.

The rows are small ones of `make bench` with torchvision for lightly, in one thread, as several that wait for each other
suffer most from what else a machine does. Limits lie far beyond the goals for the same reason.
"""

import sys

import torch

from benchmarks.harness.machine import described, machine
from benchmarks.harness.measurement import BenchmarkRow, PlannedMeasurement
from benchmarks.harness.table import line
from benchmarks.rows import lars, nt_xent, training_step, views

BEHIND = 0.5
"""A ratio this many times worse than its goal is one that fell behind: half as good."""


def measurements() -> list[PlannedMeasurement]:
    """Return what is looked at."""
    cpu = torch.device("cpu")
    return [training_step.small(cpu), views.small(), *lars.measurements(cpu), nt_xent.small()]


def behind(rows: list[BenchmarkRow]) -> list[BenchmarkRow]:
    """Return those that are half as good as their goal, or worse."""
    return [row for row in rows if row.goal is not None and row.margin < BEHIND]


def main() -> None:
    """Measure; say what fell behind."""
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
