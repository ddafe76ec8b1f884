"""Take the winner away: `python -m sweep.export [SWEEP]` writes weights, ONNX, a model card, and an MLflow model."""

from pathlib import Path
from typing import Annotated

import typer

from sweep.console.printing import say
from sweep.records.paths import DEFAULT_STORAGE


def main(
    sweep: Annotated[str | None, typer.Argument(help="The sweep's name; the latest one if left out.")] = None,
    trial: Annotated[str | None, typer.Option(help="A trial's name or id; else the best setting's first seed.")] = None,
    best: Annotated[str | None, typer.Option(metavar="METRIC", help="What best means; else the sweep's own.")] = None,
    head: Annotated[str, typer.Option(help="linear: fitted on frozen features; probe: trained beside.")] = "linear",
    output: Annotated[Path | None, typer.Option(metavar="DIR", help="Default: exports/TRIAL.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what another program wrote there.")] = False,
    storage: Annotated[str, typer.Option(help="Where the sweep was run.")] = str(DEFAULT_STORAGE),
    register: Annotated[str | None, typer.Option(metavar="MODEL", help="Register it in MLflow by this name.")] = None,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow, else as for the sweep.")] = None,
) -> None:
    """Write a trial's encoder and classifier for use elsewhere: safetensors, ONNX, a model card; or register it."""
    from sweep.console.output_files import file_name
    from sweep.deployment.exporter import check_folder, check_libraries, write
    from sweep.deployment.onnx_export import PARITY_IMAGES
    from sweep.deployment.trial_choice import choose
    from sweep.records.sweep_storage import SweepStorage

    check_libraries()
    place = SweepStorage(storage)
    chosen = choose(place, sweep, trial=trial, best=best, head=head)
    folder = output or Path("exports") / file_name(chosen.trial.entry.name)
    check_folder(folder, chosen, overwrite=overwrite)
    difference = write(chosen, place, folder)
    say(f"{chosen.trial.entry.name}: {folder.absolute()}")
    say(f"ONNX differs from PyTorch by {difference:.1g} at most, over {PARITY_IMAGES} images")
    if register is not None:
        from sweep.tracking.model_registry import register_model

        say(register_model(chosen.sweep, chosen.trial.entry, place, folder, name=register, tracking_uri=tracking_uri))


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
