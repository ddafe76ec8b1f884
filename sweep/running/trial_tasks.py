"""Tasks for Ray from a sweep's record: the trials that are not finished yet."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

from sweep.planning.plan import Plan
from sweep.planning.trial import PlannedTrial
from sweep.records.sweep_record import TrialEntry
from sweep.running.run_context import RunContext
from sweep.running.trial_events import TrialEventHandler
from sweep.scheduling.task import TrialTask
from trainables.data.store_addresses import store_address
from trainables.data.store_info import StoreInfo, prepared


def tasks_left(
    context: RunContext,
    events: TrialEventHandler,
    plan: Plan,
    entries: Sequence[TrialEntry],
    stopped: Mapping[str, str],
) -> list[TrialTask]:
    """Return the tasks of the trials that have to run, and report the others to `events`.

    `stopped` has the reasons of trials that were stopped for good, by trial id.
    """
    planned = {trial.trial_id: trial for trial in plan.trials}
    info_of = cache(prepared)  # read once for all trials
    return [
        task_of(context, entry, planned[entry.trial_id], info_of)
        for entry in entries
        if _has_to_run(context, events, entry, stopped)
    ]


def _has_to_run(context: RunContext, events: TrialEventHandler, entry: TrialEntry, stopped: Mapping[str, str]) -> bool:
    failure = context.storage.trial_of(entry).failure()
    if events.reuse(entry):
        return False
    if entry.trial_id in stopped:
        events.notify(lambda one: one.left_stopped(entry, stopped[entry.trial_id]))
        return False
    if failure is not None and not context.options.retry_failed:
        events.notify(lambda one: one.left_failed(entry, failure))
        return False
    return True


def task_of(
    context: RunContext, entry: TrialEntry, planned: PlannedTrial, info_of: Callable[[str], StoreInfo]
) -> TrialTask:
    """Return the task of a trial with the present image stores; `info_of` reads one by name."""
    dataset, evaluated = entry.config["dataset"], entry.config["evaluation_dataset"]
    return TrialTask(
        trial_id=entry.trial_id,
        name=entry.name,
        config=entry.setting_known,
        store_address=store_address(dataset),
        fingerprint=info_of(dataset).fingerprint,
        evaluation_address=store_address(evaluated) if evaluated else "",
        evaluation_fingerprint=info_of(evaluated).fingerprint if evaluated else "",
        files_address=context.storage.trial_of(entry).storage.address(),
        shape=context.sizing.shape_of(planned),
        recompute=context.sizing.recomputes(planned),
        hang_seconds=context.options.hang_seconds,
    )


def within_budget(tasks: Sequence[TrialTask], trained: set[str], limit: int | None) -> list[TrialTask]:
    """Return the tasks within the trial budget, and add their ids to `trained`."""
    if limit is None:
        return list(tasks)
    allowed = []
    for task in tasks:
        if task.trial_id in trained or len(trained) < limit:
            trained.add(task.trial_id)
            allowed.append(task)
    return allowed
