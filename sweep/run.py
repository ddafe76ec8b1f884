"""Runs a search space: `python -m sweep.run --space NAME`."""

import re
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from sweep.paths import DEFAULT_STORAGE
from sweep.plan import Plan, make_plan
from sweep.shape import Device
from sweep.sizes import prepare_embedded, size_of
from sweep.space import load_space
from trainables.assignments import parse_assignments
from trainables.errors import BadInputError

if TYPE_CHECKING:
    from sweep.records import SweepStorage
    from sweep.tracking import Tracker

FAILED = 1
INTERRUPTED = 130


def main(
    space: Annotated[
        str,
        typer.Option(help="A space of search_spaces/ (quickstart, thesis_grid, ...), a dotted name or a .py file."),
    ],
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Change a field of every trial; values separated by commas vary it: --set temperature=0.1,0.5. "
            "Fields: trainables/config.py.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost; start nothing.")] = False,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Make everything tiny and try the whole road before paying for GPUs.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="The sweep's name; default: the space's.")] = None,
    storage: Annotated[
        str, typer.Option(help="Records, checkpoints and outputs: a folder that all machines see, or a URI.")
    ] = str(DEFAULT_STORAGE),
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow server; default: MLFLOW_TRACKING_URI, else a SQLite file in the storage.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster, HOST:PORT or auto; default: Ray starts on this machine.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Workers a trial; on GPUs each has one to itself.")] = 1,
    device: Annotated[Device, typer.Option(help="auto: GPUs where there are any.")] = "auto",
    max_concurrent: Annotated[int | None, typer.Option(min=1, help="Trials at once; default: as many as fit.")] = None,
) -> None:
    """Train every trial of a search space and compare them.

    Start small: --space quickstart needs nothing. Look first: --dry-run.

    No trial is trained twice: the same command goes on where it stopped.

    Exit code 0: all trials finished; 1: some failed; 2: bad input.
    """
    chosen = load_space(space)
    changes = parse_assignments(assignments or [])
    plan = make_plan(chosen, assignments=changes, size_of=size_of, workers=workers, smoke=smoke)
    if dry_run:
        from sweep.plan_table import print_plan

        print_plan(plan)
        return
    if prepare_embedded(plan):
        plan = make_plan(chosen, assignments=changes, size_of=size_of, workers=workers, smoke=smoke)
    sys.exit(_run(plan, _sweep_name(name, plan), storage, tracking_uri, address, device, max_concurrent))


def _sweep_name(name: str | None, plan: Plan) -> str:
    chosen = name or plan.space.name + ("-smoke" if plan.smoke else "")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", chosen):
        raise BadInputError(f"--name {chosen!r}: use letters, digits, '_', '.' and '-' only, a letter or digit first")
    return chosen


def _run(
    plan: Plan,
    name: str,
    storage_address: str,
    tracking_uri: str | None,
    address: str | None,
    device: Device,
    max_concurrent: int | None,
) -> int:
    """Check everything that can be wrong, then run; return the exit code."""
    from sweep.cluster import connect, machine_resources, quiet
    from sweep.execution import Execution, check_name
    from sweep.records import SweepStorage
    from sweep.shape import check_precision, choose_shape, concurrency
    from sweep.sizes import check_data
    from sweep.tracking import Tracker

    check_data(plan)
    storage = SweepStorage(storage_address)
    storage.check_writable()
    check_name(storage, name, plan)
    if address is None:
        check_precision(plan, choose_shape(plan.workers, device, machine_resources()))
    tracker = Tracker.open(tracking_uri, storage=storage_address)
    print(f"sweep {name}: {len(plan.trials)} trials, records in {storage.storage.address()}")
    print(f"MLflow: {tracker.uri} ({tracker.why})", flush=True)
    status = "failed"
    with quiet(storage.log_folder(name) / "ray.log") as screen, connect(address) as resources:
        shape = choose_shape(plan.workers, device, resources)
        check_precision(plan, shape)
        execution = Execution(name, storage, shape, max_concurrent or concurrency(shape, resources), tracker)
        try:
            status = execution.run(plan, screen)
        except KeyboardInterrupt:
            status = "interrupted"
        finally:
            tracker.finish_sweep(status)
            missing = tracker.close()
    return _report(storage, name, status, missing, tracker)


def _report(storage: "SweepStorage", name: str, status: str, missing: int, tracker: "Tracker") -> int:
    """Print the comparison and what to do next; return the exit code."""
    from sweep.compare import compare, load, result_of
    from sweep.compare_table import print_comparison

    record = load(storage, name)
    print_comparison(record, compare(record, lambda trial_id: result_of(storage.trial(trial_id))))
    if missing:
        print(f"{missing} writes to MLflow at {tracker.uri} are missing; the records have them: run the command again")
    if status == "interrupted":
        print(f"interrupted; the same command goes on from the last checkpoints: {record.command}")
        return INTERRUPTED
    return FAILED if status == "failed" else 0


if __name__ == "__main__":
    from sweep.command_line import run_command

    run_command(main)
