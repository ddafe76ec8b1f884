"""The settings that a stage's search proposes as results come, and how the plan grows by them."""

import math
from collections.abc import Callable, Mapping
from statistics import fmean

from sweep.planning.dataset_sizes import size_of
from sweep.planning.plan import Plan, propose
from sweep.planning.search import Tried, ask
from sweep.records.sweep_record import SweepRecord
from sweep.running.run_context import RunContext
from sweep.scheduling.task import TrialTask
from sweep.space import Search


class SearchSource:
    """The dispatcher's Source in a stage with a search: setting after setting."""

    def __init__(
        self, settings: range, propose: Callable[[int], list[TrialTask]], is_stopping: Callable[[], bool]
    ) -> None:
        """Take the numbers of the settings to come, what makes the tasks of one, and whether the sweep ends."""
        self._settings, self._propose, self._is_stopping = settings, propose, is_stopping

    @property
    def exhausted(self) -> bool:
        """Whether every setting was proposed, or the sweep ends."""
        return self._is_stopping() or not self._settings

    def ask(self) -> list[TrialTask]:
        """Return the tasks of the next setting."""
        number, self._settings = self._settings[0], self._settings[1:]
        return self._propose(number)


def settings_left(plan: Plan, stage: int) -> range | None:
    """Return the numbers of the settings that a stage's search hasn't proposed yet; None without an open search."""
    search = plan.open_search(stage)
    return None if search is None else range(1 + max(_proposed(plan, stage), default=-1), search.settings)


def with_proposed(context: RunContext, plan: Plan, stage: int, number: int) -> Plan:
    """Return the plan with setting `number` of a stage's search, chosen after the results so far."""
    search = plan.open_search(stage)
    assert search is not None
    values = ask(search, number, _tried(context, plan, stage, search), plan.space.objective.direction)
    return propose(plan, stage, number, values, size_of=size_of)


def with_earlier_proposals(plan: Plan, before: SweepRecord | None) -> Plan:
    """Return the plan with the settings that the search proposed when the sweep ran before."""
    proposed = {e.setting: e for e in before.trials if e.setting is not None} if before is not None else {}
    for number, entry in sorted(proposed.items()):
        search = plan.open_search(entry.stage) if entry.stage <= len(plan.space.stages) else None
        if search is not None:
            values = {name: {**entry.config, **entry.stands_for}[name] for name in search.over}
            plan = propose(plan, entry.stage, number, values, size_of=size_of)
    return plan


def _proposed(plan: Plan, stage: int) -> list[int]:
    return [trial.setting for trial in plan.trials if trial.stage == stage and trial.setting is not None]


def _tried(context: RunContext, plan: Plan, stage: int, search: Search) -> list[Tried]:
    """Return the settings proposed so far, in their order."""
    stopped = context.storage.stopped(context.name)
    tried = []
    for number in range(1 + max(_proposed(plan, stage), default=-1)):
        trials = [t for t in plan.trials if (t.stage, t.setting, t.baseline) == (stage, number, None)]
        if not trials:  # its trials were in the plan before
            continue
        full = {**trials[0].config.model_dump(), **trials[0].stands_for}
        results = [_result(context, plan.space.objective.metric, trial.trial_id, stopped) for trial in trials]
        value = None if None in results else fmean(result for result in results if result is not None)
        tried.append(Tried({name: full[name] for name in search.over}, value))
    return tried


def _result(context: RunContext, metric: str, trial_id: str, stopped: Mapping[str, str]) -> float | None:
    """Return a trial's final metric; NaN when there won't be one, None while it may come."""
    metrics = context.final_metrics(trial_id)
    if metrics is not None:
        return metrics.get(metric, math.nan)
    over = trial_id in stopped or context.files_of(trial_id).failure() is not None
    return math.nan if over else None
