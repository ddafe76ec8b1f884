"""Simulated sweep of ten thousand trials on a thousand GPUs: planning, dispatching, and MLflow on PostgreSQL.

    python -m benchmarks.scale                               # about ten minutes on 2 cores; --only plan, for one part
    python -m benchmarks.scale --store postgresql+psycopg2://...   # else PostgreSQL is started here, if it is installed

- plan: `make_plan` and `--dry-run` over spaces of 100 to 10,000 trials, each in its own process.
- dispatch: the Dispatcher of real sweeps with simulated GPUs and a simulated clock. Every call costs the simulated time
  that it really took, in sequence, as in a sweep's main thread; GPUs whose trial has ended wait meanwhile. Ray and Tune
  take no part.
- track: the SweepTracker of real sweeps writes to an MLflow server on PostgreSQL. Each run's records are copies of one
  real trial of 50 epochs. Epochs are reported at the rate of 1,000 GPUs with epochs of 5 s.

Prints tables and, as the last line, JSON; `--plot FILE` draws the growth of each cost with the number of trials.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness.large_grid import EPOCHS, GPUS, space_file
from benchmarks.harness.servers import mlflow_server, postgresql
from benchmarks.rows.simulated_gpus import GpuSimulation
from benchmarks.rows.tracked_runs import RATE, track

SIZES = (100, 1000, 3000, 10_000)
PLAN = """
import sys, time
from pathlib import Path
from sweep.planning.dataset_sizes import size_of
from sweep.planning.plan import make_plan
from sweep.space import load_space
space = load_space(sys.argv[1])
start = time.perf_counter()
plan = make_plan(space, assignments={}, size_of=size_of)
took = time.perf_counter() - start
peak = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(len(plan.trials), took, int(peak) / 1024)
"""


@dataclass(frozen=True)
class PlanCost:
    """Cost of a plan."""

    trials: int
    seconds: float
    mebibytes: float
    """Peak memory of the process."""
    dry_run_seconds: float
    """Time of the command, including the start of Python."""


def plan(trials: int, folder: Path) -> PlanCost:
    """Plan a grid of 10 settings, with `trials` / 10 seeds each."""
    space = space_file(trials, folder)
    told = subprocess.run([sys.executable, "-c", PLAN, str(space)], capture_output=True, text=True, check=True).stdout
    count, seconds, mebibytes = told.split()
    start = time.perf_counter()
    command = [sys.executable, "-m", "sweep.run", "--space", str(space), "--dry-run"]
    subprocess.run(command, capture_output=True, check=True)
    return PlanCost(int(count), float(seconds), float(mebibytes), time.perf_counter() - start)


def main() -> None:
    """Run the parts and print their measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("plan", "dispatch", "track"), default="")
    parser.add_argument("--runs", type=int, nargs="*", default=[100, 200, 500], help="of the part track")
    parser.add_argument("--store", default="", help="a PostgreSQL database for MLflow; default: one is started")
    parser.add_argument("--plot", type=Path, help="PNG of the growth with the number of trials")
    options = parser.parse_args()
    rows: dict[str, list[Any]] = {}
    with tempfile.TemporaryDirectory(prefix="scale-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        os.environ["SWEEP_DATA"] = str(folder / "data")
        from trainables.data.preparing.prepare import prepare

        prepare("digits")
        if options.only in ("", "plan"):
            rows["plan"] = _shown("plan", (plan(size, folder) for size in SIZES))
        if options.only in ("", "dispatch"):
            rows["dispatch"] = _shown("dispatch", (GpuSimulation(size, GPUS).run() for size in SIZES))
        if options.only in ("", "track"):
            store = options.store or stack.enter_context(postgresql(folder))
            uri = stack.enter_context(mlflow_server(store, folder))
            rows["track"] = _shown("track", (track(runs, uri, folder) for runs in options.runs))
    if options.plot:
        _plot(rows, options.plot)
    print(json.dumps({part: [asdict(row) for row in measured] for part, measured in rows.items()}))


def _shown(part: str, measured: Iterable[Any]) -> list[Any]:
    """Print a part's table row by row as it is measured; return the rows."""
    rows: list[Any] = []
    for row in measured:
        values = asdict(row)
        if not rows:
            print(f"\n{part}\n\n| " + " | ".join(name.replace("_", " ") for name in values) + " |")
            print("|" + "---|" * len(values))
        print("| " + " | ".join(f"{value:,.4g}" for value in values.values()) + " |", flush=True)
        rows.append(row)
    print()
    return rows


def _plot(rows: dict[str, list[Any]], path: Path) -> None:
    """Draw the time that the main thread and MLflow spend on a sweep, over its trials, on logarithmic axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    lines: dict[str, list[tuple[float, float]]] = {
        "planning": [(row.trials, row.seconds) for row in rows.get("plan", [])],
        "dispatching": [
            (row.trials, row.microseconds_an_event * 1e-6 * row.trials * (EPOCHS + 2))
            for row in rows.get("dispatch", [])
        ],
        "MLflow: runs made": [(row.runs, row.runs / row.starts_a_second) for row in rows.get("track", [])],
        f"MLflow: {EPOCHS} epochs per run, submitted at {RATE:g} per second": [
            (row.runs, row.reports / row.sustained) for row in rows.get("track", [])
        ],
        "MLflow: runs ended": [(row.runs, row.runs / row.ends_a_second) for row in rows.get("track", [])],
    }
    for name, points in lines.items():
        if points:
            axes.loglog(*zip(*points, strict=True), marker="o", label=name)
    axes.set_title("What a sweep costs beside its training", loc="left")
    axes.set_xlabel("trials")
    axes.set_ylabel("seconds")
    axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
