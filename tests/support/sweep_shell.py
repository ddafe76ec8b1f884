"""A folder in which the project's programs run, and the small sweep that they run there."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.paths import ROOT
from sweep.records.lease import lease
from sweep.records.sweep_storage import SweepStorage
from trainables.storage.trial_files import TrialFiles

SPACE = """
from sweep.space import Grid, Halving, RankingObjective, Range, Search, SearchSpace, Stage

SPACE = SearchSpace(
    name="small",
    description="trials of a few seconds",
    base={
        "dataset": "digits", "image_size": 16, "positive": ("closed_loop",), "encoder": "resnet10",
        "width_factor": 0.125, "projector_layers": 2, "projector_output_width": 16, "warmup_epochs": 0,
        "max_train_images": 64, "max_test_images": 32, "batch_size": 32, "epochs": 3, "base_learning_rate": 1.0,
    },
    stages=(STAGE,),
    objective=RankingObjective("test/knn_top1"),
    baselines=(),
)
"""
GRID = 'Stage("grid", (Grid(axes={"temperature": (0.1, 0.2, 0.5)}),))'
ALONE = ("--max-concurrent", "1")
"""One trial at once: where the cores are busy, a second process of trials only costs its start, of five seconds."""


class Shell:
    """Runs the project's programs in a folder."""

    def __init__(self, folder: Path, data: Path, mlflow_database: Path) -> None:
        self.folder = folder
        (folder / ".sweep").mkdir()
        shutil.copy(mlflow_database, folder / ".sweep")
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), "SWEEP_DATA": str(data)}
        self.environment.pop("MLFLOW_TRACKING_URI", None)

    def space(self, stage: str) -> str:
        (self.folder / "space.py").write_text(SPACE.replace("STAGE", stage))
        return "space.py"

    def __call__(self, program: str, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", f"sweep.{program}", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    @contextmanager
    def background(
        self, program: str, *arguments: str, before: str = "", **options: Any
    ) -> Iterator[subprocess.Popen[str]]:
        """Run a program meanwhile; `before` is code that its process runs first."""
        script = f"import runpy, sys; {before}; runpy.run_module('sweep.{program}', run_name='__main__')"
        command = ["-c", script] if before else ["-m", f"sweep.{program}"]
        process = subprocess.Popen(
            [sys.executable, *command, *arguments],
            cwd=self.folder,
            env=self.environment,
            text=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **options},
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    @property
    def storage(self) -> SweepStorage:
        return SweepStorage(self.folder / ".sweep")

    def states(self) -> dict[str, str]:
        """Return MLflow's words for how its runs stand, by their names."""
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{self.folder}/.sweep/mlflow.db")
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        return {run.info.run_name: run.info.status for run in client.search_runs(experiments)}

    def trials(self, name: str) -> dict[str, TrialFiles]:
        record = self.storage.sweep(name)
        assert record is not None
        return {entry.name: self.storage.trial_of(entry) for entry in record.trials}


def until(process: subprocess.Popen[str], sign: str) -> str:
    """Read what a program prints, up to a line with the sign in it."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if sign in line:
            return seen
    raise AssertionError(f"{sign!r} was not printed:\n{seen}")


def until_the_lease_tells_an_epoch(storage: SweepStorage, name: str) -> None:
    deadline = time.monotonic() + 60
    while not any(trial.epoch for held in [lease(storage, name)] if held and held.state for trial in held.state.trials):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def rest(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    text = process.stdout.read()
    process.wait(timeout=120)
    return text
