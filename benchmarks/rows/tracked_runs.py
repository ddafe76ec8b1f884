"""SweepTracker writing many runs to MLflow at the rate of a large cluster."""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.large_grid import EPOCH_SECONDS, GPUS, grid

RATE = GPUS / EPOCH_SECONDS
"""Epoch reports a second."""
ENDS = 100
"""Runs of which the end is measured; figures take longest."""


@dataclass(frozen=True)
class TrackingRates:
    """What MLflow took of so many runs."""

    runs: int
    reports: int
    metrics_a_report: float
    starts_a_second: float
    """Runs made and described."""
    reports_a_second: float
    """Offered."""
    behind: float
    """Seconds of reports that waited when the last was offered."""
    sustained: float
    """Reports written a second, to the last one."""
    ends_a_second: float
    """Runs finished, with a look at whether all their epochs stand."""
    figures_a_second: float
    """Runs whose four figures were drawn and uploaded with the weights, in the thread of their own."""


def track(runs: int, uri: str, folder: Path) -> TrackingRates:
    """Show `runs` runs, told at RATE, and then their ends."""
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
    """Train a trial of 50 epochs in seconds, once; its records are what runs are told."""
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
