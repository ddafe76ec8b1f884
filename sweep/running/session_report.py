"""Report of a session at its end: the printed comparison, the summary for --on-end, and the exit code."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweep.console.printing import say, say_json
from sweep.console.stop_signals import exit_code
from sweep.records.end_report import write_end_report
from sweep.records.present_results import present_results
from sweep.records.sweep_storage import SweepStorage
from sweep.running.end_hook import send
from sweep.running.run_location import RunLocation
from sweep.running.summary import summarise

if TYPE_CHECKING:
    from sweep.tracking.tracker import SweepTracker

DONE, FAILED, STOPPED = 0, 1, 3
"""Exit codes."""


@dataclass
class SessionOutcome:
    """How a session ended."""

    status: str = "failed"
    why: str = ""
    """Reason of an early end."""
    device_hours: float = 0.0
    missing: int = 0
    """Writes that MLflow didn't get."""
    gone: bool = False
    """Whether the cluster is lost."""
    taken_over: bool = False
    """Whether another process runs the sweep now."""


def report_outcome(
    outcome: SessionOutcome, name: str, storage: SweepStorage, location: RunLocation, tracker: "SweepTracker"
) -> int:
    """Print the comparison and what to do next; return the exit code."""
    # Imported at the end of the sweep, since scipy slows its start.
    from sweep.comparison.dataset_report import with_leaks
    from sweep.comparison.ranking import compare
    from sweep.comparison.split_comparison import split_comparisons
    from sweep.comparison.trial_outputs import TrialOutputs
    from sweep.report.terminal_table import print_comparison, print_splits

    record = storage.record(name)
    results = present_results(record, storage)
    outputs = TrialOutputs(storage)
    tables = with_leaks(compare(record, lambda entry: results[entry.trial_id]), storage)
    summary = summarise(
        record,
        results,
        tables,
        status=outcome.status,
        why=outcome.why,
        device_hours=outcome.device_hours,
        records=storage.storage.address(),
    )
    if location.as_json:
        say_json({"event": "end", **summary})
    elif not location.from_python:
        print_comparison(record, tables, outputs)
        print_splits(split_comparisons([(record, table) for table in tables], outputs))
    if outcome.missing:
        say(f"{outcome.missing} writes to MLflow at {tracker.uri} are missing; the records have them:")
        say(f"python -m sweep.track {name}")
    if location.on_end:
        _deliver(summary, location.on_end, storage)
    return _exit_code(outcome, summary)


def _deliver(summary: dict[str, Any], target: str, storage: SweepStorage) -> None:
    """Deliver the summary to the receiver of --on-end; a failure is printed and recorded beside the sweep."""
    if fault := send(target, summary):
        say(fault, error=True)
    with suppress(OSError):  # a storage that is away was said before
        write_end_report(storage, summary["sweep"], fault)


def _exit_code(outcome: SessionOutcome, summary: Mapping[str, Any]) -> int:
    """Return the exit code of an outcome; print how a stopped sweep continues."""
    if outcome.status != "stopped":
        return FAILED if outcome.status == "failed" else DONE
    if outcome.taken_over:
        say(f"{outcome.why}; see python -m sweep.status {summary['sweep']}")
        return STOPPED
    left = sum(count for state, count in summary["trials"].items() if state not in ("finished", "failed"))
    say(f"{outcome.why}; {left} trials are left. Continue from the last checkpoints: {summary['resume']}")
    return exit_code(outcome.why) or STOPPED
