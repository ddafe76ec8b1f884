"""Loop over a plan's stages: runs each on Ray, extends the plan from its results, and writes the sweep's record."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sweep.comparison.ranking import setting_key
from sweep.comparison.wording import spelled
from sweep.planning.dataset_sizes import size_of
from sweep.planning.expansion import needs
from sweep.planning.plan import Plan, extend
from sweep.planning.stage_selection import decide
from sweep.records.stop_requests import EVERYTHING
from sweep.records.sweep_record import SweepRecord, TrialEntry
from sweep.running.leak_check import check_leaks
from sweep.running.listeners import RecordsListener, TrackerListener
from sweep.running.provenance import write_record
from sweep.running.run_context import RunContext
from sweep.running.search_source import SearchSource, settings_left, with_earlier_proposals, with_proposed
from sweep.running.trial_events import TrialEventHandler
from sweep.running.trial_tasks import tasks_left, within_budget
from sweep.scheduling.budget import spent
from sweep.scheduling.dispatcher import Dispatcher
from sweep.scheduling.halving import HalvingRungs
from sweep.scheduling.task import TrialTask
from sweep.space import Best
from trainables.errors import BadInputError, StorageAwayError

TICK_SECONDS = 0.5
CATCH_UP_SECONDS = 600.0
"""Seconds that the end of a sweep waits for an unreachable storage."""


class StageLoop:
    """Loop that runs the stages of a plan in sequence; its state is the plan."""

    def __init__(self, context: RunContext, plan: Plan) -> None:
        self._context, self._plan = context, plan
        # In this order: what is shown is in the records before.
        listeners = [RecordsListener(context), context.progress, TrackerListener(context)]
        self._events = TrialEventHandler(context, listeners)
        self._earlier_hours, self._trained = 0.0, set[str]()
        self._stopped: dict[str, str] = {}
        self._tick_at = 0.0
        self._dispatcher: Dispatcher | None = None
        self._rungs: HalvingRungs | None = None
        self._before: SweepRecord | None = None
        """Record of the sweep's earlier runs."""
        self.stopping = ""
        """Reason of the sweep's early end; empty if there was none."""

    def run(self) -> str:
        """Run every stage; return finished, failed (a trial failed, or a stage couldn't be decided) or stopped.

        Trials that are already finished are not trained again.
        """
        context = self._context
        self._before = context.storage.whole_sweep(context.name)
        self._plan = with_earlier_proposals(self._plan, self._before)
        record = self._record()
        context.tracker.start_sweep(record)
        self._stopped = self._forget_stops(record) if context.options.retry_failed else self._stops()
        self._earlier_hours, self._trained = spent(context.storage, context.name, record.trials)
        context.live.show(lambda: context.progress.live_state(self.device_hours(), self.stopping))
        stage = 1
        while True:
            self._run_stage(stage, [entry for entry in record.trials if entry.stage == stage])
            if self.stopping:
                return "stopped"
            if stage == self._plan.expanded and not self._decide_next_stage():
                return self._status()
            record, stage = self._record(), stage + 1

    def interrupt(self, why: str) -> None:
        """End the running attempts, whose cluster was lost."""
        self.stopping = self.stopping or why
        if self._dispatcher is not None:
            self._dispatcher.interrupt(why)

    def close(self) -> str:
        """Finish deferred writes; return in words what couldn't be written, or an empty text."""
        try:
            self._context.backlog.flush(CATCH_UP_SECONDS)
        except StorageAwayError as error:
            return str(error)
        return ""

    def device_hours(self) -> float:
        """Return the cost of the sweep in GPU-hours, or worker-hours on CPUs."""
        return self._earlier_hours + self._events.device_hours()

    def _record(self) -> SweepRecord:
        """Write the sweep's record of the present plan, and announce its trials."""
        record = write_record(self._context, self._plan)
        self._events.planned(record.trials)
        return record

    def _stops(self) -> dict[str, str]:
        return self._context.storage.stopped(self._context.name)

    def _forget_stops(self, record: SweepRecord) -> dict[str, str]:
        for entry in record.trials:
            self._context.storage.forget_stopped(self._context.name, entry.trial_id)
        return {}

    def _status(self) -> str:
        record, storage = self._record(), self._context.storage
        over = all(
            storage.trial_of(entry).final() is not None or entry.trial_id in self._stops() for entry in record.trials
        )
        return "finished" if over and not record.pending else "failed"

    # One stage

    def _run_stage(self, stage: int, entries: Sequence[TrialEntry]) -> None:
        """Run the unfinished trials of a stage; its search extends the plan."""
        from sweep.cluster.failure_diagnosis import review

        self._rungs = self._make_rungs(stage, entries)
        dispatcher = self._dispatcher = Dispatcher(
            self._tasks(entries),
            self._events,
            rules=self._context.options.rules,
            source=self._source(stage),
            judge=self._rungs,
            review=review,
        )
        self._tick_at = 0.0
        if not dispatcher.over:
            from sweep.cluster.tune_bridge import run_trials

            log_folder = self._context.storage.log_folder(self._context.name)
            try:
                run_trials(
                    dispatcher,
                    log_dir=log_folder,
                    tick=lambda: self._tick(dispatcher),
                    waits=self._context.progress.waits,
                    grace_seconds=self._context.options.grace_seconds,
                )
            finally:
                self.stopping = self.stopping or dispatcher.stopping

    def _tasks(self, entries: Sequence[TrialEntry]) -> list[TrialTask]:
        """Return the tasks of unfinished trials within the budget; if some don't fit, the sweep ends after them."""
        left = tasks_left(self._context, self._events, self._plan, entries, self._stopped)
        limit = self._context.options.budget.trials
        allowed = within_budget(left, self._trained, limit)
        if len(allowed) < len(left):
            self.stopping = f"budget of {limit} trials reached"
        return allowed

    def _source(self, stage: int) -> SearchSource | None:
        settings = settings_left(self._plan, stage)
        if settings is None:
            return None
        return SearchSource(settings, lambda number: self._propose(stage, number), lambda: bool(self.stopping))

    def _propose(self, stage: int, number: int) -> list[TrialTask]:
        """Add a search's setting to the plan and return its new tasks."""
        known = {trial.trial_id for trial in self._plan.trials}
        try:
            self._plan = with_proposed(self._context, self._plan, stage, number)
        except BadInputError as error:
            self.stopping = str(error)
            return []
        entries = [entry for entry in self._record().trials if entry.trial_id not in known]
        self._join(self._rungs, entries)
        return self._tasks(entries)

    def _make_rungs(self, stage: int, entries: Sequence[TrialEntry]) -> HalvingRungs | None:
        space = self._plan.space
        halving = space.stages[stage - 1].halving
        if halving is None:
            return None
        exempt = {entry.trial_id for entry in entries if entry.required or entry.baseline is not None}
        rungs = HalvingRungs(halving, space.objective.direction, exempt)
        self._join(rungs, entries)
        return rungs

    def _join(self, rungs: HalvingRungs | None, entries: Sequence[TrialEntry]) -> None:
        """Let unfinished replicates of a setting wait for each other at the rungs."""
        for entry in entries:
            if rungs is None or entry.baseline is not None:
                continue
            files = self._context.storage.trial_of(entry)
            rungs.join(setting_key(entry), entry.trial_id)
            rungs.learn(entry.trial_id, files.epochs(), self._stopped.get(entry.trial_id, ""))
            if files.failure() is not None and files.final() is None and not self._context.options.retry_failed:
                rungs.left(entry.trial_id)

    def _tick(self, dispatcher: Dispatcher) -> None:
        """Check the budget and the user's requests to stop."""
        now = time.monotonic()
        if now < self._tick_at:
            return
        self._tick_at = now + TICK_SECONDS
        context = self._context
        if exceeded := context.options.budget.exceeded(self.device_hours()):
            dispatcher.stop(exceeded)
        if taken := context.live.taken_over:
            dispatcher.stop(f"taken over by {taken}")
        for what in context.live.asked_to_stop():
            if what == EVERYTHING:
                dispatcher.stop("asked to stop")
            else:
                dispatcher.stop_trial(what, "asked to stop")
        if dispatcher.stopping and not self.stopping:
            self.stopping = dispatcher.stopping
            context.progress.say(
                f"{self.stopping}: running trials end after their epoch; resume with --resume {context.name}"
            )

    # The next stage

    def _decide_next_stage(self) -> bool:
        """Add the next stage to the plan; return False if there is none or its values can't be decided."""
        plan, say = self._plan, self._context.progress.say
        if not plan.pending:
            return False
        wanted = needs(plan.pending[0], plan.assignments)
        decided = decide(wanted, plan.trials, plan.space.objective, self._context.final_metrics)
        missing = [best for best in wanted if best not in decided]
        if missing:
            what = ", ".join(f"{best.field} of {best.dataset}" for best in missing)
            say(f"{plan.pending[0].name}: not run, since no finished trial decides {what}")
            return False
        for best, value in decided.items():
            say(f"{plan.pending[0].name}: {best.field} {spelled(value, best.field)}, the best of {best.dataset}")
        try:
            self._plan = self._extended(decided)
        except BadInputError as error:
            say(f"{plan.pending[0].name}: not run: {'; '.join(str(error).splitlines())}")
            return False
        return True

    def _extended(self, decided: Mapping[Best, Any]) -> Plan:
        """Return the plan with its next stage; BadInputError if that can't be trained, or leaks and is strict."""
        plan = with_earlier_proposals(extend(self._plan, decided, size_of=size_of), self._before)
        if self._context.options.strict:
            check_leaks(plan, self._context.storage)
        return plan
