"""Runs a plan: stage by stage on Ray, each trial recorded and shown in MLflow as it goes."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from sweep.planning.dataset_sizes import size_of
from sweep.planning.expansion import needs
from sweep.planning.launch import Launch
from sweep.planning.plan import Plan, extend, propose
from sweep.planning.search import Tried, ask
from sweep.planning.stage_selection import decide
from sweep.planning.trial import PlannedTrial
from sweep.planning.trial_shape import TrialShape
from sweep.records.lease import EVERYTHING, Live
from sweep.records.sweep_record import SweepRecord, TrialEntry, describe
from sweep.records.sweep_storage import SweepStorage
from sweep.running.progress import Progress
from sweep.running.provenance import command_line, git_commit, versions
from sweep.running.trial_events import Desk
from sweep.scheduling.budget import Budget, spent
from sweep.scheduling.dispatcher import Dispatcher, Rules
from sweep.scheduling.halving import Rungs
from sweep.scheduling.task import HANG_SECONDS, TrialTask
from sweep.space import Search
from sweep.tracking.runs import TrialFacts
from trainables.data.catalog import prepared, store_address
from trainables.errors import StorageAwayError

if TYPE_CHECKING:
    from sweep.tracking.tracker import Tracker

TICK_SECONDS = 0.5
CATCH_UP_SECONDS = 600.0
"""How long the end of a sweep waits for a storage that is away."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What a person may choose for one run of a sweep."""

    retry_failed: bool = False
    rules: Rules = field(default_factory=Rules)
    budget: Budget = field(default_factory=Budget)
    hang_seconds: float = HANG_SECONDS


class Execution:
    """One run of a sweep: where it writes, what its trials run on, who is told."""

    def __init__(
        self,
        name: str,
        storage: SweepStorage,
        shape_of: Callable[[PlannedTrial], TrialShape],
        recomputes: Callable[[PlannedTrial], bool],
        tracker: "Tracker",
        progress: Progress,
        live: Live,
        launch: Launch,
        options: Options,
    ) -> None:
        self.name, self.storage, self._tracker = name, storage, tracker
        self._shape_of, self._recomputes = shape_of, recomputes
        self._progress, self._live, self._launch, self._options = progress, live, launch, options
        self._desk = Desk(name, storage, tracker, progress, live)
        self._earlier_hours, self._trained = 0.0, set[str]()
        self._stopped: dict[str, str] = {}
        self._planned: dict[str, PlannedTrial] = {}
        self.stopping = ""
        """Why the sweep ended before its time; empty when it didn't."""

    def run(self, plan: Plan) -> str:
        """Run every stage; return finished, failed (a trial failed, or a stage couldn't be decided) or stopped.

        Trials that were finished before are not trained again.
        """
        plan = self._with_earlier_proposals(plan)
        record = self._keep(plan)
        self._tracker.start_sweep(record)
        self._stopped = self._forget_stops(record) if self._options.retry_failed else self.storage.stopped(self.name)
        self._earlier_hours, self._trained = spent(self.storage, self.name, record.trials)
        self._live.show(lambda: self._progress.live_state(self.device_hours(), self.stopping))
        stage = 1
        while True:
            plan = self._run_stage(plan, stage)
            if self.stopping:
                return "stopped"
            if not plan.of_stage(stage + 1):
                following = self._decide(plan)
                if following is None:
                    return self._status(plan)
                plan = following
            stage += 1

    def close(self) -> str:
        """Write what is still to be written; return what is missing, for a person, or nothing."""
        try:
            self._desk.close(CATCH_UP_SECONDS)
        except StorageAwayError as error:
            return str(error)
        return ""

    def device_hours(self) -> float:
        """Return what the sweep cost, in GPU-hours, or worker-hours where there are no GPUs."""
        return self._earlier_hours + self._desk.device_hours()

    def _status(self, plan: Plan) -> str:
        record = self._keep(plan)
        over = all(
            self.storage.trial_of(entry).final() is not None or entry.trial_id in self.storage.stopped(self.name)
            for entry in record.trials
        )
        return "finished" if over and not record.pending else "failed"

    def _keep(self, plan: Plan) -> SweepRecord:
        """Write the sweep's record as the plan now stands."""
        record = describe(
            plan,
            name=self.name,
            command=command_line(),
            commit=git_commit(),
            versions=versions(),
            launch=self._launch,
        )
        before = self.storage.sweep(self.name)
        if before is not None:  # how it was first started stays
            record = record.model_copy(update={"command": before.command})
        self.storage.write_sweep(record)
        self._planned = {trial.trial_id: trial for trial in plan.trials}
        self._desk.expect(record.trials)
        self._progress.add(record.trials)
        return record

    def _with_earlier_proposals(self, plan: Plan) -> Plan:
        """Return the plan with the settings that the search proposed when the sweep ran before."""
        before = self.storage.sweep(self.name)
        proposed = {e.setting: e for e in before.trials if e.setting is not None} if before is not None else {}
        for number, entry in sorted(proposed.items()):
            search = plan.open_search(entry.stage) if entry.stage <= len(plan.space.stages) else None
            if search is not None:
                values = {name: {**entry.config, **entry.stands_for}[name] for name in search.over}
                plan = propose(plan, entry.stage, number, values, size_of=size_of)
        return plan

    def _forget_stops(self, record: SweepRecord) -> dict[str, str]:
        for entry in record.trials:
            self.storage.forget_stopped(self.name, entry.trial_id)
        return {}

    # One stage

    def _run_stage(self, plan: Plan, stage: int) -> Plan:
        """Run what is left of a stage; return the plan with what its search proposed."""
        from sweep.cluster.tune_bridge import run_trials

        record = self._keep(plan)
        searcher = _Searcher(self, plan, stage)
        entries = [entry for entry in record.trials if entry.stage == stage]
        dispatcher = Dispatcher(
            self._within_budget(self._tasks(entries)),
            self._desk,
            rules=self._options.rules,
            source=searcher if plan.open_search(stage) is not None else None,
            judge=self._rungs(plan, entries),
        )
        self._tick_at = 0.0
        if not dispatcher.over:
            try:
                run_trials(
                    dispatcher, log_dir=self.storage.log_folder(self.name), tick=lambda: self._tick(dispatcher, record)
                )
            finally:
                self.stopping = self.stopping or dispatcher.stopping
        return searcher.plan

    def _tasks(self, entries: Sequence[TrialEntry]) -> list[TrialTask]:
        """Return what has to run, and tell of what doesn't."""
        waiting = []
        for entry in entries:
            failure = self.storage.trial_of(entry).failure()
            if self._desk.reuse(entry):
                continue
            if entry.trial_id in self._stopped:
                self._progress.left_stopped(entry, self._stopped[entry.trial_id])
                self._tracker.project_trial(TrialFacts.of(entry, self.storage), "stopped")
            elif failure is not None and not self._options.retry_failed:
                self._progress.left_failed(entry, failure)
                self._tracker.project_trial(TrialFacts.of(entry, self.storage), "failed")
            else:
                waiting.append(self._task(entry))
        return waiting

    def _within_budget(self, tasks: Sequence[TrialTask]) -> list[TrialTask]:
        """Return the tasks that the budget of trials allows; what it doesn't ends the sweep after them."""
        limit = self._options.budget.trials
        if limit is None:
            return list(tasks)
        allowed = []
        for task in tasks:
            if task.trial_id in self._trained or len(self._trained) < limit:
                self._trained.add(task.trial_id)
                allowed.append(task)
            else:
                self.stopping = f"budget of {limit} trials reached"
        return allowed

    def _rungs(self, plan: Plan, entries: Sequence[TrialEntry]) -> Rungs | None:
        halving = plan.space.stages[entries[0].stage - 1].halving if entries else None
        if halving is None:
            return None
        exempt = {entry.trial_id for entry in entries if entry.required or entry.baseline is not None}
        rungs = Rungs(halving, plan.space.objective.direction, exempt)
        for entry in entries:
            if entry.baseline is None:
                rungs.learn(entry.trial_id, self.storage.trial_of(entry).epochs())
        return rungs

    def _tick(self, dispatcher: Dispatcher, record: SweepRecord) -> None:
        """Look at the budget, and at what a person asked for."""
        now = time.monotonic()
        if now < self._tick_at:
            return
        self._tick_at = now + TICK_SECONDS
        if exceeded := self._options.budget.exceeded(self.device_hours()):
            dispatcher.stop(exceeded)
        if taken := self._live.taken_over:
            dispatcher.stop(f"taken over by {taken}")
        for what in self._live.asked_to_stop():
            if what == EVERYTHING:
                dispatcher.stop("asked to stop")
            else:
                dispatcher.stop_trial(what, "asked to stop")
        if dispatcher.stopping and not self.stopping:
            self.stopping = dispatcher.stopping
            self._progress.say(
                f"{self.stopping}: running trials end after their epoch; resume with --resume {self.name}"
            )

    def _task(self, entry: TrialEntry) -> TrialTask:
        dataset, evaluated = entry.config["dataset"], entry.config["evaluation_dataset"]
        planned = self._planned[entry.trial_id]
        return TrialTask(
            trial_id=entry.trial_id,
            name=entry.name,
            config=entry.config,
            store_address=store_address(dataset),
            fingerprint=prepared(dataset).fingerprint,
            evaluation_address=store_address(evaluated) if evaluated else "",
            evaluation_fingerprint=prepared(evaluated).fingerprint if evaluated else "",
            files_address=self.storage.trial_of(entry).storage.address(),
            shape=self._shape_of(planned),
            recompute=self._recomputes(planned),
            hang_seconds=self._options.hang_seconds,
        )

    # What results decide

    def propose(self, plan: Plan, stage: int, search: Search, number: int) -> tuple[Plan, list[TrialTask]]:
        """Return the plan with the search's setting `number`, and its tasks: none where the plan has them already."""
        values = ask(search, number, self._tried(plan, stage, search), plan.space.objective.direction)
        known = {trial.trial_id for trial in plan.trials}
        plan = propose(plan, stage, number, values, size_of=size_of)
        record = self._keep(plan)
        tasks = self._tasks([entry for entry in record.trials if entry.trial_id not in known])
        return plan, self._within_budget(tasks)

    def _tried(self, plan: Plan, stage: int, search: Search) -> list[Tried]:
        """Return the settings proposed so far, in their order."""
        stopped = self.storage.stopped(self.name)
        numbers = [t.setting for t in plan.trials if t.stage == stage and t.setting is not None]
        tried = []
        for number in range(1 + max(numbers, default=-1)):
            trials = [t for t in plan.trials if (t.stage, t.setting, t.baseline) == (stage, number, None)]
            if not trials:  # its trials were in the plan before
                continue
            full = {**trials[0].config.model_dump(), **trials[0].stands_for}
            results = [self._result(plan, trial.trial_id, stopped) for trial in trials]
            value = None if None in results else fmean(result for result in results if result is not None)
            tried.append(Tried({name: full[name] for name in search.over}, value))
        return tried

    def _result(self, plan: Plan, trial_id: str, stopped: Mapping[str, str]) -> float | None:
        """Return the final objective; NaN when there won't be one, None while it may come."""
        metrics = self._final_metrics(trial_id)
        if metrics is not None:
            return metrics.get(plan.space.objective.metric, math.nan)
        over = trial_id in stopped or self.storage.trial(self._folder(trial_id)).failure() is not None
        return math.nan if over else None

    def _decide(self, plan: Plan) -> Plan | None:
        """Return the plan with its next stage, or None when there is none or nothing decides it."""
        if not plan.pending:
            return None
        progress = self._progress
        wanted = needs(plan.pending[0], plan.assignments)
        decided = decide(wanted, plan.trials, plan.space.objective, self._final_metrics)
        missing = [best for best in wanted if best not in decided]
        if missing:
            what = ", ".join(f"{best.field} of {best.dataset}" for best in missing)
            progress.say(f"{plan.pending[0].name}: not run, no finished trial decides {what}")
            return None
        for best, value in decided.items():
            progress.say(f"{plan.pending[0].name}: {best.field} {value:g}, the best of {best.dataset}")
        return extend(plan, decided, size_of=size_of)

    def _folder(self, trial_id: str) -> str:
        return f"{trial_id}-{self.name}" if self._launch.no_reuse else trial_id

    def _final_metrics(self, trial_id: str) -> Mapping[str, float] | None:
        files = self.storage.trial(self._folder(trial_id))
        return files.epochs()[-1].metrics if files.final() is not None else None


class _Searcher:
    """The Source of a stage's search, and the plan that grows with it."""

    def __init__(self, execution: Execution, plan: Plan, stage: int) -> None:
        self.plan = plan
        self._execution, self._stage = execution, stage
        self._search = plan.open_search(stage)
        self._next = 1 + max([t.setting for t in plan.trials if t.stage == stage and t.setting is not None], default=-1)

    @property
    def exhausted(self) -> bool:
        """Whether every setting was proposed, or the sweep ends."""
        return self._search is None or bool(self._execution.stopping) or self._next >= self._search.settings

    def ask(self) -> list[TrialTask]:
        """Return the tasks of the next setting."""
        assert self._search is not None
        number, self._next = self._next, self._next + 1
        self.plan, tasks = self._execution.propose(self.plan, self._stage, self._search, number)
        return tasks


def changes(before: SweepRecord, plan: Plan) -> list[str]:
    """Return how a plan differs from a sweep's record, a line a difference, as in a diff."""
    lines = [] if before.space == plan.space.name else [f"- space {before.space}", f"+ space {plan.space.name}"]
    old = {entry.trial_id: entry.name for entry in before.trials if entry.setting is None}
    new = {trial.trial_id: trial.name for trial in plan.trials if trial.setting is None}
    # Those of stages that results decide aren't in a new plan yet.
    later = {entry.trial_id for entry in before.trials if entry.stage > 1} if plan.pending else set()
    lines += [f"- {name} ({trial_id})" for trial_id, name in old.items() if trial_id not in new.keys() | later]
    lines += [f"+ {name} ({trial_id})" for trial_id, name in new.items() if trial_id not in old]
    return lines
