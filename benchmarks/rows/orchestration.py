"""Overhead of orchestration: the same trials through Ray, as a shell loop, and naively nested."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.harness.measurement import CostGrowth, PairedTimings, PlannedMeasurement
from sweep.planning.resources import TrialShape
from sweep.scheduling.failure import AttemptFailure
from sweep.scheduling.listener import GO, Permission
from sweep.scheduling.task import TrialTask

SWEEP, SHELL, NESTED = "sweep", "shell loop", "naively nested"
FIELDS: dict[str, Any] = {
    "dataset": "digits",
    "image_size": 16,
    "encoder": "resnet10",
    "width_factor": 0.25,
    "projector_layers": 2,
    "batch_size": 128,
    "warmup_epochs": 1.0,
    "blur_probability": 0.0,
}
TRIALS, EPOCHS, WORKERS = 4, 2, (1, 2)


@dataclass(frozen=True)
class RunTimes:
    """Times in seconds of the same trials, run in one way."""

    way: str
    workers: int
    ends: tuple[float, ...]
    """End of each trial, since the start of the first."""
    wall: float
    """Wall time, including the work after the last trial."""
    training: float
    first: float
    """Overhead of the first trial."""
    next: float
    """Median overhead of a later trial."""


class FailureListener:
    """Listener that raises for a failed trial, which has no cost to compare, and ignores other events."""

    def may_start(self, task: TrialTask) -> Permission:
        """Let every trial start."""
        return GO

    def failed(self, task: TrialTask, failure: AttemptFailure) -> None:
        """Raise for a failed trial."""
        raise RuntimeError(f"{task.name}: {failure.message}")

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def tasks(workers: int, count: int, epochs: int, folder: Path) -> list[TrialTask]:
    """Return tasks of trials that differ by seed."""
    from trainables.config import TrialConfig
    from trainables.data.store_addresses import store_folder
    from trainables.data.store_info import prepared

    fingerprint = prepared("digits").fingerprint
    made = []
    for seed in range(count):
        config = TrialConfig.parse(FIELDS | {"epochs": epochs, "seed": seed})
        trial_id = config.trial_id(fingerprint)
        made.append(
            TrialTask(
                trial_id=trial_id,
                name=f"seed-{seed}",
                config=config.model_dump(mode="json"),
                store_address=str(store_folder("digits").absolute()),
                fingerprint=fingerprint,
                files_address=str(folder / trial_id),
                shape=TrialShape(workers=workers, threads=1, use_gpu=False),
            )
        )
    return made


def through_ray(todo: Sequence[TrialTask], folder: Path) -> None:
    """Run the trials as a sweep does, in a Ray cluster of its own."""
    from sweep.cluster.connection import connect
    from sweep.console.redirect import quiet
    from sweep.scheduling.dispatcher import Dispatcher, TrialLimits

    with quiet(folder / "ray.log"), connect(None):
        from sweep.cluster.tune_bridge import run_trials

        dispatcher = Dispatcher(todo, FailureListener(), rules=TrialLimits(max_concurrent=1))  # type: ignore[arg-type]
        run_trials(dispatcher, log_dir=folder / "logs")


def nested(todo: Sequence[TrialTask], folder: Path) -> None:
    """Run one Tune trial per task, each of which starts its own group of workers."""
    from sweep.cluster.connection import connect
    from sweep.console.redirect import quiet

    with quiet(folder / "ray.log"), connect(None):
        from ray import tune

        results = tune.Tuner(
            tune.with_resources(_fit, {"CPU": 0, "node:__internal_head__": 0.001}),
            param_space={"task": tune.grid_search([task.to_json() for task in todo]), "folder": str(folder)},
            tune_config=tune.TuneConfig(max_concurrent_trials=1),
            run_config=tune.RunConfig(name="trials", storage_path=str(folder), verbose=0),
        ).fit()
    if results.errors:
        raise RuntimeError(str(results.errors[0]))


def _fit(config: dict[str, Any]) -> None:
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    shape = TrialTask.from_json(config["task"]).shape
    TorchTrainer(
        _train,
        train_loop_config=config,
        scaling_config=ScalingConfig(num_workers=shape.workers, resources_per_worker=shape.worker_resources()),
        run_config=RunConfig(storage_path=config["folder"]),
    ).fit()


def _train(config: dict[str, Any]) -> None:
    import torch

    from sweep.cluster.attempt import open_records

    task = TrialTask.from_json(config["task"])
    torch.set_num_threads(task.shape.threads)
    for _ in open_records(task, torch.device("cpu")):
        pass


def shell_loop(todo: Sequence[TrialTask], folder: Path) -> None:
    """Run the trials one after the other, each as a process or under torchrun."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for task in todo:
        workers = task.shape.workers
        launcher = ["-m"] if workers == 1 else ["-m", "torch.distributed.run", f"--nproc-per-node={workers}", "-m"]
        fields = FIELDS | {name: task.config[name] for name in ("epochs", "seed")}
        settings = [part for name, value in fields.items() for part in ("--set", f"{name}={value}")]
        command = [sys.executable, *launcher, "trainables.simclr", "--output", str(folder), "--threads", "1", *settings]
        subprocess.run(command, check=True, env=environment, capture_output=True)


WAYS = {SWEEP: through_ray, SHELL: shell_loop, NESTED: nested}


def cost(way: str, workers: int, count: int, epochs: int, folder: Path) -> RunTimes:
    """Run the trials in one way and return their times, from their records."""
    from trainables.storage.filesystem import Storage
    from trainables.storage.trial_files import TrialFiles

    folder.mkdir(parents=True)
    todo = tasks(workers, count, epochs, folder)
    begin = time.time()
    WAYS[way](todo, folder)
    wall = time.time() - begin
    found = []
    for task in todo:
        files = TrialFiles(Storage.at(task.files_address))
        final = files.final()
        assert final is not None, f"{task.name} isn't finished"
        found.append((final.time_ms / 1000 - begin, sum(record.seconds for record in files.epochs())))
    found.sort()
    ends, trainings = zip(*found, strict=True)
    walls = [end - start for start, end in zip((0.0, *ends), ends, strict=False)]
    costs = [each - training for each, training in zip(walls, trainings, strict=True)]
    return RunTimes(way, workers, ends, wall, sum(trainings), costs[0], statistics.median(costs[1:]))


@cache
def measured(count: int = TRIALS, epochs: int = EPOCHS, workers: tuple[int, ...] = WORKERS) -> tuple[RunTimes, ...]:
    """Measure every way with every number of workers, on digits prepared for it."""
    from trainables.data.preparing.prepare import prepare

    before = os.environ.get("SWEEP_DATA")
    with tempfile.TemporaryDirectory(prefix="orchestration-") as name:
        os.environ["SWEEP_DATA"] = str(Path(name) / "data")
        try:
            prepare("digits")
            return tuple(
                cost(way, number, count, epochs, Path(name) / f"{way.split()[0]}-{number}")
                for number in workers
                for way in WAYS
            )
        finally:
            os.environ.pop("SWEEP_DATA")
            if before is not None:
                os.environ["SWEEP_DATA"] = before


def measurements() -> Iterator[PlannedMeasurement]:
    """Yield the rows of orchestration; all come from one run."""
    for workers in WORKERS:
        spelled = f"{workers} worker{'s' if workers > 1 else ''}"
        yield PlannedMeasurement(
            f"orchestration of a later trial, {spelled}",
            "1 s",
            lambda workers=workers: PairedTimings((_of(SWEEP, workers).next,), (1.0,)),
            goal=1.0,
        )
        for way, goal in ((SHELL, 1.0), (NESTED, 0.6)):
            yield PlannedMeasurement(
                f"a sweep of {TRIALS} trials, {spelled}",
                {SHELL: "a shell loop of them", NESTED: "a TorchTrainer.fit() in each trial of Tune"}[way],
                lambda workers=workers, way=way: PairedTimings((_of(SWEEP, workers).wall,), (_of(way, workers).wall,)),
                goal=goal,
            )


def growth() -> Iterator[CostGrowth]:
    """Yield the growth of a sweep's wall time with its trials; the first trial includes all startup."""
    points = [(float(number), end) for number, end in enumerate(_of(SWEEP, 1).ends, start=1)]
    yield CostGrowth("a sweep through Ray, one worker", "trials", "seconds", points, 1.0)


def _of(way: str, workers: int) -> RunTimes:
    return next(each for each in measured() if (each.way, each.workers) == (way, workers))
