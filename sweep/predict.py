"""`python -m sweep.predict MODEL IMAGES --output FILE`: labels and probabilities of images, by an exported model."""

from pathlib import Path
from typing import Annotated

import typer


def main(
    model: Annotated[Path, typer.Argument(help="A folder that sweep.export wrote.")],
    images: Annotated[Path, typer.Argument(help="A folder or zip of JPEG, PNG or TIFF images.")],
    output: Annotated[Path, typer.Option(help="A .parquet or .csv file for the table.")],
) -> None:
    """Write each image's label and probabilities, by an exported model."""
    from sweep.deployed_model import DeployedModel, apply

    count = apply(model, images, output, DeployedModel.prediction)
    print(f"{count:,} images: {output.absolute()}")


if __name__ == "__main__":
    from sweep.command_line import run_command

    run_command(main)
