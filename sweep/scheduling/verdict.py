"""Verdict on a trial at the end of an epoch: continue, wait or stop."""

from typing import TYPE_CHECKING, Final, Protocol

from sweep.scheduling.task import TrialTask

if TYPE_CHECKING:
    from trainables.storage.trial_records import EpochRecord


class WaitForOthers:
    """Verdict that the trial pauses until the other seeds of its setting reach the same epoch."""


WAITS: Final = WaitForOthers()
Verdict = str | WaitForOthers | None
"""Reason why a trial ends here, WAITS, or None if it continues."""
WAITING = "waits for its other seeds"
"""Reason of an attempt's end; another attempt follows once the other seeds reach the epoch."""


class EpochJudge(Protocol):
    """Judge that decides at the end of an epoch whether a trial continues."""

    def verdict(self, task: TrialTask, record: "EpochRecord") -> Verdict:
        """Return the verdict on a running trial after an epoch."""

    def standing(self, trial_id: str) -> Verdict:
        """Return the verdict on a trial that isn't running, from the epochs recorded so far."""

    def left(self, trial_id: str) -> None:
        """Remove a trial that ended early for another reason than the judge's verdict."""
