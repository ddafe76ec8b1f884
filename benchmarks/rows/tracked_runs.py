"""SweepTracker writing many runs to MLflow at the rate of a large cluster."""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.large_grid import EPOCH_SECONDS, GPUS, grid

RATE = GPUS / EPOCH_SECONDS
"""Epoch reports per second."""
ENDS = 100
"""Number of runs whose end is measured; their figures take longest."""


@dataclass(frozen=True)
class TrackingRates:
    """Rates at which MLflow accepts the runs."""

    runs: int
    reports: int
    metrics_a_report: float
    starts_a_second: float
    """Runs created and described per second."""
    reports_a_second: float
    """Reports submitted per second."""
    behind: float
    """Backlog when the last report was submitted, in seconds of reports."""
    sustained: float
    """Reports written per second until the last one."""
    ends_a_second: float
    """Runs finished per second, including the check that all epochs are written."""
    figures_a_second: float
    """Runs per second whose four figures are drawn and uploaded with the weights, in a separate thread."""


def track(runs: int, uri: str, folder: Path) -> TrackingRates:
    """Write `runs` runs at RATE, then their ends, and return the rates."""
    from sweep.records.sweep_record import describe
    from sweep.records.sweep_storage import SweepStorage
    from sweep.tracking.tracker import SweepTracker

    pattern = _real_trial(folder)
    storage = SweepStorage(folder / f"storage-{runs}")
    record = describe(grid(runs, folder), name=f"scale-{runs}", command="benchmarks/scale.py", commit=None, versions={})
    for entry in record.trials:
        shutil.copytree(pattern, Path(storage.trial_of(entry).storage.root), copy_function=os.link)
    epochs = storage.trial_of(record.trials[0]).epochs()
    tracker = SweepTracker.open(uri, storage=folder)
    tracker.start_sweep(record)

    def drained(waiting: Callable[[], int] = lambda: tracker.missing) -> float:
        start = time.perf_counter()
        while waiting():
            time.sleep(0.02)
        return time.perf_counter() - start

    begin = time.perf_counter()
    for entry in record.trials:
        tracker.start_trial(entry, storage)
    drained()
    starting = time.perf_counter() - begin
    begin = time.perf_counter()
    told = 0
    for epoch in epochs:
        for entry in record.trials:
            told += 1
            time.sleep(max(0.0, begin + told / RATE - time.perf_counter()))
            tracker.submit_epoch(entry.trial_id, epoch)
    offered = time.perf_counter() - begin
    behind = tracker.missing / RATE
    drained()
    whole = time.perf_counter() - begin
    ended = record.trials[:ENDS]
    for entry in ended:
        tracker.finish_trial(entry.trial_id)
    ending = drained(lambda: tracker._writer.missing)
    drawing = ending + drained()
    if missing := tracker.close():
        raise SystemExit(f"{missing} writes are missing")
    metrics = sum(len(epoch.metrics) for epoch in epochs) / len(epochs)
    return TrackingRates(
        runs,
        told,
        metrics,
        runs / starting,
        told / offered,
        behind,
        told / whole,
        len(ended) / ending,
        len(ended) / drawing,
    )


def _real_trial(folder: Path) -> Path:
    """Train one trial of 50 epochs in seconds; its records are the content of all runs."""
    pattern = folder / "trial"
    if not pattern.exists():
        import torch

        from trainables.data.store import ImageStore
        from trainables.storage.filesystem import Storage
        from trainables.storage.trial_files import TrialFiles
        from trainables.training.trial import train

        config = grid(10, folder).trials[0].config
        store = ImageStore.open("digits")
        for _ in train(config, store=store, files=TrialFiles(Storage.at(pattern)), device=torch.device("cpu")):
            pass
        shutil.rmtree(pattern / "checkpoints")
    return pattern
