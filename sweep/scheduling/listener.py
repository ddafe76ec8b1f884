"""Protocol of a listener to attempts and epochs."""

from typing import TYPE_CHECKING, Literal, Protocol

from sweep.scheduling.failure import Failure
from sweep.scheduling.task import TrialTask

if TYPE_CHECKING:
    from trainables.storage.trial_records import EpochRecord


Permission = Literal["go", "wait", "done"]
GO: Permission = "go"
WAIT: Permission = "wait"
DONE: Permission = "done"


class Listener(Protocol):
    """Hears of trials as they go, in the main process; a call that raises doesn't stop the sweep."""

    def may_start(self, task: TrialTask) -> Permission:
        """Return GO, WAIT while somebody else trains it, or DONE when it was finished; asked before each attempt."""

    def started(self, task: TrialTask) -> None:
        """Hear that an attempt at the trial starts: again after one that died."""

    def placed(self, task: TrialTask, hosts: list[str]) -> None:
        """Hear on which machines its workers are, one a worker."""

    def noted(self, task: TrialTask, note: str) -> None:
        """Hear what a person should know of how the attempt began."""

    def epoch(self, task: TrialTask, record: "EpochRecord", durable: bool) -> None:
        """Hear of a newly trained epoch; not durable: its record is still to be written."""

    def finished(self, task: TrialTask) -> None:
        """Hear that the trial's final record is there."""

    def retried(self, task: TrialTask, failure: Failure, pause: float) -> None:
        """Hear that an attempt failed and another follows in `pause` seconds."""

    def held(self, task: TrialTask, failure: Failure) -> None:
        """Hear that an attempt failed, the last one unless a machine of it turns out to be lost."""

    def reviewed(self, task: TrialTask, before: Failure, after: Failure) -> None:
        """Hear that a machine explains a failure that `retried` or `held` told of: it counts no more."""

    def stopped(self, task: TrialTask, why: str, for_good: bool) -> None:
        """Hear that the trial was stopped after an epoch; not for good: with the whole sweep."""

    def failed(self, task: TrialTask, failure: Failure) -> None:
        """Hear that the trial failed for good."""
