"""Evaluate finished encoders, frozen and fine-tuned: `python -m sweep.evaluate [SWEEP]`.

The result is a sweep of its own: same records, MLflow, comparison and report, and it is resumed as any other.
"""

import sys
from typing import Annotated

import typer

from sweep.console import options
from sweep.console.printing import say
from sweep.console.stop_signals import GRACE_SECONDS
from sweep.records.paths import DEFAULT_STORAGE

FINE_TUNING_RATE = 0.1
"""Of pretraining's learning rate (docs/experiments.md)."""


def main(
    sweep: options.LatestSweep = None,
    trials: Annotated[
        list[str] | None,
        typer.Option(
            "--trial",
            help="Name or id of a trial; repeatable. Default: every seed of the best setting.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE[,FIELD=VALUE...]",
            help="Further weights to evaluate: a torchvision or timm state dict; fields: encoder, stem, normalisation.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    datasets: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            help="Prepared data set to evaluate on; repeatable. Default: the sweep's data set.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Fractions of the training labels to use, comma-separated; default: 0.01,0.1,1, as far as the images "
            "suffice.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of label subsets per fraction; default: 3, or the number of seeds.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Epochs of fine-tuning and training from scratch; default: as pretraining; 0: frozen features only.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help=f"Base learning rate of fine-tuning; default: {FINE_TUNING_RATE:g} times that of pretraining.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    assignments: options.Assignments = None,
    dry_run: options.DryRun = False,
    name: Annotated[
        str | None, typer.Option(help="Name of the evaluation; default: SWEEP-evaluated.", rich_help_panel=options.WHAT)
    ] = None,
    storage: options.Storage = str(DEFAULT_STORAGE),
    tracking_uri: options.TrackingUri = None,
    address: options.Address = None,
    wait_cluster: options.WaitCluster = 0.0,
    device: options.Device = "auto",
    max_concurrent: options.MaxConcurrent = None,
    grace: options.Grace = GRACE_SECONDS,
) -> None:
    """Evaluate pretrained encoders with fractions of the labels, frozen and fine-tuned.

    Frozen features: logistic regression (penalty chosen on validation), kNN with k 20 and 200, nearest class mean.
    For comparison: fine-tuning of the whole encoder, training from scratch, untrained encoders, raw pixels, colours.

    The evaluation is a sweep: python -m sweep.run --resume NAME continues it, sweep.compare NAME --html shows it.
    """
    from sweep.planning.evaluation_space import evaluation_space
    from sweep.planning.launch import Launch, plan_of
    from sweep.planning.memory_budget import memory_budget
    from sweep.planning.plan_table import print_plan
    from sweep.records.paths import check_name
    from sweep.records.sweep_storage import SweepStorage
    from sweep.running.evaluation_request import DEFAULT_SHARES, EvaluationRequest
    from sweep.running.run_context import RunOptions
    from sweep.running.session import RunLocation, Session
    from sweep.scheduling.dispatcher import Rules
    from sweep.space import written

    request = EvaluationRequest(
        trials=trials or [],
        weights=weights or [],
        datasets=datasets or [],
        labels=labels,
        draws=draws,
        epochs=epochs,
        learning_rate=learning_rate,
        relative_learning_rate=FINE_TUNING_RATE,
        assignments=assignments or [],
    )
    evaluation = request.of_sweep(SweepStorage(storage), sweep)
    if labels is None and (without := set(DEFAULT_SHARES) - set(evaluation.label_fractions)):
        say(f"label fractions {', '.join(f'{one:g}' for one in sorted(without))} are left out: too few train images")
    space = evaluation_space(evaluation)
    check_name(chosen := name or space.name)
    launch = Launch(written=written(space), device=device)
    plan = plan_of(launch)
    if dry_run:
        print_plan(plan, memory_budget(launch, None, use_gpu=device == "gpu"))
        return
    options = RunOptions(rules=Rules(max_concurrent), grace_seconds=grace)
    # The latest sweep is this one, once it has begun.
    named = () if sweep else (evaluation.sweep,)
    location = RunLocation(storage, tracking_uri, address, wait_minutes=wait_cluster, again=named)
    sys.exit(Session(chosen, plan, launch, options, location).run(extend=False))


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
