"""Protocol of a listener to attempts and epochs."""

from typing import TYPE_CHECKING, Literal, Protocol

from sweep.scheduling.failure import AttemptFailure
from sweep.scheduling.task import TrialTask

if TYPE_CHECKING:
    from trainables.storage.trial_records import EpochRecord


Permission = Literal["go", "wait", "done"]
GO: Permission = "go"
WAIT: Permission = "wait"
DONE: Permission = "done"


class DispatchListener(Protocol):
    """Listener to the dispatcher's events, in the main process; an exception doesn't stop the sweep."""

    def may_start(self, task: TrialTask) -> Permission:
        """Return GO, WAIT if another sweep trains the trial, or DONE if it is finished; called before each attempt."""

    def started(self, task: TrialTask) -> None:
        """An attempt at the trial starts, the first or a retry."""

    def placed(self, task: TrialTask, hosts: list[str]) -> None:
        """The attempt's workers have started on these hosts, one entry per worker."""

    def noted(self, task: TrialTask, note: str) -> None:
        """The attempt has a note for the user about its start."""

    def epoch(self, task: TrialTask, record: "EpochRecord", durable: bool) -> None:
        """An epoch was trained; unless it is `durable`, its record isn't written yet."""

    def finished(self, task: TrialTask) -> None:
        """The trial's final record is written."""

    def retried(self, task: TrialTask, failure: AttemptFailure, pause: float) -> None:
        """An attempt failed, and another one follows in `pause` seconds."""

    def held(self, task: TrialTask, failure: AttemptFailure) -> None:
        """The last allowed attempt failed; it is retried only if one of its machines turns out to be lost."""

    def reviewed(self, task: TrialTask, before: AttemptFailure, after: AttemptFailure) -> None:
        """A failure reported by `retried` or `held` was caused by a lost machine and no longer counts."""

    def stopped(self, task: TrialTask, why: str, for_good: bool) -> None:
        """The trial was stopped after an epoch; unless `for_good`, the whole sweep was stopped with it."""

    def failed(self, task: TrialTask, failure: AttemptFailure) -> None:
        """The trial failed for good."""
