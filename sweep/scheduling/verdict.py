"""Verdict on a trial at the end of an epoch: continue, wait or stop."""

from typing import TYPE_CHECKING, Final, Protocol

from sweep.scheduling.task import TrialTask

if TYPE_CHECKING:
    from trainables.storage.trial_records import EpochRecord


class WaitForOthers:
    """The trial pauses until others of its setting have come as far."""


WAITS: Final = WaitForOthers()
Verdict = str | WaitForOthers | None
"""Why a trial ends here, WAITS, or None: it goes on."""
WAITING = "waits for its other seeds"
"""Why an attempt ends that another follows once the others are there."""


class EpochJudge(Protocol):
    """Decides at the end of an epoch whether a trial goes on."""

    def verdict(self, task: TrialTask, record: "EpochRecord") -> Verdict:
        """Return what becomes of a trial that is running."""

    def standing(self, trial_id: str) -> Verdict:
        """Return what becomes of a trial that isn't running, from what is known of it and of others."""

    def left(self, trial_id: str) -> None:
        """Take in that a trial is over before its end, for a reason that isn't the judge's."""
