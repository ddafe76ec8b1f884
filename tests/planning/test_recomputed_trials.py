"""Trials that fit only if activations are computed again: the plan says so, and the task tells the trial."""

import os
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.paths import ROOT
from support.small_trials import CPU, changed

from sweep.cluster.attempt import open_records
from sweep.planning.memory_budget import MemoryBudget, advice
from sweep.planning.plan import make_plan
from sweep.planning.plan_table import print_plan
from sweep.planning.resources import TrialShape
from sweep.planning.trial import DataSize
from sweep.records.sweep_storage import SweepStorage
from sweep.scheduling.task import TrialTask
from sweep.space import Grid, RankingObjective, SearchSpace, Stage
from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.memory.peak import fits, peak_bytes, process_bytes
from trainables.memory.simulated_worker import ImageShape
from trainables.storage.trial_records import EpochRecord

GIB = 2**30


def planned(**axes: tuple[Any, ...]) -> Any:
    size = DataSize(train=5000, test=300, classes=10, fingerprint="", origin="prepared")
    base = {"dataset": "a", "encoder": "resnet50", "image_size": 64, "validation_fraction": 0.0}
    stages = (Stage("grid", (Grid(base=base, axes=axes),)),)
    space = SearchSpace("s", "", stages, RankingObjective("test/top1"), seeds=(0, 1), baselines=())
    return make_plan(space, assignments={}, size_of=lambda _: size)


def test_the_memory_decides_and_the_plan_says_so() -> None:
    plan = planned(batch_size=(64, 2048, 4096))
    memory = MemoryBudget("cuda", available=12 * GIB)
    again = [trial.config.batch_size for trial in plan.trials if memory.recomputes(trial, 1)]
    assert again == [2048, 2048]
    large = next(trial for trial in plan.trials if trial.config.batch_size == 2048)
    less = peak_bytes(large.config, large.images, device="cuda", recompute=True)
    plain = peak_bytes(large.config, large.images, device="cuda")
    assert memory.needed(large, 1) == less
    assert memory.holds(large, 1)
    (line,) = memory.recomputed(plan)
    assert line == (
        f"{large.name} and 1 more: activations computed again in the backward pass: {less / GIB:.1f} GiB instead of "
        f"{plain / GIB:.1f} GiB per worker, about 1.3 times as long per step, same results"
    )
    table = StringIO()
    print_plan(plan, memory, Console(file=table, width=250))
    assert line in table.getvalue()
    assert len(memory.not_fitting(plan)) == 1
    assert "with activations computed again" in memory.not_fitting(plan)[0]
    for other in (
        MemoryBudget("cuda"),
        MemoryBudget("cuda", available=80 * GIB),
        MemoryBudget("cuda", available=12 * GIB, given=GIB),
    ):
        assert other.recomputed(plan) == []


def test_a_trial_keeps_its_id_and_a_failure_names_what_is_left() -> None:
    (trial, _) = planned(batch_size=(2048,)).trials
    said = advice(trial.config, 1, images=trial.images, device="cuda")
    less = peak_bytes(trial.config, trial.images, device="cuda", recompute=True)
    option = said.partition("what would fit: --gpu-memory ")[2].partition(":")[0]
    memory = MemoryBudget("cuda", available=int(float(option) * GIB))
    assert memory.recomputes(trial, 1)
    assert f"{less / GIB:.1f} GiB with activations computed again; --workers 2: " in said
    after = advice(trial.config, 1, images=trial.images, device="cuda", recomputed=True)
    assert after.startswith(f"estimated {less / GIB:.1f} GiB per worker with activations computed again (")
    assert "--gpu-memory" not in after
    assert fits(less, less + process_bytes("cuda"), device="cuda")


def test_a_task_tells_the_trial(store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []

    def noted(config: TrialConfig, **options: Any) -> Iterator[EpochRecord]:
        told.append(options.get("recompute"))
        return iter(())

    monkeypatch.setattr("trainables.simclr.train", noted)
    shape, fields = TrialShape(1, 1, use_gpu=False), changed().model_dump(mode="json")
    for recompute in (False, True):
        task = TrialTask(
            "t", "t", fields, str(store.path), store.fingerprint, str(tmp_path), shape, recompute=recompute
        )
        assert list(open_records(TrialTask.from_json(task.to_json()), CPU)) == []
    assert told == [None, True]


SWEEP = """
import sys
from sweep.planning import memory_budget
memory = int(sys.argv.pop())
memory_budget.machine_bytes = lambda: memory
from sweep.console.app import run_command
from sweep.run import main
run_command(main)
"""


@pytest.mark.slow
def test_a_sweep_trains_what_fits_only_so(store: ImageStore, tmp_path: Path) -> None:
    settings = {"epochs": 1, "warmup_epochs": 0, "max_train_images": 256, "max_test_images": 64, "batch_size": 256}
    settings |= {"image_size": 16, "width_factor": 0.5, "temperature": 0.5, "seed": 0, "label_draw": 0}
    space = ["--space", "quickstart", *(word for pair in settings.items() for word in ("--set", "{}={}".format(*pair)))]
    config = changed(**settings, validation_fraction=0.2)
    images = ImageShape(10, train=256, held_out=300)
    plain, less = (peak_bytes(config, images, recompute=recompute) for recompute in (False, True))
    memory = (plain + less) // 2 + process_bytes("cpu")
    done = subprocess.run(
        [sys.executable, "-c", SWEEP, *space, "--name", "tight", "--max-concurrent", "1", str(memory)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SWEEP_DATA": str(store.path.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "activations computed again in the backward pass" in done.stdout
    storage = SweepStorage(next(tmp_path.glob("*/sweeps")).parent)
    entries = storage.record("tight").trials
    finals = {entry.name: storage.trial_of(entry).final() for entry in entries if entry.baseline is None}
    assert [final.recomputed for final in finals.values() if final] == [True]
