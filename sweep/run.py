"""Runs a search space: `python -m sweep.run --space NAME`."""

import os
import sys
from typing import Annotated

import typer

from sweep.console.options import Address, MaxConcurrent, WaitCluster
from sweep.planning.resources import Device
from sweep.records.paths import DEFAULT_STORAGE
from trainables.errors import BadInputError

ON_END = "SWEEP_ON_END"


def main(
    space: Annotated[
        str | None,
        typer.Option(help="A space of search_spaces/ (quickstart, thesis_grid, ...), a dotted name or a .py file."),
    ] = None,
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
    address: Address = None,
    wait_cluster: WaitCluster = 0.0,
    workers: Annotated[
        str, typer.Option(help="Workers a trial; on GPUs each has one to itself. 2:8: as many as there is room for.")
    ] = "1",
    device: Annotated[Device, typer.Option(help="auto: GPUs where there are any.")] = "auto",
    share_gpus: Annotated[
        int, typer.Option(min=1, help="Trials of one worker that may share a GPU, as far as its memory allows.")
    ] = 1,
    gpu_memory: Annotated[
        float | None, typer.Option(min=0.1, help="GiB of a GPU; default: as this machine's GPU has.")
    ] = None,
    memory: Annotated[
        float | None, typer.Option(min=0.0, help="GiB that a worker needs; default: the plan's estimate.")
    ] = None,
    max_concurrent: MaxConcurrent = None,
    resume: Annotated[
        str | None, typer.Option(metavar="NAME", help="Go on with a sweep as its record has it; imports no code.")
    ] = None,
    extend: Annotated[
        bool, typer.Option("--extend", help="With --resume and --space: take the space as it is now.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try trials again that failed or were stopped.")
    ] = False,
    no_reuse: Annotated[
        bool, typer.Option("--no-reuse", help="Train every trial here, also those that another sweep finished.")
    ] = False,
    max_failures: Annotated[int, typer.Option(min=0, help="Crashes or hangs of a trial that are tried again.")] = 3,
    hang_minutes: Annotated[
        float, typer.Option(min=0.05, help="A worker that takes no step for so long is ended and tried again.")
    ] = 30.0,
    gpu_hours: Annotated[
        float | None, typer.Option(help="Budget of the sweep; worker-hours on CPUs. Then it stops in good order.")
    ] = None,
    wall_hours: Annotated[float | None, typer.Option(help="Budget of this run.")] = None,
    trials: Annotated[int | None, typer.Option(help="Budget of the sweep: trials that are trained.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print events as JSON lines.")] = False,
    on_end: Annotated[
        str | None,
        typer.Option(metavar="CMD|URL", help=f"Gets a JSON summary at the end; default: {ON_END}, if it is set."),
    ] = None,
) -> None:
    """Train every trial of a search space and compare them.

    Start small: --space quickstart needs nothing. Look first: --dry-run.

    No trial is trained twice: the same command, or --resume NAME, goes on where it stopped. Ctrl-C stops at the end
    of the running epochs, twice at once.

    Exit code 0: all trials finished; 1: some failed; 2: bad input; 3: stopped by a budget or by sweep.stop, or
    the cluster is gone; 130: Ctrl-C.
    """
    # What a plan takes is imported here: --help shall not wait for it.
    from sweep.planning.dataset_sizes import check_questions, prepare_embedded
    from sweep.planning.launch import Launch, plan_of
    from sweep.planning.memory_budget import room_of
    from sweep.records.paths import check_name
    from sweep.scheduling.budget import Budget
    from sweep.space import load_space, written
    from trainables.overrides import parse_assignments

    typed = Launch(
        space=space or "",
        written=written(load_space(space)) if space else None,
        assignments={field: tuple(values) for field, values in parse_assignments(assignments or []).items()},
        smoke=smoke,
        workers=workers,
        device=device,
        share_gpus=share_gpus,
        no_reuse=no_reuse,
        memory=memory,
    )
    launch = typed
    if resume is not None:
        from sweep.records.sweep_storage import SweepStorage

        launch, name = SweepStorage(storage).record(resume).resumed(typed, extend=extend), resume
    elif extend:
        raise BadInputError("--extend: is for a sweep that was started before; add --resume NAME")
    plan = plan_of(launch)
    check_name(chosen := name or plan.sweep_name)
    budget = Budget(gpu_hours, wall_hours, trials)
    check_questions(plan)
    if dry_run:
        from sweep.planning.plan_table import print_plan
        from sweep.running.machine_check import check_machine

        if address is None and gpu_memory is None:
            check_machine(launch, plan)
        print_plan(plan, room_of(launch, gpu_memory, use_gpu=launch.device == "gpu" or gpu_memory is not None))
        return
    from sweep.running.run_context import RunOptions
    from sweep.running.session import RunLocation, Session
    from sweep.scheduling.dispatcher import Rules

    if prepare_embedded(plan):
        plan = plan_of(launch)
    location = RunLocation(
        storage, tracking_uri, address, as_json, on_end or os.environ.get(ON_END, ""), gpu_memory, wait_cluster
    )
    options = RunOptions(retry_failed, Rules(max_concurrent, max_failures), budget, 60 * hang_minutes)
    sys.exit(Session(chosen, plan, launch, options, location).run(extend=extend))


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
