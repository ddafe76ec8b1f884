"""Tasks over one tiny store, run on Ray by the tests of trials, and a diary of what happens."""

from pathlib import Path
from typing import Any

from sweep.planning.resources import TrialShape
from sweep.scheduling.dispatcher import Dispatcher, TrialLimits
from sweep.scheduling.failure import AttemptFailure
from sweep.scheduling.listener import GO, Permission
from sweep.scheduling.task import TrialTask
from trainables.data.store import ImageStore
from trainables.storage.trial_records import EpochRecord

ONE, TWO = TrialShape(workers=1, threads=1, use_gpu=False), TrialShape(workers=2, threads=1, use_gpu=False)


class Diary:
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.records: dict[str, list[EpochRecord]] = {}
        self.failures: dict[str, AttemptFailure] = {}
        self.retries: dict[str, AttemptFailure] = {}

    def may_start(self, task: TrialTask) -> Permission:
        return GO

    def started(self, task: TrialTask) -> None:
        self.events.append(("started", task.name))

    def placed(self, task: TrialTask, hosts: list[str]) -> None:
        assert len(hosts) == task.shape.workers

    def noted(self, task: TrialTask, note: str) -> None:
        self.events.append(("noted", task.name, note))

    def epoch(self, task: TrialTask, record: EpochRecord, durable: bool) -> None:
        self.events.append(("epoch", task.name, record.epoch))
        self.records.setdefault(task.name, []).append(record)

    def finished(self, task: TrialTask) -> None:
        self.events.append(("finished", task.name))

    def retried(self, task: TrialTask, failure: AttemptFailure, pause: float) -> None:
        self.events.append(("retried", task.name, failure.kind))
        self.retries[task.name] = failure

    def held(self, task: TrialTask, failure: AttemptFailure) -> None:
        self.events.append(("held", task.name, failure.kind))

    def reviewed(self, task: TrialTask, before: AttemptFailure, after: AttemptFailure) -> None:
        self.events.append(("reviewed", task.name, before.kind, after.kind))

    def stopped(self, task: TrialTask, why: str, for_good: bool) -> None:
        self.events.append(("stopped", task.name, why))

    def failed(self, task: TrialTask, failure: AttemptFailure) -> None:
        self.events.append(("failed", task.name))
        self.failures[task.name] = failure

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """Return what was heard of one trial."""
        return [event for event in self.events if event[1] == name]

    def processes(self, name: str, rank: int = 0) -> list[float]:
        """Return the process id that trained each epoch of a trial."""
        return [record.metrics[f"pid/{rank}"] for record in self.records[name]]


class Sweep:
    """Makes tasks over one tiny store, and runs them."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.folder, self.store = folder, store

    def task(self, name: str, fake: str = "counts", epochs: int = 2, **changes: Any) -> TrialTask:
        fields: dict[str, Any] = {
            "shape": ONE,
            "trial_id": f"id-{name}",
            "name": name,
            "config": {"epochs": epochs, "dataset": "digits"},
            "store_address": str(self.store),
            "fingerprint": ImageStore(self.store).fingerprint,
            "files_address": str(self.folder / "trials" / name),
            "entry": f"support.fake_trainables:{fake}",
        }
        return TrialTask(**{**fields, **changes})

    def run(self, *tasks: TrialTask, listener: Any = None, **rules: Any) -> Diary:
        from sweep.cluster.tune_bridge import run_trials

        diary = Diary() if listener is None else listener
        self.dispatcher = Dispatcher(
            tasks, diary, rules=TrialLimits(**{"max_concurrent": 1, "max_failures": 1, **rules})
        )
        run_trials(self.dispatcher, log_dir=self.folder / "logs")
        return diary
