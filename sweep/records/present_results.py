"""Present results of a sweep's trials: a begun trial runs if a running sweep claims it, otherwise it is interrupted."""

from collections.abc import Mapping
from dataclasses import replace

from sweep.records.lease import leases
from sweep.records.sweep_record import SweepRecord
from sweep.records.sweep_storage import SweepStorage
from sweep.records.trial_result import TrialResult, result_of


def present_results(record: SweepRecord, storage: SweepStorage) -> Mapping[str, TrialResult]:
    """Return the results so far by trial id. A lease in doubt counts as running, since nobody watches it here."""
    claimed = {trial_id for held in leases(storage) if not held.ended for trial_id in held.claims}
    found = ((entry.trial_id, result_of(storage.trial_of(entry))) for entry in record.trials)
    return {trial_id: _present(result, trial_id in claimed) for trial_id, result in found}


def _present(result: TrialResult, is_claimed: bool) -> TrialResult:
    return result if is_claimed or result.status != "running" else replace(result, status="interrupted")
