"""Evaluate finished encoders, frozen and fine-tuned: `python -m sweep.evaluate [SWEEP]`.

The result is a sweep of its own: same records, MLflow, comparison and report, and it is resumed as any other.
"""

import sys
from typing import Annotated

import typer

from sweep.console import options
from sweep.console.options import FINE_TUNING_RATE
from sweep.console.printing import say
from sweep.console.stop_signals import GRACE_SECONDS
from sweep.records.paths import DEFAULT_STORAGE


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
    experiment: options.Experiment = "",
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
    from sweep.running.evaluation_request import EvaluationRequest, label_fractions, single_values
    from sweep.running.evaluation_run import EvaluationRun
    from sweep.running.run_location import RunLocation

    request = EvaluationRequest(
        trials=trials or [],
        weights=weights or [],
        datasets=datasets or [],
        label_fractions=None if labels is None else label_fractions(labels),
        draws=draws,
        epochs=epochs,
        learning_rate=learning_rate,
        changes=single_values(assignments or []),
    )
    run = EvaluationRun.of(request, sweep, storage=storage, name=name, device=device, experiment=experiment)
    if run.note:
        say(run.note)
    if dry_run:
        run.print_plan()
        return
    location = RunLocation(storage, tracking_uri, address, wait_minutes=wait_cluster)
    sys.exit(run.session(location, max_concurrent, grace, named=sweep is not None).run(extend=False))


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
