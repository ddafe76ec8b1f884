"""Listeners of a run's trials: one writes their records, one shows them in MLflow."""

from collections.abc import Iterable, Sequence

from sweep.records.sweep_record import TrialEntry
from sweep.running.run_context import RunContext
from sweep.running.trial_listener import TrialListener
from sweep.scheduling.failure import AttemptFailure
from sweep.scheduling.task import TrialTask
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.storage.trial_records import AttemptRecord, EpochRecord, FailureRecord, FinalRecord, now_ms


class RecordsListener(TrialListener):
    """Listener that writes attempts, failures and logs; writes are deferred while the storage is unreachable."""

    def __init__(self, context: RunContext) -> None:
        self._context = context

    def reused(self, entry: TrialEntry, final: FinalRecord, attempts: Sequence[AttemptRecord]) -> None:
        """End open attempts of this sweep, whose process was killed after the final record."""
        own = [attempt for attempt in attempts if attempt.sweep == self._context.name]
        _end_orphans(own, self._context.storage.trial_of(entry))

    def started(self, task: TrialTask, attempt: AttemptRecord, earlier: Sequence[AttemptRecord]) -> None:
        """Write the attempt's record, and end open attempts of killed sweeps."""
        files = self._files(task)
        _end_orphans(earlier, files)
        files.write_attempt(attempt)

    def attempt_changed(self, task: TrialTask, attempt: AttemptRecord) -> None:
        """Write the attempt's record in place of the one before."""
        self._files(task).write_attempt(attempt)

    def retried(self, task: TrialTask, failure: AttemptFailure, pause: float) -> None:
        """Remove the trial's failure, and write the log."""
        self._files(task).clear_failure()
        self._write_log(task, failure.log)

    def held(self, task: TrialTask, failure: AttemptFailure) -> None:
        """Remove the trial's failure, and write the log."""
        self.retried(task, failure, 0.0)

    def stopped(self, task: TrialTask, why: str, for_good: bool) -> None:
        """Write why a trial was stopped for good, so that resuming doesn't continue it."""
        if for_good:
            context = self._context
            context.storage.write_stopped(context.name, task.trial_id, why, context.backlog)
            self._end_paused(task, why)

    def _end_paused(self, task: TrialTask, why: str) -> None:
        """Write that a trial's last attempt, which paused for other seeds, was the last."""
        files = self._files(task)
        last = next(reversed(files.attempts()), None)
        if last is not None and (last.sweep, last.outcome) == (self._context.name, "interrupted"):
            files.write_attempt(last.model_copy(update={"outcome": "stopped", "message": why}))

    def failed(self, task: TrialTask, failure: FailureRecord, log: str) -> None:
        """Write the log, and why the trial failed."""
        self._write_log(task, log)
        self._files(task).write_failure(failure)

    def _write_log(self, task: TrialTask, log: str) -> None:
        if not log:
            return
        path = self._context.log_of(task)

        def append() -> None:
            with path.open("a", encoding="utf-8") as file:
                file.write(log.rstrip() + "\n")

        self._context.backlog.write(f"{path} {now_ms()}", append)

    def _files(self, task: TrialTask) -> TrialFiles:
        return TrialFiles(Storage.at(task.files_address), self._context.backlog)


def _end_orphans(attempts: Iterable[AttemptRecord], files: TrialFiles) -> None:
    for attempt in attempts:
        if attempt.outcome == "running":
            files.write_attempt(_ended(attempt, files))


def _ended(attempt: AttemptRecord, files: TrialFiles) -> AttemptRecord:
    """Return the record of an attempt of a killed sweep, with its end estimated from the trial's epochs."""
    epochs = [record for record in files.epochs() if record.time_ms >= attempt.started_ms]
    known: dict[str, object] = {"outcome": "interrupted", "message": "its sweep was killed"}
    known["ended_ms"] = max([record.time_ms for record in epochs], default=attempt.started_ms)
    if (final := files.final()) is not None and final.time_ms >= attempt.started_ms:
        known |= {"outcome": "finished", "message": "", "ended_ms": final.time_ms}
    if epochs:
        known |= {"first_epoch": epochs[0].epoch, "last_epoch": epochs[-1].epoch}
    return attempt.model_copy(update=known)


class TrackerListener(TrialListener):
    """Listener that passes events to the tracker, which writes in the background from the trials' files."""

    def __init__(self, context: RunContext) -> None:
        self._tracker, self._storage, self._live = context.tracker, context.storage, context.live
        self._entries: dict[str, TrialEntry] = {}

    def planned(self, entries: Sequence[TrialEntry]) -> None:
        """Register the planned trials."""
        self._entries |= {entry.trial_id: entry for entry in entries}

    def reused(self, entry: TrialEntry, final: FinalRecord, attempts: Sequence[AttemptRecord]) -> None:
        """Show a trial that was finished before, in any sweep."""
        self._tracker.write_trial(entry, self._storage)

    def left_stopped(self, entry: TrialEntry, why: str) -> None:
        """Show a trial that stays stopped."""
        self._tracker.write_trial(entry, self._storage, "stopped")

    def left_failed(self, entry: TrialEntry, failure: FailureRecord) -> None:
        """Show a trial that stays failed."""
        self._tracker.write_trial(entry, self._storage, "failed")

    def started(self, task: TrialTask, attempt: AttemptRecord, earlier: Sequence[AttemptRecord]) -> None:
        """Show the trial as running."""
        self._tracker.start_trial(self._entries[task.trial_id], self._storage)

    def epoch(self, task: TrialTask, record: EpochRecord, durable: bool) -> None:
        """Show an epoch if its record is durable; otherwise it may be trained again with another timestamp."""
        if durable:
            self._tracker.submit_epoch(task.trial_id, record)

    def finished(self, task: TrialTask) -> None:
        """Show the trial's end."""
        self._tracker.finish_trial(task.trial_id)

    def stopped(self, task: TrialTask, why: str, for_good: bool) -> None:
        """Show a stop, unless the trial hadn't started or another process continues it."""
        entry = self._entries[task.trial_id]
        if self._live.taken_over:
            return
        if task.trial_id in self._tracker:
            self._tracker.finish_trial(task.trial_id, "stopped" if for_good else "interrupted")
        elif for_good and self._storage.trial_of(entry).attempts():  # it had paused
            self._tracker.write_trial(entry, self._storage, "stopped")

    def failed(self, task: TrialTask, failure: FailureRecord, log: str) -> None:
        """Show the failure, also of a trial that failed before it started."""
        if task.trial_id in self._tracker:
            self._tracker.finish_trial(task.trial_id)
        else:
            self._tracker.write_trial(self._entries[task.trial_id], self._storage)
