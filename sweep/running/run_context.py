"""Context of one run of a sweep: the values that all of its parts share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sweep.console.stop_signals import GRACE_SECONDS
from sweep.planning.launch import Launch
from sweep.planning.memory_budget import MemoryBudget
from sweep.planning.plan import Plan
from sweep.planning.resources import TrialShape, concurrency, shared
from sweep.planning.trial import PlannedTrial
from sweep.records.lease import LeaseHolder
from sweep.records.sweep_storage import SweepStorage
from sweep.running.progress import Progress
from sweep.scheduling.budget import Budget
from sweep.scheduling.dispatcher import TrialLimits
from sweep.scheduling.task import HANG_SECONDS, TrialTask
from trainables.storage.deferred_writes import DeferredWrites
from trainables.storage.trial_files import TrialFiles

if TYPE_CHECKING:
    from sweep.tracking.tracker import Tracker


@dataclass(frozen=True)
class TrialSizing:
    """The shape that all trials of a run start from, and the memory that their workers find."""

    shape: TrialShape
    memory: MemoryBudget
    share_gpus: int
    """Trials of one worker that may share a GPU."""
    workers: int
    """Workers that the plan was made for."""

    def shape_of(self, trial: PlannedTrial) -> TrialShape:
        """Return what a trial runs on: a part of a GPU where it may share one."""
        return shared(self.shape, self.memory.needed(trial, 1), self.share_gpus, self.memory.available or 0)

    def recomputes(self, trial: PlannedTrial) -> bool:
        """Return whether a trial fits only with activation recomputation."""
        return self.memory.recomputes(trial, self.workers)

    def concurrency(self, plan: Plan, resources: Mapping[str, float]) -> int:
        """Return how many trials of a plan fit at once, at least 1."""
        needed = self.memory.most_needed(plan)
        return concurrency(self.shape, resources, self.share_gpus, available=self.memory.available, needed=needed)


@dataclass(frozen=True)
class RunOptions:
    """What a person may choose for one run of a sweep."""

    retry_failed: bool = False
    rules: TrialLimits = field(default_factory=TrialLimits)
    budget: Budget = field(default_factory=Budget)
    hang_seconds: float = HANG_SECONDS
    grace_seconds: float = GRACE_SECONDS
    """How long running epochs may go on after SIGTERM or SIGHUP."""


@dataclass(frozen=True)
class RunContext:
    """One run of a sweep: its name and storage, how it was started, what its trials run on, and who follows it."""

    name: str
    storage: SweepStorage
    launch: Launch
    options: RunOptions
    sizing: TrialSizing
    live: LeaseHolder
    progress: Progress
    tracker: "Tracker"
    from_python: bool = False
    """Whether it was called from Python."""
    backlog: DeferredWrites = field(default_factory=DeferredWrites)
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
