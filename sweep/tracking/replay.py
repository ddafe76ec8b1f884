"""Replay: writing a sweep's records to MLflow again.

The records are the source of truth, and MLflow is a view of them. A server that was unreachable, emptied or replaced is
filled from the storage alone; repeated replays add nothing.
"""

import time
from typing import TYPE_CHECKING

from sweep.console.printing import say

if TYPE_CHECKING:
    from sweep.records.sweep_record import SweepRecord
    from sweep.records.sweep_storage import SweepStorage
    from sweep.tracking.tracker import SweepTracker
    from trainables.storage.trial_files import TrialFiles

STALL_SECONDS = 300.0
"""Seconds without a successful write after which the server is given up."""
SAY_SECONDS = 15.0


def replay(record: "SweepRecord", storage: "SweepStorage", tracker: "SweepTracker") -> list[str]:
    """Write a sweep and all of its trials that have records to MLflow.

    A trial that has neither ended nor been stopped for good is shown as interrupted.

    Args:
        record: Record of the sweep.
        storage: Storage of the sweep.
        tracker: Tracker of the MLflow store, newly opened.

    Returns:
        Names of the trials without records.
    """
    tracker.start_sweep(record)
    stopped = storage.stopped(record.name)
    waiting, states, ends = [], set(), list[int]()
    for entry in record.trials:
        files = storage.trial_of(entry)
        state = _state(files, stopped=entry.trial_id in stopped)
        states.add(state)
        if state in ("finished", "failed") or files.epochs():
            tracker.write_trial(entry, storage, state)
            ends.append(_end_ms(files))
        else:
            waiting.append(entry.name)
    under_way = "interrupted" in states or record.pending
    tracker.show_comparison(storage)
    status = "interrupted" if under_way else "failed" if "failed" in states else "finished"
    tracker.finish_sweep(status, end_ms=max(ends, default=None))
    return waiting


def _end_ms(files: "TrialFiles") -> int:
    """Return the time of a trial's end, or of its last epoch so far."""
    end = files.final() or files.failure() or files.epochs()[-1]
    return end.time_ms


def _state(files: "TrialFiles", *, stopped: bool) -> str:
    if files.final() is not None:
        return "finished"
    if files.failure() is not None:
        return "failed"
    return "stopped" if stopped else "interrupted"


def wait_for_writes(tracker: "SweepTracker") -> None:
    """Wait while writes succeed, however many remain, and print the number of missing ones."""
    left, moved, said = tracker.missing, time.monotonic(), time.monotonic()
    while left and time.monotonic() - moved < STALL_SECONDS:
        time.sleep(0.05)
        now = tracker.missing
        if now != left:
            left, moved = now, time.monotonic()
        if time.monotonic() - said > SAY_SECONDS:
            said = time.monotonic()
            say(f"{left} writes left, one or two a trial: a second each where figures are drawn")
