"""Print the state of a sweep, from its storage alone: `python -m sweep.status [SWEEP] [--watch]`."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from sweep.console import options
from sweep.console.printing import say_json
from sweep.records.paths import DEFAULT_STORAGE
from trainables.errors import BadInputError
from trainables.printing.lasting_output import is_lost

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sweep.records.lease import SweepLease
    from sweep.records.sweep_record import SweepRecord
    from sweep.records.sweep_storage import SweepStorage

WATCH_SECONDS = 2.0


def main(
    sweep: options.LatestSweep = None,
    storage: options.Storage = str(DEFAULT_STORAGE),
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Update until the sweep ends; Ctrl-C to leave.", rich_help_panel=options.OUTPUT),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Print the state of a sweep and of its trials, wherever it runs."""
    if watch and as_json:
        raise BadInputError("--watch: draws on a terminal, and --json prints once; give one of them")
    from rich.live import Live as Screen

    from sweep.console.printing import screen
    from sweep.records.lease import GLANCE_SECONDS, holder_of, lease
    from sweep.records.sweep_storage import SweepStorage

    place = SweepStorage(storage)
    record = place.record(sweep)
    holder = holder_of(place, record.name, watch_seconds=GLANCE_SECONDS)
    if as_json:
        say_json(_facts(record, holder, place))
        return
    console = screen()
    if not watch:
        console.print(_drawn(record, holder, lease(place, record.name), place))
        return
    with Screen(console=console, auto_refresh=False) as shown:
        while True:
            shown.update(_drawn(place.record(record.name), holder, lease(place, record.name), place), refresh=True)
            if holder is None or is_lost(sys.stdout):
                return
            time.sleep(WATCH_SECONDS)
            holder = holder_of(place, record.name, watch_seconds=GLANCE_SECONDS)


def _facts(record: "SweepRecord", holder: "SweepLease | None", storage: "SweepStorage") -> dict[str, object]:
    from sweep.records.end_report import end_report
    from sweep.records.lease import current_state

    state = current_state(storage, record, holder)
    running = holder is not None
    told = end_report(storage, record.name)
    extra = {} if told is None else {"on_end": told.model_dump(mode="json")}
    return {
        "sweep": record.name,
        **extra,
        "running": running,
        "pending": record.pending,
        **state.model_dump(mode="json"),
    }


def _drawn(
    record: "SweepRecord", holder: "SweepLease | None", held: "SweepLease | None", storage: "SweepStorage"
) -> "RenderableType":
    from rich.console import Group

    from sweep.console.printing import text
    from sweep.records.end_report import end_report
    from sweep.records.lease import current_state
    from sweep.running.trials_table import draw_trials, shown_columns

    state = current_state(storage, record, holder)
    lines = [text(f"waits for results: {name}") for name in record.pending]
    if (told := end_report(storage, record.name)) is not None and told.fault:
        lines.append(text(told.fault, "yellow"))
    columns = shown_columns(record.objective)
    table = draw_trials(list(state.trials), state.counts, columns, state.left_seconds, state.waits)
    hours = text(f"{state.device_hours:.2f} GPU- or worker-hours")
    return Group(text(_headline(record.name, holder, held, state.stopping), "bold"), table, hours, *lines)


def _headline(name: str, holder: "SweepLease | None", held: "SweepLease | None", stopping: str) -> str:
    if holder is not None:
        return f"{name} runs: {holder.described()}" + (f"; stopping, {stopping}" if stopping else "")
    if held is None:
        return f"{name}: not running"
    if held.stopped:
        ways = f"kill -CONT {held.process} (or fg) continues it, python -m sweep.run --resume {name} takes it over"
        return f"{name}: paused, process {held.process} on {held.host} is stopped; {ways}"
    return f"{name}: its process is gone ({held.described()}); continue it: python -m sweep.run --resume {name}"


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
