"""Ask a sweep to stop, from any machine that sees its storage: `python -m sweep.stop SWEEP [--trial ID]`."""

import time
from functools import partial
from typing import Annotated

import typer

from sweep.console import options
from sweep.console.printing import say
from sweep.records.paths import DEFAULT_STORAGE
from trainables.errors import BadInputError

POLL_SECONDS = 1.0
STOPPED = "What is stopped"


def main(
    sweep: Annotated[str, typer.Argument(help="Name of the sweep.")],
    trial: Annotated[
        list[str] | None,
        typer.Option(
            help="Id or name of a trial to stop; repeatable. Default: the whole sweep.", rich_help_panel=STOPPED
        ),
    ] = None,
    storage: options.Storage = str(DEFAULT_STORAGE),
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the sweep has stopped.", rich_help_panel=STOPPED)
    ] = False,
) -> None:
    """Stop a sweep or some of its trials: each running trial finishes its epoch and keeps its checkpoint."""
    from sweep.records.lease import holder_of
    from sweep.records.stop_requests import EVERYTHING, request_stop
    from sweep.records.sweep_storage import SweepStorage

    place = SweepStorage(storage)
    record = place.record(sweep)
    if holder_of(place, sweep, say=partial(say, error=True)) is None:
        raise BadInputError(f"sweep {sweep}: isn't running; see python -m sweep.status {sweep}")
    if not trial:
        request_stop(place, sweep, EVERYTHING)
        say(f"{sweep} stops after the running epochs; python -m sweep.run --resume {sweep} continues it")
    for wanted in trial or ():
        ids = record.trial_ids(wanted)
        if not ids:
            raise BadInputError(f"--trial {wanted}: no trial of {sweep}; its trials: python -m sweep.status {sweep}")
        for trial_id in ids:
            request_stop(place, sweep, trial_id)
            say(f"{wanted} stops for good after its epoch; --retry-failed continues it")
    while wait and not trial and holder_of(place, sweep) is not None:
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
