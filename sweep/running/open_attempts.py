"""The attempts under way of a run, and what it cost so far."""

import threading
from collections.abc import Sequence

from sweep.scheduling.task import TrialTask
from trainables.storage.trial_records import AttemptRecord, now_ms


class OpenAttempts:
    """Records of the attempts under way, as they stand; another thread may ask for the device-hours."""

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
            started_ms=now_ms(),
            devices=devices(task, task.shape.workers),
        )
        with self._lock:
            self._records[task.trial_id] = record
        return record

    def change(self, trial_id: str, **changes: object) -> AttemptRecord:
        """Return the record of a trial's attempt with other values."""
        with self._lock:
            record = self._records[trial_id] = self._records[trial_id].model_copy(update=changes)
        return record

    def count_epoch(self, trial_id: str, epoch: int) -> None:
        """Note that a trial's attempt has trained an epoch."""
        with self._lock:
            attempt = self._records[trial_id]
            first = attempt.first_epoch if attempt.first_epoch is not None else epoch
            update = {"first_epoch": first, "last_epoch": epoch, "last_ms": now_ms()}
            self._records[trial_id] = attempt.model_copy(update=update)

    def close(self, trial_id: str) -> None:
        """Forget a trial's attempt, but for what it cost."""
        with self._lock:
            self._spent += self._records.pop(trial_id).hours

    def device_hours(self) -> float:
        """Return what all attempts cost, in GPU-hours, or worker-hours where there are no GPUs."""
        now = now_ms()
        with self._lock:
            running = [record.model_copy(update={"last_ms": now}).hours for record in self._records.values()]
            return self._spent + sum(running)


def devices(task: TrialTask, workers: int) -> float:
    """Return the GPUs that so many workers of a trial hold, or the workers where there are none."""
    return workers * (task.shape.gpus if task.shape.use_gpu else 1.0)
