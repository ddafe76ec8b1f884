"""Write a sweep's records into MLflow again: `python -m sweep.track --replay SWEEP [--tracking-uri URI]`.

The records are the truth and MLflow is a view of them: a server that was away, emptied or changed is caught up from
the storage alone, and doing it twice adds nothing.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from sweep.paths import DEFAULT_STORAGE
from trainables.data.catalog import StoreInfo
from trainables.errors import BadInputError

if TYPE_CHECKING:
    from sweep.records import SweepRecord, SweepStorage, TrialEntry
    from sweep.tracking import Tracker

CLOSE_SECONDS = 600.0


def announce(record: "SweepRecord", tracker: "Tracker") -> None:
    """Show the sweep itself as running."""
    tracker.start_sweep(
        record.name,
        space=record.space,
        plan=record.model_dump(mode="json"),
        versions=record.versions,
        command=record.command,
        commit=record.commit,
        smoke=record.smoke,
        description=record.description,
        selected_on=record.selected_on,
    )


def replay(record: "SweepRecord", storage: "SweepStorage", tracker: "Tracker") -> list[str]:
    """Show the sweep and each of its trials that has records; return the names of those that have none.

    A trial that is neither finished nor failed is shown as stopped.
    """
    announce(record, tracker)
    waiting = []
    for entry in record.trials:
        files = storage.trial(entry.trial_id)
        ended = files.final() is not None or files.failure() is not None
        if not ended and not files.epochs():
            waiting.append(entry.name)
            continue
        tracker.project_trial(
            entry.trial_id,
            name=entry.name,
            config=entry.config,
            data=_stores(entry),
            files=files,
            status=None if ended else "stopped",
        )
    done = all(storage.trial(entry.trial_id).final() is not None for entry in record.trials) and not record.pending
    tracker.finish_sweep("finished" if done else "interrupted")
    return waiting


def _stores(entry: "TrialEntry") -> dict[str, StoreInfo]:
    """Return what this machine knows of the stores that a trial read: nothing where they aren't here."""
    names = {"training": entry.config["dataset"], "evaluation": entry.config.get("evaluation_dataset")}
    stores = {}
    for context, name in names.items():
        try:
            info = StoreInfo.read(name) if name else None
        except BadInputError:
            info = None
        if info is not None:
            stores[context] = info
    return stores


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
