"""State of a running sweep and of its trials, as its lease publishes it."""

from collections import Counter
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from sweep.records.sweep_record import SweepRecord
    from sweep.records.sweep_storage import SweepStorage


class LiveTrial(BaseModel):
    """State of a trial that has started, as published by its sweep."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    trial_id: str
    name: str
    state: str
    epoch: int
    epochs: int
    metrics: dict[str, float]
    attempt: int
    left_seconds: float | None
    note: str


class LiveState(BaseModel):
    """State of a running sweep."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    counts: dict[str, int]
    """Number of trials by state."""
    trials: tuple[LiveTrial, ...]
    """Running and failed trials."""
    device_hours: float
    left_seconds: float | None
    stopping: str
    waits: str = ""
    """Resources that waiting trials need, and the jobs that hold them; empty if no trial waits."""


def state_of(record: "SweepRecord", storage: "SweepStorage") -> "LiveState":
    """Return the state of a sweep that isn't running, from its trials' records."""
    from sweep.records.trial_result import result_of

    trials = []
    hours = 0.0
    stopped = storage.stopped(record.name)
    for entry in record.trials:
        files = storage.trial_of(entry)
        result, attempts = result_of(files), files.attempts()
        hours += sum(attempt.hours for attempt in attempts if attempt.sweep == record.name)
        state: str = "stopped" if entry.trial_id in stopped else result.status
        trials.append(
            LiveTrial(
                trial_id=entry.trial_id,
                name=entry.name,
                state="interrupted" if state == "running" else state,
                epoch=result.epoch,
                epochs=entry.config.get("epochs", 0),
                metrics={name: value for name, value in result.metrics.items() if value == value},
                attempt=len(attempts),
                left_seconds=None,
                note=result.failure or stopped.get(entry.trial_id, "") or result.troubles,
            )
        )
    counts = Counter(trial.state for trial in trials)
    return LiveState(counts=dict(counts), trials=tuple(trials), device_hours=hours, left_seconds=None, stopping="")
