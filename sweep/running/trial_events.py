"""Where a sweep's news arrive: kept in the trials' files, shown in the terminal and in MLflow."""

import threading
from collections.abc import Iterable

from sweep.records.lease import Live
from sweep.records.sweep_record import TrialEntry
from sweep.records.sweep_storage import SweepStorage
from sweep.running.progress import Progress
from sweep.scheduling.failure import Failure
from sweep.scheduling.listener import DONE, GO, WAIT, Permission
from sweep.scheduling.task import TrialTask
from sweep.tracking.runs import TrialFacts
from sweep.tracking.tracker import Tracker
from trainables.storage.deferred_writes import Backlog
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.storage.trial_records import AttemptRecord, EpochRecord, FailureRecord, now_ms


class Desk:
    """The Listener of a sweep. What can't be written because the storage is away is written later."""

    def __init__(self, name: str, storage: SweepStorage, tracker: Tracker, progress: Progress, live: Live) -> None:
        self._name, self._storage, self._tracker, self._progress, self._live = name, storage, tracker, progress, live
        self._backlog = Backlog()
        self._entries: dict[str, TrialEntry] = {}
        self._attempts: dict[str, AttemptRecord] = {}
        self._spent = 0.0
        self._lock = threading.Lock()

    def expect(self, entries: Iterable[TrialEntry]) -> None:
        """Take in trials of which news will come."""
        self._entries |= {entry.trial_id: entry for entry in entries}

    def device_hours(self) -> float:
        """Return what this run cost so far, in GPU-hours, or worker-hours where there are no GPUs."""
        now = now_ms()
        with self._lock:
            running = [record.model_copy(update={"last_ms": now}).hours for record in self._attempts.values()]
            return self._spent + sum(running)

    def close(self, seconds: float) -> None:
        """Wait until everything is in the storage; StorageAwayError when that takes longer."""
        self._backlog.flush(seconds)

    # What the dispatcher tells

    def may_start(self, task: TrialTask) -> Permission:
        """Return whether no other sweep trains it, or has finished it since this one looked."""
        try:
            if not self._live.claim(task.trial_id):
                return WAIT
            if self.reuse(self._entries[task.trial_id]):
                self._live.release(task.trial_id)
                return DONE
        except OSError:  # the storage is away; the attempt would find out by itself
            return WAIT
        return GO

    def reuse(self, entry: TrialEntry) -> bool:
        """Tell of a trial that is finished, by this sweep or another; return whether it is."""
        files = self._storage.trial_of(entry)
        if (final := files.final()) is None:
            return False
        for attempt in files.attempts():
            # Whoever ran this sweep was killed between the trial's last word and this one.
            if attempt.outcome == "running" and attempt.sweep == self._name:
                files.write_attempt(_orphaned(attempt, files))
        others = {attempt.sweep for attempt in files.attempts()[-1:]} - {self._name}
        self._progress.reused(entry, final.seconds, others.pop() if others else "")
        self._tracker.project_trial(TrialFacts.of(entry, self._storage))
        return True

    def started(self, task: TrialTask) -> None:
        """Begin the attempt's record."""
        files = self._files(task)
        earlier = files.attempts()
        for attempt in earlier:
            if attempt.outcome == "running":
                files.write_attempt(_orphaned(attempt, files))
        number = 1 + max((attempt.number for attempt in earlier), default=0)
        record = AttemptRecord(
            number=number, sweep=self._name, started_ms=now_ms(), devices=_devices(task, task.shape.workers)
        )
        with self._lock:
            self._attempts[task.trial_id] = record
        files.write_attempt(record)
        self._progress.started(task, record.number)
        self._tracker.start_trial(self._facts(task))

    def placed(self, task: TrialTask, hosts: list[str]) -> None:
        """Keep where the workers are."""
        self._change(task, hosts=tuple(hosts), devices=_devices(task, len(hosts)))

    def noted(self, task: TrialTask, note: str) -> None:
        """Keep and tell how the attempt began."""
        self._change(task, message=note)
        self._progress.noted(task, note)

    def epoch(self, task: TrialTask, record: EpochRecord, durable: bool) -> None:
        """Tell of an epoch; MLflow only when it can't be trained again with another time."""
        with self._lock:
            attempt = self._attempts[task.trial_id]
            first = attempt.first_epoch if attempt.first_epoch is not None else record.epoch
            update = {"first_epoch": first, "last_epoch": record.epoch, "last_ms": now_ms()}
            self._attempts[task.trial_id] = attempt.model_copy(update=update)
        self._progress.epoch(task, record)
        if durable:
            self._tracker.submit_epoch(task.trial_id, record)

    def finished(self, task: TrialTask) -> None:
        """Tell of the end."""
        self._end(task, "finished")
        self._progress.finished(task)
        self._tracker.finish_trial(task.trial_id)

    def retried(self, task: TrialTask, failure: Failure, pause: float) -> None:
        """Keep why the attempt failed, and tell that another follows."""
        self._end(task, failure.kind, failure.message)
        self._files(task).clear_failure()
        self._log(task, failure)
        self._progress.retried(task, failure, pause)

    def stopped(self, task: TrialTask, why: str, for_good: bool) -> None:
        """Tell of a stop; one for good is kept, so that resuming leaves the trial alone."""
        self._end(task, "stopped" if for_good else "interrupted", why)
        if for_good:
            self._storage.write_stopped(self._name, task.trial_id, why, self._backlog)
        self._progress.stopped(task, why, for_good)
        if task.trial_id in self._tracker:
            self._tracker.finish_trial(task.trial_id, "stopped" if for_good else "interrupted")

    def failed(self, task: TrialTask, failure: Failure) -> None:
        """Keep why, and tell."""
        self._end(task, failure.kind, failure.message)
        message = failure.message
        if (path := self._log(task, failure)) is not None:
            message = f"{message}; log: {path}"
        record = FailureRecord(time_ms=now_ms(), kind=failure.kind, message=message)
        self._files(task).write_failure(record)
        self._progress.failed(task, record)
        if task.trial_id in self._tracker:
            self._tracker.finish_trial(task.trial_id)
        else:  # it failed before it began
            self._tracker.project_trial(self._facts(task))

    # Records

    def _change(self, task: TrialTask, **changes: object) -> AttemptRecord:
        with self._lock:
            record = self._attempts[task.trial_id] = self._attempts[task.trial_id].model_copy(update=changes)
        self._files(task).write_attempt(record)
        return record

    def _end(self, task: TrialTask, outcome: str, message: str = "") -> None:
        if task.trial_id not in self._attempts:  # stopped before it began
            return
        record = self._change(task, outcome=outcome, ended_ms=now_ms(), **({"message": message} if message else {}))
        with self._lock:
            del self._attempts[task.trial_id]
            self._spent += record.hours
        self._live.release(task.trial_id)

    def _log(self, task: TrialTask, failure: Failure) -> str | None:
        if not failure.log:
            return None
        path = self._storage.log_folder(self._name) / f"{task.name}.log"

        def append() -> None:
            with path.open("a", encoding="utf-8") as file:
                file.write(failure.log.rstrip() + "\n")

        self._backlog.write(f"{path} {now_ms()}", append)
        return str(path)

    def _files(self, task: TrialTask) -> TrialFiles:
        return TrialFiles(Storage.at(task.files_address), self._backlog)

    def _facts(self, task: TrialTask) -> TrialFacts:
        return TrialFacts.of(self._entries[task.trial_id], self._storage)


def _devices(task: TrialTask, workers: int) -> float:
    return workers * (task.shape.gpus if task.shape.use_gpu else 1.0)


def _orphaned(attempt: AttemptRecord, files: TrialFiles) -> AttemptRecord:
    """Return the record of an attempt whose sweep was killed, as far as the trial's epochs tell its end."""
    epochs = [record for record in files.epochs() if record.time_ms >= attempt.started_ms]
    known: dict[str, object] = {"outcome": "interrupted", "message": "its sweep was killed"}
    known["ended_ms"] = max([record.time_ms for record in epochs], default=attempt.started_ms)
    if (final := files.final()) is not None and final.time_ms >= attempt.started_ms:
        known |= {"outcome": "finished", "message": "", "ended_ms": final.time_ms}
    if epochs:
        known |= {"first_epoch": epochs[0].epoch, "last_epoch": epochs[-1].epoch}
    return attempt.model_copy(update=known)
