"""Quickstart as a new user runs it after installation: seconds, and the accuracy of its best trial."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from benchmarks.harness.measurement import PairedTimings, PlannedMeasurement

SPACE, METRIC = "quickstart", "test/linear_top1"
GOAL_SECONDS = 60.0
UNTRAINED = "untrained"


def measurements() -> Iterator[PlannedMeasurement]:
    """Yield its wall time, and its best trial beside the untrained encoder."""
    yield PlannedMeasurement(
        "quickstart: 2 settings and 2 baselines, of 4 seeds each",
        f"{GOAL_SECONDS:g} s",
        lambda: PairedTimings((measured()[0],), (GOAL_SECONDS,)),
        goal=1.0,
    )
    yield PlannedMeasurement(
        f"quickstart: {METRIC} of the best trial",
        "the untrained encoder",
        lambda: PairedTimings((measured()[1],), (measured()[2],)),
        "",
        at_most=False,
    )


@cache
def measured() -> tuple[float, float, float]:
    """Run it in fresh folders; return seconds, and the accuracies of the best trial and of the untrained encoder."""
    from sweep.records.sweep_storage import SweepStorage
    from sweep.records.trial_result import result_of

    with tempfile.TemporaryDirectory(prefix="quickstart-") as folder:
        environment = os.environ | {"SWEEP_DATA": str(Path(folder, "data"))}
        environment.pop("MLFLOW_TRACKING_URI", None)
        command = [sys.executable, "-m", "sweep.run", "--space", SPACE, "--storage", str(Path(folder, "sweep"))]
        start = time.perf_counter()
        subprocess.run(command, check=True, env=environment, capture_output=True)
        took = time.perf_counter() - start
        storage = SweepStorage(str(Path(folder, "sweep")))
        entries = storage.record(SPACE).trials
        reached = [(entry.baseline, result_of(storage.trial_of(entry)).metrics[METRIC]) for entry in entries]
    best, untrained = (max(value for kind, value in reached if kind == wanted) for wanted in (None, UNTRAINED))
    return took, best, untrained
