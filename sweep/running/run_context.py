"""Context of one run of a sweep: the values that all of its parts share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sweep.console.stop_signals import GRACE_SECONDS
from sweep.planning.launch import LaunchOptions
from sweep.planning.memory_budget import MemoryBudget
from sweep.planning.plan import Plan
from sweep.planning.resources import TrialShape, concurrency, shared
from sweep.planning.trial import PlannedTrial
from sweep.records.lease import LeaseHolder
from sweep.records.sweep_storage import SweepStorage
from sweep.running.progress import ProgressDisplay
from sweep.scheduling.budget import SweepBudget
from sweep.scheduling.dispatcher import TrialLimits
from sweep.scheduling.task import HANG_SECONDS, TrialTask
from trainables.storage.deferred_writes import DeferredWrites
from trainables.storage.trial_files import TrialFiles

if TYPE_CHECKING:
    from sweep.tracking.tracker import SweepTracker


@dataclass(frozen=True)
class TrialSizing:
    """Resources of a run's trials: the common shape, and the memory available to their workers."""

    shape: TrialShape
    memory: MemoryBudget
    share_gpus: int
    """Maximum number of one-worker trials that share a GPU."""
    workers: int
    """Workers per trial that the plan was made for."""

    def shape_of(self, trial: PlannedTrial) -> TrialShape:
        """Return the shape of a trial, with a fraction of a GPU if it may share one."""
        return shared(self.shape, self.memory.needed(trial, 1), self.share_gpus, self.memory.available or 0)

    def recomputes(self, trial: PlannedTrial) -> bool:
        """Return whether a trial fits only with activation recomputation."""
        return self.memory.recomputes(trial, self.workers)

    def concurrency(self, plan: Plan, resources: Mapping[str, float]) -> int:
        """Return the number of trials of a plan that fit at once, at least 1."""
        needed = self.memory.most_needed(plan)
        return concurrency(self.shape, resources, self.share_gpus, available=self.memory.available, needed=needed)


@dataclass(frozen=True)
class RunOptions:
    """Options of one run of a sweep: retries, limits, budget and times."""

    retry_failed: bool = False
    rules: TrialLimits = field(default_factory=TrialLimits)
    budget: SweepBudget = field(default_factory=SweepBudget)
    hang_seconds: float = HANG_SECONDS
    grace_seconds: float = GRACE_SECONDS
    """Seconds that running epochs may continue after SIGTERM or SIGHUP."""
    strict: bool = False
    """Whether leaks between pretraining images and test images are refused, also of stages planned later."""


@dataclass(frozen=True)
class RunContext:
    """Context of one run of a sweep: name, storage, launch, options, resources and listeners."""

    name: str
    storage: SweepStorage
    launch: LaunchOptions
    options: RunOptions
    sizing: TrialSizing
    live: LeaseHolder
    progress: ProgressDisplay
    tracker: "SweepTracker"
    from_python: bool = False
    """Whether the run was started from Python."""
    backlog: DeferredWrites = field(default_factory=DeferredWrites)
    """Deferred writes while the storage is unreachable."""

    def files_of(self, trial_id: str) -> TrialFiles:
        """Return the files of a planned trial; without reuse they belong to this sweep alone."""
        return self.storage.trial(f"{trial_id}-{self.name}" if self.launch.no_reuse else trial_id)

    def final_metrics(self, trial_id: str) -> Mapping[str, float] | None:
        """Return the metrics of a trial's last epoch, or None while it isn't finished."""
        files = self.files_of(trial_id)
        return files.epochs()[-1].metrics if files.final() is not None else None

    def log_of(self, task: TrialTask) -> Path:
        """Return the local file for a trial's tracebacks."""
        return self.storage.log_folder(self.name) / f"{task.name}.log"
