"""Run a search space: `python -m sweep.run --space NAME`."""

import os
import sys

from sweep.console import options
from sweep.console.stop_signals import GRACE_SECONDS
from sweep.records.paths import DEFAULT_STORAGE
from trainables.errors import BadInputError


def main(
    space: options.Space = None,
    assignments: options.Assignments = None,
    fields: options.Fields = False,
    dry_run: options.DryRun = False,
    smoke: options.Smoke = False,
    name: options.SweepName = None,
    resume: options.Resume = None,
    extend: options.Extend = False,
    no_reuse: options.NoReuse = False,
    storage: options.Storage = str(DEFAULT_STORAGE),
    tracking_uri: options.TrackingUri = None,
    address: options.Address = None,
    workers: options.Workers = "1",
    device: options.Device = "auto",
    share_gpus: options.ShareGpus = 1,
    gpu_memory: options.GpuMemory = None,
    memory: options.Memory = None,
    max_concurrent: options.MaxConcurrent = None,
    gpu_hours: options.GpuHours = None,
    wall_hours: options.WallHours = None,
    trials: options.Trials = None,
    max_failures: options.MaxFailures = 3,
    hang_minutes: options.HangMinutes = 30.0,
    retry_failed: options.RetryFailed = False,
    grace: options.Grace = GRACE_SECONDS,
    wait_cluster: options.WaitCluster = 0.0,
    as_json: options.Json = False,
    on_end: options.OnEnd = None,
) -> None:
    """Train every trial of a search space and compare them.

    Start with --space quickstart, which needs no data or cluster. --dry-run shows the plan first.

    Finished trials are never trained again: the same command, or --resume NAME, continues where the sweep stopped.
    Ctrl-C stops at the end of the running epochs; a second Ctrl-C stops at once. SIGTERM and SIGHUP do the same, and
    stop at once when --grace is over.

    Exit code 0: all trials finished; 1: some failed; 2: bad input; 3: stopped by a budget or by sweep.stop, or
    the cluster was lost; 130: Ctrl-C; 143: SIGTERM; 129: SIGHUP.
    """
    if fields:
        from sweep.planning.field_reference import print_fields

        print_fields()
        return
    # Imported here, so that --help stays fast.
    from sweep.planning.dataset_sizes import check_questions, prepare_embedded
    from sweep.planning.launch import Launch, plan_of
    from sweep.planning.memory_budget import memory_budget
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
    if dry_run:
        from sweep.planning.plan_table import print_plan
        from sweep.running.machine_check import check_machine

        check_questions(plan)
        if address is None and gpu_memory is None:
            check_machine(launch, plan)
        print_plan(plan, memory_budget(launch, gpu_memory, use_gpu=launch.device == "gpu" or gpu_memory is not None))
        return
    from sweep.running.run_context import RunOptions
    from sweep.running.session import RunLocation, Session
    from sweep.scheduling.dispatcher import Rules

    if prepare_embedded(plan):
        plan = plan_of(launch)
    location = RunLocation(
        storage, tracking_uri, address, as_json, on_end or os.environ.get(options.ON_END, ""), gpu_memory, wait_cluster
    )
    run_options = RunOptions(retry_failed, Rules(max_concurrent, max_failures), budget, 60 * hang_minutes, grace)
    sys.exit(Session(chosen, plan, launch, run_options, location).run(extend=extend))


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
