"""Protocol of a listener to a run's trials: records, terminal, MLflow."""

from collections.abc import Sequence

from sweep.records.sweep_record import TrialEntry
from sweep.scheduling.failure import AttemptFailure
from sweep.scheduling.task import TrialTask
from trainables.storage.trial_records import AttemptRecord, EpochRecord, FailureRecord, FinalRecord


class TrialListener:
    """Listener to the trials of a run, in the main process; methods that aren't overridden ignore their event."""

    def planned(self, entries: Sequence[TrialEntry]) -> None:
        """The plan has these trials now; known trials may have new names."""

    # Trials that don't run

    def reused(self, entry: TrialEntry, final: FinalRecord, attempts: Sequence[AttemptRecord]) -> None:
        """A trial was already finished, by any sweep; `attempts` are all its attempts."""

    def left_stopped(self, entry: TrialEntry, why: str) -> None:
        """A trial was stopped for good before this run."""

    def left_failed(self, entry: TrialEntry, failure: FailureRecord) -> None:
        """A trial failed before this run and isn't retried."""

    # Trials that do

    def started(self, task: TrialTask, attempt: AttemptRecord, earlier: Sequence[AttemptRecord]) -> None:
        """A new attempt starts; `earlier` are the previous attempts of any sweep."""

    def attempt_changed(self, task: TrialTask, attempt: AttemptRecord) -> None:
        """An attempt's record changed: it was placed, annotated or ended."""

    def noted(self, task: TrialTask, note: str) -> None:
        """The attempt has a note for the user about its start."""

    def epoch(self, task: TrialTask, record: EpochRecord, durable: bool) -> None:
        """An epoch was trained; unless it is `durable`, its record isn't written yet."""

    def finished(self, task: TrialTask) -> None:
        """The trial's final record is written."""

    def retried(self, task: TrialTask, failure: AttemptFailure, pause: float) -> None:
        """An attempt failed, and another one follows in `pause` seconds."""

    def held(self, task: TrialTask, failure: AttemptFailure) -> None:
        """The last allowed attempt failed; it is retried only if one of its machines turns out to be lost."""

    def reviewed(self, task: TrialTask, attempt: AttemptRecord) -> None:
        """A failure was caused by a lost machine and no longer counts."""

    def stopped(self, task: TrialTask, why: str, for_good: bool) -> None:
        """The trial was stopped; unless `for_good`, the whole sweep was stopped with it."""

    def failed(self, task: TrialTask, failure: FailureRecord, log: str) -> None:
        """The trial failed for good; `log` is a traceback, or empty."""
