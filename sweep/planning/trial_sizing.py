"""What each trial of a plan runs on, and whether it recomputes activations."""

from collections.abc import Mapping
from dataclasses import dataclass

from sweep.planning.memory_budget import Room
from sweep.planning.plan import Plan
from sweep.planning.resources import concurrency, shared
from sweep.planning.trial import PlannedTrial
from sweep.planning.trial_shape import TrialShape


@dataclass(frozen=True)
class TrialSizing:
    """The shape that all trials of a run start from, and the memory that their workers find."""

    shape: TrialShape
    room: Room
    share_gpus: int
    """Trials of one worker that may share a GPU."""
    workers: int
    """Workers that the plan was made for."""

    def shape_of(self, trial: PlannedTrial) -> TrialShape:
        """Return what a trial runs on: a part of a GPU where it may share one."""
        return shared(self.shape, self.room.needed(trial, 1), self.share_gpus, self.room.available or 0)

    def recomputes(self, trial: PlannedTrial) -> bool:
        """Return whether a trial fits only with activation recomputation."""
        return self.room.recomputes(trial, self.workers)

    def concurrency(self, plan: Plan, resources: Mapping[str, float]) -> int:
        """Return how many trials of a plan fit at once, at least 1."""
        needed = self.room.most_needed(plan)
        return concurrency(self.shape, resources, self.share_gpus, available=self.room.available, needed=needed)
