"""A dispatcher without Ray, with a clock and a listener of a test's own."""

from typing import Any

from sweep.planning.resources import TrialShape
from sweep.scheduling.dispatcher import Dispatcher, TrialAttempt
from sweep.scheduling.failure import AttemptFailure
from sweep.scheduling.listener import DONE, GO, WAIT, Permission
from sweep.scheduling.task import TrialTask
from trainables.storage.trial_records import EpochRecord

CRASH = AttemptFailure(AttemptFailure.CRASH, "it fell over")


def task(name: str, epochs: int = 9) -> TrialTask:
    shape = TrialShape(workers=1, threads=1, use_gpu=False)
    return TrialTask(name, name, {"epochs": epochs}, "", "", "", shape, hang_seconds=10.0)


def record(epoch: int, value: float = 0.0, seconds: float = 1.0) -> EpochRecord:
    return EpochRecord(epoch=epoch, time_ms=epoch, seconds=seconds, metrics={"val/top1": value})


class Heard:
    """A Listener that writes down what it hears, and refuses who is busy."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.busy: set[str] = set()
        self.done: set[str] = set()

    def may_start(self, task: TrialTask) -> Permission:
        return WAIT if task.trial_id in self.busy else DONE if task.trial_id in self.done else GO

    def __getattr__(self, name: str) -> Any:
        return lambda task, *news: self.events.append((name, task.name, *news))


class Bench:
    """A dispatcher, its listener and its clock."""

    def __init__(self, *names: str, epochs: int = 9, **options: Any) -> None:
        self.now, self.heard = 0.0, Heard()
        tasks = [task(name, epochs) for name in names]
        self.dispatcher = Dispatcher(tasks, self.heard, clock=lambda: self.now, **options)  # type: ignore[arg-type]

    def start(self) -> TrialAttempt:
        attempt = self.dispatcher.next()
        assert isinstance(attempt, TrialAttempt)
        self.dispatcher.started(attempt)
        self.dispatcher.placed(attempt, ["here"])
        return attempt
