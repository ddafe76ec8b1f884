"""Budget of a sweep, and the costs so far."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trainables.errors import BadInputError

if TYPE_CHECKING:
    from sweep.records.sweep_record import TrialEntry
    from sweep.records.sweep_storage import SweepStorage


@dataclass(frozen=True)
class SweepBudget:
    """Budget of a sweep: limits of device-hours, wall time and trials; None: no limit."""

    device_hours: float | None = None
    """GPU-hours (worker-hours on CPUs) over all runs of the sweep."""
    wall_hours: float | None = None
    """Hours of this run."""
    trials: int | None = None
    """Trained trials over all runs of the sweep; reused finished trials don't count."""
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        for name, value in (("gpu-hours", self.device_hours), ("wall-hours", self.wall_hours), ("trials", self.trials)):
            if value is not None and not 0 < value < math.inf:
                raise BadInputError(f"--{name}: must be above 0, got {value:g}")

    def exceeded(self, device_hours: float) -> str:
        """Return in words the limit that is reached; empty if none is."""
        if self.device_hours is not None and device_hours >= self.device_hours:
            return f"budget of {self.device_hours:g} GPU-hours reached"
        if self.wall_hours is not None and time.monotonic() - self.began >= 3600 * self.wall_hours:
            return f"budget of {self.wall_hours:g} hours reached"
        return ""


def spent(storage: "SweepStorage", name: str, entries: "Iterable[TrialEntry]") -> tuple[float, set[str]]:
    """Return the device-hours of a sweep's earlier runs, and the ids of the trials that they trained."""
    hours, trained = 0.0, set()
    for entry in entries:
        for attempt in storage.trial_of(entry).attempts():
            if attempt.sweep == name:
                hours += attempt.hours
                trained.add(entry.trial_id)
    return hours, trained
