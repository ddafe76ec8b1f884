"""Status of a setting's trials in words."""

from collections import Counter

from sweep.comparison.table import ComparedTrial, ComparisonRow


def status_words(row: ComparisonRow) -> str:
    """Return the status of a setting's trials: each state once, with the necessary remarks."""
    counts = Counter(_described(trial) for trial in row.trials)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{count} {state}" for state, count in counts.items())


def _described(trial: ComparedTrial) -> str:
    result, planned = trial.result, trial.entry.config["epochs"]
    part = "" if result.epoch == planned else f", epoch {result.epoch}/{planned}"
    alarm = ", COLLAPSED" if result.collapsed else ""
    retried = f", after {result.troubles}" if result.troubles and result.status != "failed" else ""
    return result.status + part + retried + alarm
