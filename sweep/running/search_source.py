"""Task source of a search: proposes settings as results arrive, and adds them to the plan."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from sweep.planning.dataset_sizes import size_of
from sweep.planning.expansion import MOST_DRAWS, RejectedDraw, redrawn_notes
from sweep.planning.plan import Plan, propose
from sweep.planning.search import ProposedSetting, ask, draw, wanted_settings
from sweep.planning.trial import PlannedTrial
from sweep.records.sweep_record import SweepRecord
from sweep.records.trial_result import HALVED
from sweep.running.run_context import RunContext
from sweep.scheduling.task import TrialTask
from sweep.space import Search
from trainables.errors import BadInputError

MOST_ASKED = 20
"""Maximum number of draws of the sampler for one setting."""


class SearchSource:
    """Task source of a stage with a search, which proposes one setting after the other."""

    def __init__(
        self, settings: range, propose: Callable[[int], list[TrialTask]], is_stopping: Callable[[], bool]
    ) -> None:
        """Create the source.

        Args:
            settings: Numbers of the settings to propose.
            propose: Returns the tasks of a setting by its number.
            is_stopping: Returns whether the sweep is ending.
        """
        self._settings, self._propose, self._is_stopping = settings, propose, is_stopping

    @property
    def exhausted(self) -> bool:
        """Whether all settings were proposed, or the sweep is ending."""
        return self._is_stopping() or not self._settings

    def ask(self) -> list[TrialTask]:
        """Return the tasks of the next setting."""
        number, self._settings = self._settings[0], self._settings[1:]
        return self._propose(number)


def settings_left(plan: Plan, stage: int) -> range | None:
    """Return the numbers of a search's settings that weren't proposed yet; None without an open search."""
    search = plan.open_search(stage)
    return None if search is None else range(1 + max(_proposed(plan, stage), default=-1), wanted_settings(search))


def with_proposed(context: RunContext, plan: Plan, stage: int, number: int) -> Plan:
    """Return the plan with setting `number` of a stage's search, chosen from the results so far.

    A draw that can't be trained is noted, reported to the sampler and replaced; one that repeats an earlier setting is
    replaced too. If the sampler finds none, the setting is drawn at random; if that finds no new one either, a note is
    said and the plan returned unchanged.

    Raises:
        BadInputError: No random draw can be trained either.
    """
    search = plan.open_search(stage)
    assert search is not None
    tried, direction = _tried(context, plan, stage, search), plan.space.objective.direction
    refused: list[RejectedDraw] = []
    repeats = 0
    try:
        while (draws := len(refused) + repeats) <= MOST_DRAWS:
            if draws < MOST_ASKED:
                values = ask(search, number, tried, direction, [drawn for drawn, _ in refused], repeats)
            else:
                values = draw(search, number, draws)
            try:
                grown = propose(plan, stage, number, values, size_of=size_of)
                context.sizing.memory.check(replace(grown, trials=grown.trials[len(plan.trials) :]))
            except BadInputError as error:
                fault = str(error).replace("\n", "; ")
                if len(refused) == MOST_DRAWS:
                    raise BadInputError(f"search: no setting found that can be trained; the last: {fault}") from error
                refused.append((values, fault))
            else:
                # The settings of a smoke run are alike by design.
                if len(grown.trials) > len(plan.trials) or plan.smoke:
                    return grown
                repeats += 1
    finally:
        for line in redrawn_notes(refused):
            context.progress.say(line)
    context.progress.say(f"search: setting {number + 1} is left out: {MOST_DRAWS} draws gave no new one to train")
    return plan


def with_earlier_proposals(plan: Plan, before: SweepRecord | None) -> Plan:
    """Return the plan with the settings that the searches of its expanded stages proposed in earlier runs."""
    entries = () if before is None else before.trials
    proposed = {(e.stage, e.setting): e for e in entries if e.setting is not None and e.stage <= plan.expanded}
    for (stage, number), entry in sorted(proposed.items()):
        search = plan.open_search(stage)
        if search is not None:
            values = {name: {**entry.config, **entry.stands_for}[name] for name in search.over}
            plan = propose(plan, stage, number, values, size_of=size_of)
    return plan


def _proposed(plan: Plan, stage: int) -> list[int]:
    return [trial.setting for trial in plan.trials if trial.stage == stage and trial.setting is not None]


def _tried(context: RunContext, plan: Plan, stage: int, search: Search) -> list[ProposedSetting]:
    """Return the settings proposed so far, in their order."""
    stopped = context.storage.stopped(context.name)
    tried = []
    for number in range(1 + max(_proposed(plan, stage), default=-1)):
        trials = [t for t in plan.trials if (t.stage, t.setting, t.baseline) == (stage, number, None)]
        if not trials:  # its trials were in the plan before
            continue
        full = {**trials[0].config.model_dump(), **trials[0].stands_for}
        values = {name: full[name] for name in search.over}
        tried.append(
            _halved(context, plan, stage, values, trials, stopped)
            or ProposedSetting(values, _mean(context, plan, trials, stopped))
        )
    return tried


def _halved(
    context: RunContext,
    plan: Plan,
    stage: int,
    values: Mapping[str, Any],
    trials: Sequence[PlannedTrial],
    stopped: Mapping[str, str],
) -> ProposedSetting | None:
    """Return a setting that halving ended, with the mean of its metric at the rung; None for other settings."""
    halving = plan.space.stages[stage - 1].halving
    if halving is None or not any(stopped.get(trial.trial_id, "").startswith(HALVED) for trial in trials):
        return None
    epochs = [own for trial in trials if (own := context.files_of(trial.trial_id).epochs())]
    rung = min((own[-1].epoch for own in epochs), default=0)
    reached = [own[rung - 1].metrics.get(halving.metric, math.nan) for own in epochs]
    return ProposedSetting(values, fmean(reached) if reached else math.nan, rung)


def _mean(context: RunContext, plan: Plan, trials: Sequence[PlannedTrial], stopped: Mapping[str, str]) -> float | None:
    """Return the mean objective of a setting's trials; NaN if one of them failed, None while one is pending."""
    results = [_result(context, plan.space.objective.metric, trial.trial_id, stopped) for trial in trials]
    return None if None in results else fmean(result for result in results if result is not None)


def _result(context: RunContext, metric: str, trial_id: str, stopped: Mapping[str, str]) -> float | None:
    """Return a trial's final metric; NaN if it failed or was stopped, None while it is pending."""
    metrics = context.final_metrics(trial_id)
    if metrics is not None:
        return metrics.get(metric, math.nan)
    over = trial_id in stopped or context.files_of(trial_id).failure() is not None
    return math.nan if over else None
