"""Summary of a finished sweep as JSON."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sweep.comparison.table import ComparisonTable
from sweep.records.sweep_record import SweepRecord
from sweep.records.trial_result import TrialResult


def summarise(
    record: SweepRecord,
    results: Mapping[str, TrialResult],
    tables: Sequence[ComparisonTable],
    *,
    status: str,
    why: str,
    device_hours: float,
    records: str,
) -> dict[str, Any]:
    """Return the summary of a sweep: counts, failures and the best setting of each data set.

    `results` are the trials' results by id; `records` is the address of the storage.
    """
    best = {
        table.dataset: {
            "setting": {name: row.config[name] for name in table.axes},
            "trials": [trial.entry.name for trial in row.finished],
            record.objective: row.mean(record.objective),
        }
        for table in tables
        if (row := table.best) is not None
    }
    ordered = [(entry, results[entry.trial_id]) for entry in record.trials]
    failures = [
        {"trial": entry.name, "trial_id": entry.trial_id, "failure": result.failure}
        for entry, result in ordered
        if result.status == "failed"
    ]
    return {
        "sweep": record.name,
        "status": status,
        "why": why,
        "trials": dict(Counter(result.status for _, result in ordered)),
        "pending_stages": list(record.pending),
        "best": best,
        "failures": failures,
        "device_hours": round(device_hours, 4),
        "records": records,
        "resume": f"python -m sweep.run --resume {record.name}",
    }
