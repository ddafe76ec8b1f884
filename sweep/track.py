"""Write a sweep's records to MLflow again: `python -m sweep.track SWEEP [--tracking-uri URI]`.

The records are the source of truth, and MLflow is a view of them. A server that was unreachable, emptied or replaced is
filled from the storage alone; repeating it adds nothing.
"""

from typing import Annotated

import typer

from sweep.console import options
from sweep.console.printing import say
from sweep.records.paths import DEFAULT_STORAGE
from sweep.tracking.replay import replay, wait_for_writes
from trainables.errors import BadInputError


def main(
    sweep: Annotated[str | None, typer.Argument(help="Name of the sweep whose records are written.")] = None,
    replayed: Annotated[
        str | None, typer.Option("--replay", help="The same name, as an option.", rich_help_panel=options.WHAT)
    ] = None,
    storage: options.Storage = str(DEFAULT_STORAGE),
    tracking_uri: options.TrackingUri = None,
    experiment: options.Experiment = "",
) -> None:
    """Write the records of a sweep to MLflow again. Existing runs are completed, nothing is duplicated."""
    from sweep.records.lease import GLANCE_SECONDS, holder_of
    from sweep.records.sweep_storage import SweepStorage
    from sweep.tracking.tracker import SweepTracker

    place = SweepStorage(storage)
    name = _named(sweep, replayed)
    record = place.record(name)
    if (holder := holder_of(place, name, watch_seconds=GLANCE_SECONDS)) is not None:
        raise BadInputError(f"sweep {name!r}: is running ({holder.described()}); its own process writes it to MLflow")
    tracker = SweepTracker.open(tracking_uri, storage=storage, experiment=experiment or record.experiment)
    waiting = replay(record, place, tracker)
    wait_for_writes(tracker)
    missing = tracker.close(0.0)
    say(f"{record.name}: {len(record.trials) - len(waiting)} trials written to {tracker.uri} ({tracker.why})")
    if waiting:
        say(f"without records so far: {', '.join(waiting)}")
    if missing:
        raise BadInputError(f"{tracker.uri}: {missing} writes are missing; run this again when it answers")


def _named(sweep: str | None, replayed: str | None) -> str:
    """Return the name that was given, as an argument or an option."""
    given = {name for name in (sweep, replayed) if name is not None}
    if len(given) > 1:
        raise BadInputError(f"--replay {replayed}: the argument names another sweep, {sweep}; give one of them")
    if not given:
        raise BadInputError("no sweep named: give its name, as in python -m sweep.track NAME")
    return given.pop()


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
