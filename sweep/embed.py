"""`python -m sweep.embed MODEL IMAGES --output FILE`: features of images, by an exported model."""

from pathlib import Path
from typing import Annotated

import typer

from sweep.console.printing import say


def main(
    model: Annotated[Path, typer.Argument(help="A folder that sweep.export wrote.")],
    images: Annotated[Path, typer.Argument(help="A folder or zip of JPEG, PNG or TIFF images.")],
    output: Annotated[Path, typer.Option(help="A .parquet file for the table.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what another program wrote there.")] = False,
) -> None:
    """Write each image's features, by an exported model."""
    from sweep.deployment.exported_model import DeployedModel, apply

    count = apply(model, images, output, DeployedModel.embedding, suffixes=(".parquet",), overwrite=overwrite)
    say(f"{count:,} images: {output.absolute()}")


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
