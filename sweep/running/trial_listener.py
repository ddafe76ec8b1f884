"""Protocol of a listener to a run's trials: records, terminal, MLflow."""

from collections.abc import Sequence

from sweep.records.sweep_record import TrialEntry
from sweep.scheduling.failure import Failure
from sweep.scheduling.task import TrialTask
from trainables.storage.trial_records import AttemptRecord, EpochRecord, FailureRecord, FinalRecord


class TrialListener:
    """Follows the trials of a run, in the main process; a method that isn't overridden ignores its event."""

    def planned(self, entries: Sequence[TrialEntry]) -> None:
        """Take in the trials of the plan as it stands; those known may have new names."""

    # Trials that don't run

    def reused(self, entry: TrialEntry, final: FinalRecord, attempts: Sequence[AttemptRecord]) -> None:
        """Take in a trial that is finished, by this sweep or another; `attempts` are all that there were."""

    def left_stopped(self, entry: TrialEntry, why: str) -> None:
        """Take in a trial that was stopped for good before this run."""

    def left_failed(self, entry: TrialEntry, failure: FailureRecord) -> None:
        """Take in a trial that failed before this run and isn't tried again."""

    # Trials that do

    def started(self, task: TrialTask, attempt: AttemptRecord, earlier: Sequence[AttemptRecord]) -> None:
        """Take in a new attempt; `earlier` are those before it, by whichever sweep."""

    def attempt_changed(self, task: TrialTask, attempt: AttemptRecord) -> None:
        """Take in the record of an attempt that was placed or annotated, or has ended."""

    def noted(self, task: TrialTask, note: str) -> None:
        """Take in what a person should know of how the attempt began."""

    def epoch(self, task: TrialTask, record: EpochRecord, durable: bool) -> None:
        """Take in a newly trained epoch; not durable: its record is still to be written."""

    def finished(self, task: TrialTask) -> None:
        """Take in that the trial's final record is written."""

    def retried(self, task: TrialTask, failure: Failure, pause: float) -> None:
        """Take in that an attempt failed and another follows in `pause` seconds."""

    def held(self, task: TrialTask, failure: Failure) -> None:
        """Take in that an attempt failed, the last one unless a machine of it turns out to be lost."""

    def reviewed(self, task: TrialTask, attempt: AttemptRecord) -> None:
        """Take in that a lost machine explains why an attempt failed, which counts no more."""

    def stopped(self, task: TrialTask, why: str, for_good: bool) -> None:
        """Take in that the trial was stopped; not for good: with the whole sweep."""

    def failed(self, task: TrialTask, failure: FailureRecord, log: str) -> None:
        """Take in that the trial failed for good; `log` is a traceback, or empty."""
