"""Training speed as ratios of two measurements in turns of one run on one machine.

    make bench                                            # installs what it needs
    python -m benchmarks.speed --only views               # the rows whose name contains this text
    python -m benchmarks.speed --json docs/performance.json --plot docs
    python -m benchmarks.speed --show docs/performance.json --plot docs     # an earlier run, drawn and printed again

Prints each row as it is measured, then the table and, as the last line, JSON. Small ratios are better for times and
memory, large ratios for rates; the sign in the column `goal` shows the direction.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness.machine import described, machine
from benchmarks.harness.measurement import BenchmarkRow, CostGrowth, PlannedMeasurement
from benchmarks.harness.table import line, show


def main() -> None:
    """Measure the rows of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="rows whose name or peer holds this text")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="without sweeps, two workers and growing trials")
    parser.add_argument("--json", type=Path, help="write the results here, too; with --only, into what is there")
    parser.add_argument("--plot", type=Path, help="folder that performance.png and scaling.png are drawn into")
    parser.add_argument("--show", type=Path, help="measure nothing, take these results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = json.loads(options.show.read_text()) if options.show else measured(options)
    if options.only and options.json and options.json.exists():
        found = merged(json.loads(options.json.read_text()), found)
    rows, growths = rows_of(found)
    show(rows, growths, found["machine"])
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if options.plot:
        from benchmarks.harness.chart import draw_growth, draw_rows

        draw_rows(rows, described(found["machine"]), options.plot / "performance.png")
        draw_growth(growths, options.plot / "scaling.png")
    print(json.dumps(found))


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Measure row by row, naming each; return machine, rows and growths as JSON values."""
    device = torch.device(options.device)
    rows, growths = [], []
    for measurement in _measurements(device, options):
        if options.only in f"{measurement.what} beside {measurement.beside}":
            start = time.perf_counter()
            rows.append(measurement.row())
            print(f"{line(rows[-1])}   ({time.perf_counter() - start:.0f} s)", file=sys.stderr, flush=True)
    for what, grow in _growths(options):
        if options.only in what:
            growths += grow()
    return {
        "machine": machine(),
        "rows": [asdict(row) | {"met": row.met} for row in rows],
        "growth": [asdict(growth) | {"exponent": growth.exponent} for growth in growths],
    }


def merged(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Return earlier results with newly measured rows and growths in place of theirs."""
    result = {"machine": now["machine"]}
    for part, names in (("rows", ("what", "beside")), ("growth", ("what", "work"))):
        kept = {tuple(each[name] for name in names): each for each in (*before[part], *now[part])}
        result[part] = list(kept.values())
    return result


def _measurements(device: torch.device, options: argparse.Namespace) -> Iterator[PlannedMeasurement]:
    from benchmarks.rows import (
        around_training,
        lars,
        lightly_loop,
        nt_xent,
        orchestration,
        quickstart,
        training_step,
        two_workers,
        views,
    )

    yield from training_step.measurements(device)
    yield from views.measurements()
    yield from lars.measurements(device)
    yield from nt_xent.measurements(options.threads)
    yield from around_training.measurements()
    yield from lightly_loop.measurements(device)
    if not options.quick:
        yield from two_workers.measurements()
        yield from orchestration.measurements()
        yield from quickstart.measurements()


def _growths(options: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Iterator[CostGrowth]]]]:
    from benchmarks.rows import nt_xent, orchestration, trial_growth

    yield "NT-Xent", lambda: nt_xent.growth(options.threads)
    if not options.quick:
        yield "growth of a trial with its work", trial_growth.growth
        yield "orchestration", orchestration.growth


def rows_of(found: dict[str, Any]) -> tuple[list[BenchmarkRow], list[CostGrowth]]:
    """Return the rows and growths from JSON values."""
    rows = [
        BenchmarkRow(
            **{**{name: value for name, value in fields.items() if name != "met"}, "spread": tuple(fields["spread"])}
        )
        for fields in found["rows"]
    ]
    growths = [
        CostGrowth(**{name: value for name, value in fields.items() if name != "exponent"})
        for fields in found["growth"]
    ]
    return rows, growths


if __name__ == "__main__":
    main()
