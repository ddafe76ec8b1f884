"""Distribution of trial events from the dispatcher to the listeners."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from sweep.records.sweep_record import TrialEntry
from sweep.running.run_context import RunContext
from sweep.running.trial_listener import TrialListener
from sweep.scheduling.failure import AttemptFailure
from sweep.scheduling.listener import DONE, GO, WAIT, Permission
from sweep.scheduling.task import TrialTask
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.storage.trial_records import AttemptRecord, EpochRecord, FailureRecord, now_ms

_BEGAN_MS = now_ms() - time.monotonic_ns() // 1_000_000


def steady_ms() -> int:
    """Return the time as `now_ms`, but without the jumps of a clock that is set while this process runs.

    The costs of attempts are differences of it, and a budget ends the sweep by them.
    """
    return _BEGAN_MS + time.monotonic_ns() // 1_000_000


class OpenAttempts:
    """Records of the running attempts; another thread may read the device-hours."""

    def __init__(self, sweep: str) -> None:
        self._sweep = sweep
        self._records: dict[str, AttemptRecord] = {}
        self._spent = 0.0
        """Device-hours of the attempts that have ended."""
        self._lock = threading.Lock()

    def __contains__(self, trial_id: str) -> bool:
        return trial_id in self._records

    def begin(self, task: TrialTask, earlier: Sequence[AttemptRecord]) -> AttemptRecord:
        """Return the record of a new attempt, numbered after the earlier ones."""
        record = AttemptRecord(
            number=1 + max((attempt.number for attempt in earlier), default=0),
            sweep=self._sweep,
            started_ms=steady_ms(),
            devices=devices(task, task.shape.workers),
        )
        with self._lock:
            self._records[task.trial_id] = record
        return record

    def change(self, trial_id: str, **changes: object) -> AttemptRecord:
        """Return the record of a trial's attempt with changed values."""
        with self._lock:
            record = self._records[trial_id] = self._records[trial_id].model_copy(update=changes)
        return record

    def count_epoch(self, trial_id: str, epoch: int) -> None:
        """Note that a trial's attempt has trained an epoch."""
        with self._lock:
            attempt = self._records[trial_id]
            first = attempt.first_epoch if attempt.first_epoch is not None else epoch
            update = {"first_epoch": first, "last_epoch": epoch, "last_ms": steady_ms()}
            self._records[trial_id] = attempt.model_copy(update=update)

    def close(self, trial_id: str) -> None:
        """Remove a trial's attempt, but keep its cost."""
        with self._lock:
            self._spent += self._records.pop(trial_id).hours

    def device_hours(self) -> float:
        """Return the cost of all attempts in GPU-hours, or worker-hours on CPUs."""
        now = steady_ms()
        with self._lock:
            running = [record.model_copy(update={"last_ms": now}).hours for record in self._records.values()]
            return self._spent + sum(running)


def devices(task: TrialTask, workers: int) -> float:
    """Return the number of GPUs of a trial's workers, or the number of workers on CPUs."""
    return workers * (task.shape.gpus if task.shape.use_gpu else 1.0)


class TrialEventHandler:
    """Listener of the dispatcher that tracks running attempts and forwards each event to its own listeners."""

    def __init__(self, context: RunContext, listeners: Iterable[TrialListener]) -> None:
        self._context, self._listeners = context, tuple(listeners)
        self._entries: dict[str, TrialEntry] = {}
        self._attempts = OpenAttempts(context.name)
        self._suspects: dict[str, list[tuple[AttemptFailure, AttemptRecord]]] = {}
        """Ended attempts of each trial whose failures may be judged again."""

    def notify(self, event: Callable[[TrialListener], None]) -> None:
        """Pass an event to the listeners in order; if one raises, later listeners don't receive it."""
        for listener in self._listeners:
            event(listener)

    def planned(self, entries: Sequence[TrialEntry]) -> None:
        """Register the planned trials."""
        self._entries |= {entry.trial_id: entry for entry in entries}
        self.notify(lambda one: one.planned(entries))

    def reuse(self, entry: TrialEntry) -> bool:
        """Return whether a trial is finished, by any sweep; if so, inform the listeners."""
        files = self._context.storage.trial_of(entry)
        if (final := files.finished()) is None:
            return False
        attempts = files.attempts()
        self.notify(lambda one: one.reused(entry, final, attempts))
        return True

    def device_hours(self) -> float:
        """Return the cost of this run so far in GPU-hours, or worker-hours on CPUs."""
        return self._attempts.device_hours()

    # From the dispatcher

    def may_start(self, task: TrialTask) -> Permission:
        """Return GO, WAIT if another sweep trains the trial, or DONE if it was finished meanwhile."""
        live = self._context.live
        try:
            if not live.claim(task.trial_id):
                return WAIT
            if self.reuse(self._entries[task.trial_id]):
                live.release(task.trial_id)
                return DONE
        except OSError:  # the storage is away; the attempt would find out by itself
            return WAIT
        return GO

    def started(self, task: TrialTask) -> None:
        """Open the attempt's record; the listeners also get the records of earlier attempts."""
        earlier = TrialFiles(Storage.at(task.files_address)).attempts()
        attempt = self._attempts.begin(task, earlier)
        self.notify(lambda one: one.started(task, attempt, earlier))

    def placed(self, task: TrialTask, hosts: list[str]) -> None:
        """Add the hosts of the workers to the attempt."""
        self._change(task, hosts=tuple(hosts), devices=devices(task, len(hosts)))

    def noted(self, task: TrialTask, note: str) -> None:
        """Add a note about its start to the attempt."""
        self._change(task, message=note)
        self.notify(lambda one: one.noted(task, note))

    def epoch(self, task: TrialTask, record: EpochRecord, durable: bool) -> None:
        """Add an epoch to the attempt."""
        self._attempts.count_epoch(task.trial_id, record.epoch)
        self.notify(lambda one: one.epoch(task, record, durable))

    def finished(self, task: TrialTask) -> None:
        """End the attempt and the trial."""
        self._end(task, "finished")
        self.notify(lambda one: one.finished(task))

    def retried(self, task: TrialTask, failure: AttemptFailure, pause: float) -> None:
        """End the attempt; another one follows."""
        self._end_failed(task, failure)
        self.notify(lambda one: one.retried(task, failure, pause))

    def held(self, task: TrialTask, failure: AttemptFailure) -> None:
        """End the attempt; another one follows only if one of its machines turns out to be lost."""
        self._end_failed(task, failure)
        self.notify(lambda one: one.held(task, failure))

    def reviewed(self, task: TrialTask, before: AttemptFailure, after: AttemptFailure) -> None:
        """Correct the record of an attempt that a lost machine ended."""
        suspects = self._suspects.get(task.trial_id, [])
        found = next((suspect for suspect in suspects if suspect[0] == before), None)
        if found is None:
            return
        suspects.remove(found)
        attempt = found[1].model_copy(update={"outcome": after.kind, "message": after.message})
        self.notify(lambda one: one.attempt_changed(task, attempt))
        self.notify(lambda one: one.reviewed(task, attempt))

    def stopped(self, task: TrialTask, why: str, for_good: bool) -> None:
        """End the attempt, if there is one."""
        self._end(task, "stopped" if for_good else "interrupted", why)
        self.notify(lambda one: one.stopped(task, why, for_good))

    def failed(self, task: TrialTask, failure: AttemptFailure) -> None:
        """End the attempt, if there is one, and the trial."""
        self._end(task, failure.kind, failure.message)
        place = f"; log: {self._context.log_of(task)}" if failure.log else ""
        record = FailureRecord(time_ms=now_ms(), kind=failure.kind, message=failure.message + place)
        self.notify(lambda one: one.failed(task, record, failure.log))

    def _change(self, task: TrialTask, **changes: object) -> AttemptRecord:
        attempt = self._attempts.change(task.trial_id, **changes)
        self.notify(lambda one: one.attempt_changed(task, attempt))
        return attempt

    def _end_failed(self, task: TrialTask, failure: AttemptFailure) -> None:
        attempt = self._end(task, failure.kind, failure.message)
        if attempt is not None and failure.nodes:
            self._suspects.setdefault(task.trial_id, []).append((failure, attempt))

    def _end(self, task: TrialTask, outcome: str, message: str = "") -> AttemptRecord | None:
        """End the attempt; return its record, None if it ends before it began."""
        if task.trial_id not in self._attempts:
            return None
        attempt = self._change(task, outcome=outcome, ended_ms=steady_ms(), **({"message": message} if message else {}))
        self._attempts.close(task.trial_id)
        self._context.live.release(task.trial_id)
        return attempt
