"""The job scripts with a real Ray, real sweeps and torchrun on a stand-in for Slurm whose nodes are this machine."""

import sys
import time
from pathlib import Path

import pytest
from support.paths import ROOT
from support.slurm_stand_in import Job

from sweep.records.sweep_storage import SweepStorage
from trainables.data.preparing.prepare import prepare
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles

SCRIPTS = ROOT / "deploy" / "slurm"
TINY = {"warmup_epochs": 0, "max_train_images": 64, "max_test_images": 32, "width_factor": 0.125}
TINY |= {"seed": 0, "label_draw": 0}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("slurm")
    prepare("digits", root=folder / "data")
    return {
        "HOME": str(folder),
        "SWEEP_HOME": str(ROOT),
        "SWEEP_VENV": str(Path(sys.executable).parents[1]),
        "SWEEP_DATA": str(folder / "data"),
        "SWEEP_STORAGE": str(folder / "storage"),
        "SWEEP_HEAD_IP": "127.0.0.1",
        "PYTHONPATH": str(ROOT),
    }


def epochs_of(storage: SweepStorage, name: str) -> list[int]:
    """Return how many epochs each trial has in its record."""
    record = storage.sweep(name)
    return [len(storage.trial_of(entry).epochs()) for entry in record.trials] if record is not None else []


@pytest.mark.slow
def test_a_sweep_is_cut_by_the_time_limit_and_goes_on_when_requeued(
    environment: dict[str, str], tmp_path: Path
) -> None:
    storage = SweepStorage(environment["SWEEP_STORAGE"])
    fields = [part for name, value in TINY.items() for part in ("--set", f"{name}={value}")]
    settings = ("epochs=30", "temperature=0.5", "batch_size=16,32")
    options = ("--space", "quickstart", *fields, *(part for field in settings for part in ("--set", field)))
    with Job(
        SCRIPTS / "sweep.sbatch", "timed", *options, folder=tmp_path, environment=environment, nodes=3, cpus=1
    ) as job:
        deadline = time.monotonic() + 240
        while not any(count > 1 for count in epochs_of(storage, "timed")):
            assert job.runs(), job.log()
            assert time.monotonic() < deadline, job.log()
            time.sleep(0.2)
        job.warn()
        assert job.wait(240) == 0, job.log()
        assert job.requeued() == str(job.id)
        assert job.left() == []
        assert "3 nodes: 3 CPUs, 0 GPUs" in job.log()
        assert job.log().count("Ray runtime started") == 3
        record = storage.record("timed")
        finished = [entry for entry in record.trials if storage.trial_of(entry).final() is not None]
        assert len(finished) < len(record.trials)
        job.start()
        assert job.wait(240) == 0, job.log()
        assert job.requeued() is None
        assert job.left() == []
    assert all(storage.trial_of(entry).final() is not None for entry in record.trials)
    attempts = [attempt for entry in record.trials for attempt in storage.trial_of(entry).attempts()]
    assert any(attempt.outcome == "finished" and (attempt.first_epoch or 0) > 1 for attempt in attempts), attempts
    assert not list((Path(environment["HOME"]) / ".sweep-slurm").iterdir())
    assert not list(Path("/tmp").glob(f"ray-{job.id}-*"))


@pytest.mark.slow
def test_two_tasks_of_an_array_train_on_two_nodes_at_once_and_one_goes_on_when_requeued(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "settings.txt").write_text("temperature=0.25\ntemperature=0.5\n")
    fixed = {**TINY, "dataset": "digits", "image_size": 12, "encoder": "resnet10", "epochs": 20, "batch_size": 32}
    fields = [f"{name}={value}" for name, value in fixed.items() if name != "seed"]
    place = {**environment, "SWEEP_STORAGE": str(tmp_path / "trials"), "GLOO_SOCKET_IFNAME": "lo"}
    first, second = (
        Job(
            SCRIPTS / "trials.sbatch",
            "settings.txt",
            *fields,
            f"seed={task}",
            folder=tmp_path,
            environment=place,
            submitted_in=tmp_path,
            nodes=2,
            task=task,
        )
        for task in (1, 2)
    )
    with first, second:
        deadline = time.monotonic() + 240
        while "epoch 2 " not in first.log():
            assert first.runs(), first.log()
            assert time.monotonic() < deadline, first.log()
            time.sleep(0.1)
        first.warn()
        assert first.wait(240) == 0, first.log()
        assert first.requeued() == "77_1"
        assert first.left() == []
        assert "finished after" not in first.log()
        first.start()
        for job in (first, second):
            assert job.wait(240) == 0, job.log()
            assert job.left() == []
            assert "finished after 20 epochs" in job.log()
    assert first.log().count("epoch 1 ") == second.log().count("epoch 1 ") == 1
    trials = [TrialFiles(Storage.at(folder)) for folder in (tmp_path / "trials").iterdir()]
    assert len([trial for trial in trials if trial.final() is not None]) == 2
