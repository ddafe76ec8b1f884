"""How a sweep stands, from its storage alone: `python -m sweep.status [SWEEP] [--watch]`."""

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from sweep.records.paths import DEFAULT_STORAGE
from sweep.records.status import state_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sweep.records.lease import Lease
    from sweep.records.sweep_record import SweepRecord
    from sweep.records.sweep_storage import SweepStorage

WATCH_SECONDS = 2.0


def main(
    sweep: Annotated[str | None, typer.Argument(help="The sweep's name; the latest one if left out.")] = None,
    storage: Annotated[str, typer.Option(help="Where the sweep is run.")] = str(DEFAULT_STORAGE),
    watch: Annotated[bool, typer.Option("--watch", help="Go on until the sweep ends, or Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Print how a sweep and its trials stand, on this machine or another one."""
    from rich.live import Live as Screen

    from sweep.console.app import screen
    from sweep.records.lease import lease
    from sweep.records.sweep_storage import SweepStorage

    place = SweepStorage(storage)
    record = place.record(sweep)
    if as_json:
        print(json.dumps(_facts(record, lease(place, record.name), place)))
        return
    console = screen()
    if not watch:
        console.print(_drawn(record, lease(place, record.name), place))
        return
    with Screen(console=console, auto_refresh=False) as shown:
        while True:
            held = lease(place, record.name)
            shown.update(_drawn(place.record(record.name), held, place), refresh=True)
            if held is None or not held.alive:
                return
            time.sleep(WATCH_SECONDS)


def _facts(record: "SweepRecord", held: "Lease | None", storage: "SweepStorage") -> dict[str, object]:
    runs = held is not None and held.alive
    state = held.state if runs and held is not None else None
    state = state if state is not None else state_of(record, storage)
    return {"sweep": record.name, "running": runs, "pending": record.pending, **state.model_dump(mode="json")}


def _drawn(record: "SweepRecord", held: "Lease | None", storage: "SweepStorage") -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    from sweep.running.trials_table import draw_trials, shown_columns

    runs = held is not None and held.alive
    state = held.state if runs and held is not None else None
    state = state if state is not None else state_of(record, storage)
    if runs and held is not None:
        head = f"{record.name} runs: {held.described()}"
        if state.stopping:
            head += f"; stopping, {state.stopping}"
    elif held is not None:
        head = f"{record.name}: whoever ran it is gone ({held.described()}); python -m sweep.run --resume {record.name}"
    else:
        head = f"{record.name}: nobody runs it"
    lines = [Text(f"waits for results: {name}") for name in record.pending]
    table = draw_trials(list(state.trials), state.counts, shown_columns(record.objective), state.left_seconds)
    return Group(Text(head, style="bold"), table, Text(f"{state.device_hours:.2f} GPU- or worker-hours"), *lines)


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
