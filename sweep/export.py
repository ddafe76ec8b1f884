"""Export the best trial: `python -m sweep.export [SWEEP]` writes weights, ONNX, a model card, and an MLflow model."""

from pathlib import Path
from typing import Annotated

import typer

from sweep.console import options
from sweep.console.printing import say
from sweep.records.paths import DEFAULT_STORAGE


def main(
    sweep: options.LatestSweep = None,
    trial: Annotated[
        str | None,
        typer.Option(
            help="Name or id of a trial; default: the first seed of the best setting.", rich_help_panel=options.WHAT
        ),
    ] = None,
    best: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC",
            help="Metric that decides which setting is best; default: the sweep's objective.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    head: Annotated[
        str,
        typer.Option(
            help="Classifier. linear: logistic regression on frozen features; probe: trained during pretraining.",
            rich_help_panel=options.WHAT,
        ),
    ] = "linear",
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder to write; default: exports/TRIAL.", rich_help_panel=options.OUTPUT),
    ] = None,
    overwrite: options.Overwrite = False,
    storage: options.Storage = str(DEFAULT_STORAGE),
    register: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="Also register the model in MLflow under this name.", rich_help_panel=options.OUTPUT
        ),
    ] = None,
    tracking_uri: options.TrackingUri = None,
) -> None:
    """Export a trial's encoder and classifier as safetensors and ONNX, with a model card; optionally to MLflow."""
    from sweep import api
    from sweep.deployment.onnx_export import PARITY_IMAGES

    exported = api.export(
        sweep,
        storage=storage,
        trial=trial,
        best=best,
        head=head,
        output=output,
        overwrite=overwrite,
        register=register,
        tracking_uri=tracking_uri,
    )
    say(f"{exported.trial}: {exported.folder.absolute()}")
    say(f"ONNX differs from PyTorch by {exported.onnx_difference:.1g} at most, over {PARITY_IMAGES} images")
    if exported.registered:
        say(exported.registered)


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
