"""Run a search space: `python -m sweep.run --space NAME`."""

import sys

import typer

from sweep.console import options
from sweep.console.stop_signals import GRACE_SECONDS
from sweep.records.paths import DEFAULT_STORAGE


def main(
    space: options.Space = None,
    assignments: options.Assignments = None,
    objective: options.Objective = None,
    fields: options.Fields = False,
    dry_run: options.DryRun = False,
    smoke: options.Smoke = False,
    strict: options.Strict = False,
    name: options.SweepName = None,
    resume: options.Resume = None,
    extend: options.Extend = False,
    no_reuse: options.NoReuse = False,
    storage: options.Storage = str(DEFAULT_STORAGE),
    tracking_uri: options.TrackingUri = None,
    experiment: options.Experiment = "",
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
    context: typer.Context = options.NO_CONTEXT,
) -> None:
    """Train every trial of a search space and compare them.

    Start with --space quickstart, which needs no data or cluster. --dry-run shows the plan first.

    Finished trials are never trained again: the same command, or --resume NAME, continues where the sweep stopped.
    Ctrl-C stops at the end of the running epochs; a second Ctrl-C stops at once. SIGTERM, SIGHUP and
    SIGQUIT do the same, and stop at once when --grace is over.

    Exit code 0: all trials finished; 1: some failed; 2: bad input; 3: stopped by a budget or by sweep.stop, or
    the cluster was lost; 130: Ctrl-C; 143: SIGTERM; 129: SIGHUP; 131: SIGQUIT.
    """
    if fields:
        from sweep.planning.field_reference import print_fields

        print_fields()
        return
    # Imported here, so that --help stays fast.
    from sweep.console.commands import given_options
    from sweep.running.run_location import RunLocation
    from sweep.running.run_request import RunRequest, on_end_hook
    from trainables.fields.overrides import parse_assignments

    request = RunRequest(
        RunLocation(storage, tracking_uri, address, as_json, on_end_hook(on_end), gpu_memory, wait_cluster),
        space=space,
        assignments=parse_assignments(assignments or []),
        objective=objective,
        name=name,
        resume=resume,
        extend=extend,
        smoke=smoke,
        no_reuse=no_reuse,
        experiment=experiment,
        workers=workers,
        device=device,
        share_gpus=share_gpus,
        memory=memory,
        max_concurrent=max_concurrent,
        gpu_hours=gpu_hours,
        wall_hours=wall_hours,
        trials=trials,
        max_failures=max_failures,
        hang_minutes=hang_minutes,
        retry_failed=retry_failed,
        grace_seconds=grace,
        strict=strict,
        given=given_options(context),
    )
    if dry_run:
        request.print_plan()
    else:
        sys.exit(request.session().run(extend=extend))


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
