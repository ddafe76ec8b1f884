"""Compute features of images with an exported model: `python -m sweep.embed MODEL IMAGES --output FILE`."""

from pathlib import Path
from typing import Annotated

import typer

from sweep.console import options


def main(
    model: options.ExportedModel,
    images: Annotated[Path, typer.Argument(help="Folder or zip of images, or the name of a prepared data set.")],
    output: Annotated[
        Path, typer.Option(help="Parquet file to write, with one row per image.", rich_help_panel=options.OUTPUT)
    ],
    overwrite: options.Overwrite = False,
) -> None:
    """Write the feature vector of each image, computed by an exported model."""
    from sweep.deployment.batch_prediction import apply, finish
    from sweep.deployment.exported_model import DeployedModel

    finish(apply(model, images, output, DeployedModel.embedding, suffixes=(".parquet",), overwrite=overwrite), output)


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
