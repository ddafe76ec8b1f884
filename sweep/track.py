"""Write a sweep's records into MLflow again: `python -m sweep.track --replay SWEEP [--tracking-uri URI]`.

The records are the truth and MLflow is a view of them: a server that was away, emptied or changed is caught up from
the storage alone, and doing it twice adds nothing.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from sweep.paths import DEFAULT_STORAGE
from trainables.errors import BadInputError

if TYPE_CHECKING:
    from sweep.records import SweepRecord, SweepStorage
    from sweep.tracking import Tracker

CLOSE_SECONDS = 600.0


def replay(record: "SweepRecord", storage: "SweepStorage", tracker: "Tracker") -> list[str]:
    """Show the sweep and each of its trials that has records; return the names of those that have none.

    A trial that is neither finished nor failed is shown as stopped.
    """
    from sweep.projection import TrialFacts

    tracker.start_sweep(record)
    waiting = []
    for entry in record.trials:
        trial = TrialFacts.of(entry, storage)
        ended = trial.files.final() is not None or trial.files.failure() is not None
        if ended or trial.files.epochs():
            tracker.project_trial(trial, None if ended else "stopped")
        else:
            waiting.append(entry.name)
    done = all(storage.trial(entry.trial_id).final() is not None for entry in record.trials) and not record.pending
    tracker.finish_sweep("finished" if done else "interrupted")
    return waiting


def main(
    replayed: Annotated[str, typer.Option("--replay", help="The sweep whose records are written into MLflow.")],
    storage: Annotated[str, typer.Option(help="Where the sweep was run.")] = str(DEFAULT_STORAGE),
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow server or database (default: MLFLOW_TRACKING_URI, or the storage's own).")
    ] = None,
) -> None:
    """Write a sweep's records into MLflow again; what is there already stays as it is."""
    from sweep.compare import load
    from sweep.records import SweepStorage
    from sweep.tracking import Tracker

    place = SweepStorage(storage)
    record = load(place, replayed)
    tracker = Tracker.open(tracking_uri, storage=storage)
    waiting = replay(record, place, tracker)
    missing = tracker.close(CLOSE_SECONDS)
    print(f"{record.name}: {len(record.trials) - len(waiting)} trials written to {tracker.uri} ({tracker.why})")
    if waiting:
        print(f"without any record yet: {', '.join(waiting)}")
    if missing:
        raise BadInputError(f"{tracker.uri}: {missing} writes are missing; run this again when it answers")


if __name__ == "__main__":
    from sweep.command_line import run_command

    run_command(main)
