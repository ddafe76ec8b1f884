"""Evaluate finished encoders beyond the probe alongside: `python -m sweep.evaluate [SWEEP]`.

The result is a sweep of its own: same records, MLflow, comparison and report, and it is resumed as any other.
"""

import sys
from typing import Annotated

import typer

from sweep.console.options import Address, MaxConcurrent, WaitCluster
from sweep.planning.resources import Device
from sweep.records.paths import DEFAULT_STORAGE

FINE_TUNING_RATE = 0.1
"""Of pretraining's learning rate (docs/experiments.md)."""


def main(
    sweep: Annotated[str | None, typer.Argument(help="Its name; the latest one if left out.")] = None,
    trials: Annotated[
        list[str] | None,
        typer.Option("--trial", help="A trial's name or id, again and again; default: every seed of the best setting."),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE[,FIELD=VALUE...]",
            help="Other weights beside them: a torchvision or timm state dict; fields: encoder, stem, normalisation.",
        ),
    ] = None,
    datasets: Annotated[
        list[str] | None,
        typer.Option("--dataset", help="A prepared data set, again and again; default: that of the sweep."),
    ] = None,
    labels: Annotated[str, typer.Option(help="Shares of the labels.")] = "0.01,0.1,1",
    draws: Annotated[
        int | None, typer.Option(min=1, help="Replicates; default: 3, or as many as there are seeds.")
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=0, help="Of fine-tuning and from scratch; default: pretraining's; 0: frozen features alone."),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(min=0.0, help=f"Of fine-tuning; default: {FINE_TUNING_RATE:g} of pretraining's.")
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of every trial.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost; start nothing.")] = False,
    name: Annotated[str | None, typer.Option(help="The evaluation's name; default: SWEEP-evaluated.")] = None,
    storage: Annotated[str, typer.Option(help="Where the sweep was run.")] = str(DEFAULT_STORAGE),
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow server; as for sweep.run.")] = None,
    address: Address = None,
    wait_cluster: WaitCluster = 0.0,
    device: Annotated[Device, typer.Option(help="auto: GPUs where there are any.")] = "auto",
    max_concurrent: MaxConcurrent = None,
) -> None:
    """Evaluate encoders by shares of the labels, frozen and fine-tuned, on their data or on others.

    Frozen features: logistic regression (penalty chosen on validation), kNN with k 20 and 200, nearest class mean.
    Beside them: fine-tuning of the whole encoder, the same from scratch, untrained encoders, raw pixels, colours.

    It is a sweep: python -m sweep.run --resume NAME goes on with it, sweep.compare NAME --html shows it.
    """
    from sweep.planning.evaluation_space import evaluation_space
    from sweep.planning.launch import Launch, plan_of
    from sweep.planning.memory_budget import room_of
    from sweep.planning.plan_table import print_plan
    from sweep.records.paths import check_name
    from sweep.records.sweep_storage import SweepStorage
    from sweep.running.evaluation_request import EvaluationRequest
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
    space = evaluation_space(evaluation)
    check_name(chosen := name or space.name)
    launch = Launch(written=written(space), device=device)
    plan = plan_of(launch)
    if dry_run:
        print_plan(plan, room_of(launch, None, use_gpu=device == "gpu"))
        return
    options = RunOptions(rules=Rules(max_concurrent))
    # The latest sweep is this one, once it has begun.
    named = () if sweep else (evaluation.sweep,)
    location = RunLocation(storage, tracking_uri, address, wait_minutes=wait_cluster, again=named)
    sys.exit(Session(chosen, plan, launch, options, location).run(extend=False))


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
