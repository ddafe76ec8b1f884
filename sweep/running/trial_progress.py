"""Progress of trials: their state, and the estimated time left."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from sweep.records.status import LiveTrial
from sweep.records.sweep_record import TrialEntry

OPEN = ("waiting", "running", "retrying", "interrupted")


@dataclass
class TrialProgress:
    """Progress of one trial, as events report it."""

    entry: TrialEntry
    status: str = "waiting"
    epoch: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    attempt: int = 0
    since: float = 0.0
    epochs_here: int = 0
    """Number of epochs trained since `since`."""
    measured_epochs: int = 0
    """Number of epochs trained in this run; for an untrained encoder, its evaluation."""
    measured_seconds: float = 0.0
    """Duration of these epochs."""
    note: str = ""

    @property
    def epochs(self) -> int:
        """Epochs planned."""
        return int(self.entry.config["epochs"])

    @property
    def images(self) -> float:
        """Number of images per epoch; 0 for an untrained encoder."""
        return self.entry.steps * self.entry.config["batch_size"] / self.epochs if self.epochs else 0.0

    def left(self) -> float | None:
        """Return the estimated seconds left, or None if no pace is known."""
        if self.status != "running" or not self.epochs_here or self.epoch == self.epochs:
            return None
        return (time.monotonic() - self.since) / self.epochs_here * (self.epochs - self.epoch)

    def live(self) -> LiveTrial:
        """Return the trial's published state."""
        return LiveTrial(
            trial_id=self.entry.trial_id,
            name=self.entry.name,
            state=self.status,
            epoch=self.epoch,
            epochs=self.epochs,
            metrics={name: value for name, value in self.metrics.items() if value == value},
            attempt=self.attempt,
            left_seconds=self.left(),
            note=self.note,
        )


def seconds_left(states: Sequence[TrialProgress]) -> float | None:
    """Return the estimated seconds left, with the present number of concurrent trials; None until one was measured.

    A trial is extrapolated from its own pace, else from the time per image of other trials. An untrained encoder takes
    as long as the measured ones; if none was measured, its time is left out.
    """
    trained = [state for state in states if state.measured_epochs and state.epochs]
    images = sum(state.images * state.measured_epochs for state in trained)
    if not images:
        return None
    pace = sum(state.measured_seconds for state in trained) / images
    untrained = [state.measured_seconds for state in states if state.measured_epochs and not state.epochs]
    evaluation = sum(untrained) / len(untrained) if untrained else 0.0
    left = [_trial_seconds(state, pace, evaluation) for state in states if state.status in OPEN]
    at_once = max(1, sum(state.status == "running" for state in states))
    return max(sum(left) / at_once, max(left, default=0.0))


def _trial_seconds(state: TrialProgress, pace: float, evaluation: float) -> float:
    if not state.epochs:
        return evaluation
    measured = state.measured_seconds / state.measured_epochs if state.measured_epochs else pace * state.images
    return measured * (state.epochs - state.epoch)
