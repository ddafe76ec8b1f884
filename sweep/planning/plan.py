"""From a space to its trials: pure functions of values, which start nothing and import neither torch nor ray."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from sweep.planning.expansion import (
    Assignments,
    check_trials,
    crossed,
    made_small,
    needs,
    planned,
    settings_of,
    with_baselines,
    with_best,
)
from sweep.planning.smoke import made_tiny, shrink
from sweep.planning.trial import DataSize, PlannedTrial
from sweep.planning.trial_names import named, varying_fields
from sweep.space import Best, Grid, Search, SearchSpace, Stage
from trainables.config import SimCLRConfig


@dataclass(frozen=True)
class Plan:
    """A space expanded as far as it can be."""

    space: SearchSpace
    trials: tuple[PlannedTrial, ...]
    pending: tuple[Stage, ...]
    """Stages that are decided by the results of those before."""
    smoke: bool = False
    workers: int = 1
    assignments: Assignments = field(default_factory=dict)

    @property
    def sweep_name(self) -> str:
        """What its sweep is called unless a person says otherwise."""
        return self.space.name + ("-smoke" if self.smoke else "")

    @property
    def digest(self) -> str:
        """A hash of what this plan will run: two sweeps of one name have one digest."""
        listed = (trial.trial_id for trial in self.trials if trial.stage == 1 and trial.setting is None)
        lines = [self.space.name, str(self.smoke), *listed]
        lines += [repr(stage.search) for stage in self.space.stages if stage.search is not None]
        lines += [f"{key}={value}" for key, value in sorted(self.assignments.items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]

    @property
    def selected_on(self) -> str:
        """The split that settings are selected on; "nothing" where there is only one."""
        settings = [trial for trial in self.trials if trial.baseline is None]
        if not self.pending and not varying_fields([trial.config for trial in settings]):
            return "nothing"
        return "test" if self.space.objective.selects_on_test else "validation"

    def of_stage(self, number: int) -> list[PlannedTrial]:
        """Return the trials of a stage (1-based), baselines first."""
        return [trial for trial in self.trials if trial.stage == number]

    def open_search(self, number: int) -> Search | None:
        """Return the search of a stage whose settings are decided as results come, or None."""
        search = self.space.stages[number - 1].search
        return search if search is not None and search.method != "random" else None


def make_plan(
    space: SearchSpace,
    *,
    assignments: Assignments,
    size_of: Callable[[str], DataSize],
    workers: int = 1,
    smoke: bool = False,
) -> Plan:
    """Expand the stages that need no result; raises BadInputError that lists every fault of every trial."""
    plan = Plan(space, (), tuple(space.stages), smoke, workers, assignments)
    while plan.pending and not needs(plan.pending[0], assignments):
        plan = extend(plan, {}, size_of=size_of)
    return plan


def extend(plan: Plan, decided: Mapping[Best, Any], *, size_of: Callable[[str], DataSize]) -> Plan:
    """Expand the next pending stage with the decided values."""
    size_of = cache(size_of)  # once a data set, not once a trial
    stage = plan.pending[0]
    number = len(plan.space.stages) - len(plan.pending) + 1
    found = [(grid, with_best(setting, decided)) for grid, setting in settings_of(plan.space, stage, plan.assignments)]
    trials = [
        replace(
            planned(SimCLRConfig.parse(setting), number, size_of),
            required=grid.required,
            method=grid.method,
            with_baselines=grid.with_baselines,
        )
        for grid, setting in found
    ]
    if plan.smoke:
        settings = [setting for _, setting in found]
        small = shrink(settings, plan.space, plan.assignments, size_of=size_of, workers=plan.workers)
        trials = [made_small(trial, SimCLRConfig.parse(s)) for trial, s in zip(trials, small, strict=True)]
    return _joined(replace(plan, pending=plan.pending[1:]), trials)


def propose(
    plan: Plan, stage: int, number: int, values: Mapping[str, Any], *, size_of: Callable[[str], DataSize]
) -> Plan:
    """Return the plan with setting `number` of a stage's search, a trial a seed; BadInputError as `make_plan`."""
    search = plan.space.stages[stage - 1].search
    assert search is not None
    grid = Grid(base={**search.base, **values})
    settings = list(crossed(plan.space, grid, {}, plan.assignments))
    trials = [replace(planned(SimCLRConfig.parse(s), stage, size_of), setting=number) for s in settings]
    if plan.smoke:
        small = [SimCLRConfig.parse(made_tiny(setting, plan.workers)) for setting in settings]
        trials = [made_small(trial, config) for trial, config in zip(trials, small, strict=True)]
    return _joined(plan, trials)


def _joined(plan: Plan, trials: Sequence[PlannedTrial]) -> Plan:
    """Return the plan with more trials and their baselines, those left out that it has already."""
    known = {trial.trial_id for trial in plan.trials}
    trials = [trial for trial in with_baselines(trials, plan.space) if trial.trial_id not in known]
    check_trials(trials, plan.workers)
    searched = {name for stage in plan.space.stages if stage.search is not None for name in stage.search.over}
    return replace(plan, trials=named((*plan.trials, *trials), searched))


def count_pending(plan: Plan, stage: Stage) -> int:
    """Return how many trials a pending stage will have."""
    search = stage.search if stage.search is not None and stage.search.method != "random" else None
    drawn = 0 if search is None else search.settings * len(plan.assignments.get("seed", plan.space.seeds))
    return len(list(settings_of(plan.space, stage, plan.assignments))) + drawn
