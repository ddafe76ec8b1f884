"""Check for remaining work of an earlier sweep: without any, no cluster is needed."""

from sweep.planning.plan import Plan
from sweep.records.sweep_record import SweepRecord, TrialEntry
from sweep.records.sweep_storage import SweepStorage
from sweep.running.search_source import settings_left, with_earlier_proposals


def nothing_left(storage: SweepStorage, name: str, plan: Plan, *, retry_failed: bool) -> bool:
    """Return whether every trial of a sweep's plan has ended, and no stage or setting is pending."""
    record = storage.sweep(name)
    if record is None or record.pending or record.digest != plan.digest or _searches(plan, record):
        return False
    stopped = {} if retry_failed else storage.stopped(name)
    return all(_is_over(storage, entry, stopped, retry_failed=retry_failed) for entry in record.trials)


def _searches(plan: Plan, record: SweepRecord) -> bool:
    grown = with_earlier_proposals(plan, record)
    return any(settings_left(grown, stage) for stage in range(1, 1 + len(plan.space.stages)))


def _is_over(storage: SweepStorage, entry: TrialEntry, stopped: dict[str, str], *, retry_failed: bool) -> bool:
    files = storage.trial_of(entry)
    if files.final() is not None or entry.trial_id in stopped:
        return True
    return not retry_failed and files.failure() is not None
