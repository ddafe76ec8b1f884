"""Plan of a search space: its trials, computed by pure functions that import neither torch nor ray."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

from sweep.planning.expansion import (
    Assignments,
    DrawCheck,
    check_trials,
    crossed,
    drawn,
    made_small,
    needs,
    planned,
    redrawn_notes,
    settings_of,
    with_baselines,
    with_best,
)
from sweep.planning.search import too_few_note, wanted_settings
from sweep.planning.smoke import made_tiny, shrink
from sweep.planning.space_check import check_metrics, check_stages, proposals
from sweep.planning.trial import DataSize, PlannedTrial
from sweep.planning.trial_names import named, varying_fields
from sweep.space import Best, Grid, Search, SearchSpace, Stage
from trainables.config import TrialConfig
from trainables.errors import BadInputError


@dataclass(frozen=True)
class PendingCounts:
    """Numbers of trials and baselines that searches will still add."""

    trials: int = 0
    baselines: int = 0
    examples: tuple[PlannedTrial, ...] = ()
    """Trials with the ends of each range and each choice of the searches."""

    def __bool__(self) -> bool:
        """Return whether any trial or baseline will be added."""
        return self.trials > 0


@dataclass(frozen=True)
class Plan:
    """Plan: a search space expanded to trials, as far as present results allow."""

    space: SearchSpace
    trials: tuple[PlannedTrial, ...]
    pending: tuple[Stage, ...]
    """Stages that wait for the results of earlier stages."""
    smoke: bool = False
    workers: int = 1
    assignments: Assignments = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """Notes for the user, about drawn settings that can't be trained."""
    to_come: PendingCounts = PendingCounts()
    """Trials that the searches will add, counted when the plan was made."""
    decided: Mapping[Best, Any] = field(default_factory=dict)
    """Values that results have decided so far."""

    @property
    def sweep_name(self) -> str:
        """Default name of the sweep."""
        return self.space.name + ("-smoke" if self.smoke else "")

    @property
    def digest(self) -> str:
        """Hash of the plan's content: sweeps of one name must have one digest."""
        listed = (trial.trial_id for trial in self.trials if trial.stage == 1 and trial.setting is None)
        lines = [self.space.name, str(self.smoke), *listed]
        lines += [repr(stage.search) for stage in self.space.stages if stage.search is not None]
        lines += [f"{key}={value}" for key, value in sorted(self.assignments.items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]

    @property
    def selected_on(self) -> str:
        """Split on which settings are selected; "nothing" if there is only one setting."""
        settings = [trial for trial in self.trials if trial.baseline is None]
        if not self.pending and not varying_fields([trial.config for trial in settings]):
            return "nothing"
        return "test" if self.space.objective.selects_on_test else "validation"

    @property
    def expanded(self) -> int:
        """Number of stages that don't wait for results; their searches may still add trials."""
        return len(self.space.stages) - len(self.pending)

    def of_stage(self, number: int) -> list[PlannedTrial]:
        """Return the trials of a stage (1-based), baselines first."""
        return [trial for trial in self.trials if trial.stage == number]

    def open_search(self, number: int) -> Search | None:
        """Return the search of a stage if its settings depend on results; else None."""
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
    """Return the plan of a space: all stages that need no results are expanded to trials.

    Args:
        space: The search space.
        assignments: Values by field that replace or vary fields of every trial.
        size_of: Returns the sizes of a data set by name.
        workers: Workers per trial.
        smoke: Whether the trials are reduced to a tiny size.

    Raises:
        BadInputError: One line for each fault of each trial.
    """
    check_stages(space, assignments)
    plan = Plan(space, (), tuple(space.stages), smoke, workers, assignments)
    while plan.pending and not needs(plan.pending[0], assignments):
        plan = extend(plan, {}, size_of=size_of)
    return plan


def extend(plan: Plan, decided: Mapping[Best, Any], *, size_of: Callable[[str], DataSize]) -> Plan:
    """Return the plan with its next pending stage expanded, using the decided values."""
    size_of = cache(size_of)  # once a data set, not once a trial
    stage = plan.pending[0]
    number = plan.expanded + 1
    if stage.search is not None:
        stage = replace(stage, search=replace(stage.search, base=with_best(stage.search.base, decided)))
    check = DrawCheck(partial(fault_of, size_of=size_of, workers=plan.workers))
    settings = settings_of(plan.space, stage, plan.assignments, check)
    found = [(grid, with_best(setting, decided)) for grid, setting in settings]
    if stage.search is not None and stage.search.method != "random":
        # Raises where none can be trained.
        drawn(plan.space, stage.search, 0, plan.assignments, DrawCheck(check.fault_of))
    trials = [
        replace(
            planned(TrialConfig.parse(setting), number, size_of),
            required=grid.required,
            method=grid.method,
            with_baselines=grid.with_baselines,
        )
        for grid, setting in found
    ]
    if plan.smoke:
        full = [setting for _, setting in found]
        small = shrink(
            full, plan.space, plan.assignments, size_of=size_of, workers=plan.workers, check=DrawCheck(check.fault_of)
        )
        trials = [made_small(trial, TrialConfig.parse(s)) for trial, s in zip(trials, small, strict=True)]
    notes = [*redrawn_notes(check.rejected), _repeats_note(stage, [grid for grid, _ in found])]
    check_metrics(plan.space, stage, trials, assignments=plan.assignments, size_of=size_of, shrunk=plan.smoke)
    known = {**plan.decided, **decided}
    grown = replace(plan, pending=plan.pending[1:], notes=(*plan.notes, *filter(None, notes)), decided=known)
    grown = _joined(grown, trials)
    return replace(grown, to_come=_to_come(grown, stage, size_of))


def _repeats_note(stage: Stage, grids: Sequence[Grid]) -> str:
    """Return the note about a search with fewer different settings than it is to draw; empty for others."""
    if stage.search is None:
        return ""
    too_few, settings = too_few_note(stage.search), stage.search.settings
    if stage.search.method != "random":
        return too_few
    listed = {id(grid) for grid in stage.grids}
    different = len({repr(grid.base) for grid in grids if id(grid) not in listed})
    if different == settings:
        return ""
    trained = "1 is trained" if different == 1 else f"{different:,} are trained"
    return f"{too_few or f'search: of {settings:,} drawn settings some are the same'}; {trained}"


def _to_come(plan: Plan, stage: Stage, size_of: Callable[[str], DataSize]) -> PendingCounts:
    """Return the numbers of trials and baselines that a stage's search will add to the plan."""
    if stage.search is None or stage.search.method == "random":
        return plan.to_come
    known = {trial.trial_id for trial in plan.trials}
    number = len(plan.space.stages) - len(plan.pending)
    samples = proposals(plan.space, stage.search, plan.assignments, size_of)
    examples = tuple(replace(trial, stage=number) for trial in samples)
    with_their_own = with_baselines(examples, plan.space)
    baselines = {trial.trial_id for trial in with_their_own if trial.baseline is not None} - known
    drawn = wanted_settings(stage.search) * len(plan.assignments.get("seed", plan.space.seeds))
    before = plan.to_come
    return PendingCounts(before.trials + drawn, before.baselines + len(baselines), (*before.examples, *examples))


def fault_of(setting: Mapping[str, Any], *, size_of: Callable[[str], DataSize], workers: int) -> str:
    """Return why a setting can't be trained; empty if it can, or if it depends on pending results."""
    if any(isinstance(value, Best) for value in setting.values()):
        return ""
    try:
        check_trials([planned(TrialConfig.parse(setting), 1, size_of)], workers)
    except BadInputError as error:
        return str(error).replace("\n", "; ")
    return ""


def propose(
    plan: Plan, stage: int, number: int, values: Mapping[str, Any], *, size_of: Callable[[str], DataSize]
) -> Plan:
    """Return the plan with setting `number` of a stage's search, one trial per seed; BadInputError as `make_plan`."""
    search = plan.space.stages[stage - 1].search
    assert search is not None
    grid = Grid(base={**search.base, **values})
    settings = [with_best(one, plan.decided) for one in crossed(plan.space, grid, {}, plan.assignments)]
    trials = [replace(planned(TrialConfig.parse(s), stage, size_of), setting=number) for s in settings]
    if plan.smoke:
        small = [TrialConfig.parse(made_tiny(setting, plan.workers)) for setting in settings]
        trials = [made_small(trial, config) for trial, config in zip(trials, small, strict=True)]
    return _joined(plan, trials)


def _joined(plan: Plan, trials: Sequence[PlannedTrial]) -> Plan:
    """Return the plan with further trials and their baselines; existing ones are not repeated."""
    known = {trial.trial_id for trial in plan.trials}
    trials = [trial for trial in with_baselines(trials, plan.space) if trial.trial_id not in known]
    check_trials(trials, plan.workers)
    searched = {name for stage in plan.space.stages if stage.search is not None for name in stage.search.over}
    return replace(plan, trials=named((*plan.trials, *trials), searched))


def count_pending(plan: Plan, stage: Stage) -> int:
    """Return the number of trials of a pending stage."""
    search = stage.search if stage.search is not None and stage.search.method != "random" else None
    more = 0 if search is None else wanted_settings(search) * len(plan.assignments.get("seed", plan.space.seeds))
    return len(list(settings_of(plan.space, stage, plan.assignments))) + more
