"""Write a sweep's records into MLflow again: `python -m sweep.track --replay SWEEP [--tracking-uri URI]`.

The records are the truth and MLflow is a view of them: a server that was away, emptied or changed is caught up from
the storage alone, and doing it twice adds nothing.
"""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from sweep.records.paths import DEFAULT_STORAGE
from trainables.errors import BadInputError

if TYPE_CHECKING:
    from sweep.records.sweep_record import SweepRecord, SweepStorage
    from sweep.tracking.tracker import Tracker
    from trainables.storage.trial_files import TrialFiles

STALL_SECONDS = 300.0
"""After so long without a write the server is given up."""
SAY_SECONDS = 15.0


def replay(record: "SweepRecord", storage: "SweepStorage", tracker: "Tracker") -> list[str]:
    """Show the sweep and each of its trials that has records; return the names of those that have none.

    A trial that has neither ended nor was stopped for good is shown as interrupted.
    """
    from sweep.tracking.runs import TrialFacts

    tracker.start_sweep(record)
    stopped = storage.stopped(record.name)
    waiting, states = [], set()
    for entry in record.trials:
        trial = TrialFacts.of(entry, storage)
        state = _state(trial.files, stopped=entry.trial_id in stopped)
        states.add(state)
        if state in ("finished", "failed") or trial.files.epochs():
            tracker.project_trial(trial, state)
        else:
            waiting.append(entry.name)
    under_way = "interrupted" in states or record.pending
    tracker.show_comparison(storage)
    tracker.finish_sweep("interrupted" if under_way else "failed" if "failed" in states else "finished")
    return waiting


def _state(files: "TrialFiles", *, stopped: bool) -> str:
    if files.final() is not None:
        return "finished"
    if files.failure() is not None:
        return "failed"
    return "stopped" if stopped else "interrupted"


def _wait(tracker: "Tracker") -> None:
    """Wait while writes are done, however many, and say how many are left."""
    left, moved, said = tracker.missing, time.monotonic(), time.monotonic()
    while left and time.monotonic() - moved < STALL_SECONDS:
        time.sleep(0.05)
        now = tracker.missing
        if now != left:
            left, moved = now, time.monotonic()
        if time.monotonic() - said > SAY_SECONDS:
            said = time.monotonic()
            print(f"{left} writes left, one or two a trial: a second each where figures are drawn", flush=True)


def main(
    replayed: Annotated[str, typer.Option("--replay", help="The sweep whose records are written into MLflow.")],
    storage: Annotated[str, typer.Option(help="Where the sweep was run.")] = str(DEFAULT_STORAGE),
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow server or database (default: MLFLOW_TRACKING_URI, or the storage's own).")
    ] = None,
) -> None:
    """Write a sweep's records into MLflow again; what is there already stays as it is."""
    from sweep.records.sweep_record import SweepStorage
    from sweep.tracking.tracker import Tracker

    place = SweepStorage(storage)
    record = place.record(replayed)
    tracker = Tracker.open(tracking_uri, storage=storage)
    waiting = replay(record, place, tracker)
    _wait(tracker)
    missing = tracker.close(0.0)
    print(f"{record.name}: {len(record.trials) - len(waiting)} trials written to {tracker.uri} ({tracker.why})")
    if waiting:
        print(f"without any record yet: {', '.join(waiting)}")
    if missing:
        raise BadInputError(f"{tracker.uri}: {missing} writes are missing; run this again when it answers")


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
