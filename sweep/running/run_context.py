"""What one run of a sweep consists of, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sweep.planning.launch import Launch
from sweep.planning.trial_sizing import TrialSizing
from sweep.records.lease import Live
from sweep.records.sweep_storage import SweepStorage
from sweep.running.progress import Progress
from sweep.scheduling.budget import Budget
from sweep.scheduling.dispatcher import Rules
from sweep.scheduling.task import HANG_SECONDS, TrialTask
from trainables.storage.deferred_writes import Backlog
from trainables.storage.trial_files import TrialFiles

if TYPE_CHECKING:
    from sweep.tracking.tracker import Tracker


@dataclass(frozen=True)
class RunOptions:
    """What a person may choose for one run of a sweep."""

    retry_failed: bool = False
    rules: Rules = field(default_factory=Rules)
    budget: Budget = field(default_factory=Budget)
    hang_seconds: float = HANG_SECONDS


@dataclass(frozen=True)
class RunContext:
    """One run of a sweep: its name and storage, how it was started, what its trials run on, and who follows it."""

    name: str
    storage: SweepStorage
    launch: Launch
    options: RunOptions
    sizing: TrialSizing
    live: Live
    progress: Progress
    tracker: "Tracker"
    backlog: Backlog = field(default_factory=Backlog)
    """Writes that wait for the storage while it is away."""

    def files_of(self, trial_id: str) -> TrialFiles:
        """Return the files of a planned trial: of this sweep alone where nothing is reused."""
        return self.storage.trial(f"{trial_id}-{self.name}" if self.launch.no_reuse else trial_id)

    def final_metrics(self, trial_id: str) -> Mapping[str, float] | None:
        """Return the metrics of a trial's last epoch, or None while it isn't finished."""
        files = self.files_of(trial_id)
        return files.epochs()[-1].metrics if files.final() is not None else None

    def log_of(self, task: TrialTask) -> Path:
        """Return the local file of the tracebacks of a trial."""
        return self.storage.log_folder(self.name) / f"{task.name}.log"
