"""What a trial costs beside its training: through Ray, and as a shell loop over the same trials.

    python -m sweep.data prepare digits
    python benchmarks/orchestration.py                     # about five minutes on 2 cores
    python benchmarks/orchestration.py --trials 8 --workers 1

Orchestration is wall time minus the seconds that the epochs' own records hold (training and evaluation). Trials run one
after the other in every row, one thread a worker. "First" holds the start of Ray, of the actor and of its group of
workers; "next" is the median of the others. Prints a table and, as the last line, JSON.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweep.cluster import connect, quiet
from sweep.tasks import TrialShape, TrialTask
from trainables.data.catalog import prepared, store_folder

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


@dataclass(frozen=True)
class Cost:
    """Seconds of the same trials in one way of running them."""

    way: str
    workers: int
    wall: float
    training: float
    first: float
    """Orchestration of the first trial."""
    next: float
    """Orchestration of a later one, median."""

    @classmethod
    def of(cls, way: str, workers: int, walls: list[float], trainings: list[float], rest: float = 0.0) -> "Cost":
        """Return the cost of trials with these wall and training seconds; `rest` is wall time after the last one."""
        costs = [wall - training for wall, training in zip(walls, trainings, strict=True)]
        return cls(way, workers, sum(walls) + rest, sum(trainings), costs[0], statistics.median(costs[1:]))


class Clock:
    """Listens to a sweep: when each trial ended, and what it trained."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.trainings: dict[str, float] = {}

    def started(self, task: TrialTask) -> None:
        """Not needed: the end of one trial is the start of the next."""

    def epoch(self, task: TrialTask, record: Any) -> None:
        """Add the epoch's own time."""
        self.trainings[task.trial_id] = self.trainings.get(task.trial_id, 0.0) + record.seconds

    def finished(self, task: TrialTask) -> None:
        """Note the end."""
        self.ends.append(time.perf_counter())

    def failed(self, task: TrialTask, failure: Any) -> None:
        """Give up: a failed trial has no cost to compare."""
        raise RuntimeError(f"{task.name}: {failure.message}")


def tasks(count: int, epochs: int, folder: Path) -> list[TrialTask]:
    """Return trials that differ in their seed."""
    fingerprint = prepared("digits").fingerprint
    from trainables.config import SimCLRConfig

    made = []
    for seed in range(count):
        config = SimCLRConfig.parse(FIELDS | {"epochs": epochs, "seed": seed})
        trial_id = config.trial_id(fingerprint)
        made.append(
            TrialTask(
                trial_id=trial_id,
                name=f"seed-{seed}",
                config=config.model_dump(mode="json"),
                store_address=str(store_folder("digits").absolute()),
                fingerprint=prepared("digits").fingerprint,
                files_address=str(folder / trial_id),
            )
        )
    return made


def through_ray(workers: int, count: int, epochs: int, folder: Path) -> Cost:
    """Run the trials as a sweep does, in a Ray of its own."""
    shape, clock = TrialShape(workers=workers, threads=1, use_gpu=False), Clock()
    todo = tasks(count, epochs, folder / "trials")
    begin = time.perf_counter()
    with quiet(folder / "ray.log"), connect(None):
        from sweep.tuner import run_trials

        run_trials(todo, shape=shape, max_concurrent=1, log_dir=folder / "logs", listener=clock)
    rest = time.perf_counter() - clock.ends[-1]
    walls = [end - start for start, end in zip([begin, *clock.ends], clock.ends, strict=False)]
    return Cost.of("sweep", workers, walls, [clock.trainings[task.trial_id] for task in todo], rest)


def shell_loop(workers: int, count: int, epochs: int, folder: Path) -> Cost:
    """Run the trials one process (or torchrun) after the other."""
    launcher = ["-m"] if workers == 1 else ["-m", "torch.distributed.run", f"--nproc-per-node={workers}", "-m"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    walls, trainings = [], []
    for task in tasks(count, epochs, folder):
        fields = FIELDS | {"epochs": epochs, "seed": task.config["seed"]}
        settings = [part for name, value in fields.items() for part in ("--set", f"{name}={value}")]
        command = [sys.executable, *launcher, "trainables.simclr", "--output", str(folder), "--threads", "1", *settings]
        begin = time.perf_counter()
        subprocess.run(command, check=True, env=environment, capture_output=True)
        walls.append(time.perf_counter() - begin)
        epochs_of = sorted((folder / task.trial_id / "epochs").iterdir())
        trainings.append(sum(json.loads(path.read_text())["seconds"] for path in epochs_of))
    return Cost.of("shell loop", workers, walls, trainings)


def show(costs: list[Cost], count: int) -> None:
    """Print the table, then JSON on one line."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{count} trials one after the other on {os.cpu_count()} cores, seconds")
    for heading in ("workers", "way", "wall", "training", "orchestration a trial", "first", "next"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for cost in costs:
        numbers = (cost.wall, cost.training, (cost.wall - cost.training) / count, cost.first, cost.next)
        table.add_row(str(cost.workers), cost.way, *(f"{number:.2f}" for number in numbers))
    Console().print(table)
    print(json.dumps([asdict(cost) for cost in costs]))


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5, help="at least 2")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        costs = [
            measure(workers, options.trials, options.epochs, Path(name) / f"{measure.__name__}-{workers}")
            for workers in options.workers
            for measure in (through_ray, shell_loop)
        ]
    show(costs, options.trials)


if __name__ == "__main__":
    main()
