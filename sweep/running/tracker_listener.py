"""Trials as they go, shown in MLflow."""

from collections.abc import Sequence

from sweep.records.sweep_record import TrialEntry
from sweep.running.run_context import RunContext
from sweep.running.trial_listener import TrialListener
from sweep.scheduling.task import TrialTask
from trainables.storage.trial_records import AttemptRecord, EpochRecord, FailureRecord, FinalRecord


class TrackerListener(TrialListener):
    """Passes events on to the tracker, which shows trials from their files and returns at once."""

    def __init__(self, context: RunContext) -> None:
        self._tracker, self._storage = context.tracker, context.storage
        self._entries: dict[str, TrialEntry] = {}

    def planned(self, entries: Sequence[TrialEntry]) -> None:
        """Take in the trials of which events will come."""
        self._entries |= {entry.trial_id: entry for entry in entries}

    def reused(self, entry: TrialEntry, final: FinalRecord, attempts: Sequence[AttemptRecord]) -> None:
        """Show a finished trial, whoever trained it."""
        self._tracker.project_trial(entry, self._storage)

    def left_stopped(self, entry: TrialEntry, why: str) -> None:
        """Show a trial that stays stopped."""
        self._tracker.project_trial(entry, self._storage, "stopped")

    def left_failed(self, entry: TrialEntry, failure: FailureRecord) -> None:
        """Show a trial that stays failed."""
        self._tracker.project_trial(entry, self._storage, "failed")

    def started(self, task: TrialTask, attempt: AttemptRecord, earlier: Sequence[AttemptRecord]) -> None:
        """Show the trial as running."""
        self._tracker.start_trial(self._entries[task.trial_id], self._storage)

    def epoch(self, task: TrialTask, record: EpochRecord, durable: bool) -> None:
        """Show an epoch, but only one that can't be trained again with another time."""
        if durable:
            self._tracker.submit_epoch(task.trial_id, record)

    def finished(self, task: TrialTask) -> None:
        """Show the trial's end."""
        self._tracker.finish_trial(task.trial_id)

    def stopped(self, task: TrialTask, why: str, for_good: bool) -> None:
        """Show a stop, but not of a trial that hadn't started."""
        if task.trial_id in self._tracker:
            self._tracker.finish_trial(task.trial_id, "stopped" if for_good else "interrupted")

    def failed(self, task: TrialTask, failure: FailureRecord, log: str) -> None:
        """Show the failure, also of a trial that failed before it started."""
        if task.trial_id in self._tracker:
            self._tracker.finish_trial(task.trial_id)
        else:
            self._tracker.project_trial(self._entries[task.trial_id], self._storage)
