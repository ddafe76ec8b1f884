"""`python -m sweep.predict MODEL IMAGES --output FILE`: what an exported model says of images, or of a whole scene."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sweep.console.printing import say
from trainables.errors import BadInputError

MAPS = (".tif", ".tiff")
TABLES = (".parquet", ".csv")


def main(
    model: Annotated[Path, typer.Argument(help="A folder that sweep.export wrote.")],
    images: Annotated[Path, typer.Argument(help="A folder or zip of images; or a scene: GeoTIFF, or folder of bands.")],
    output: Annotated[Path, typer.Option(help="A .parquet or .csv file for the table; a .tif for the map of a scene.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what another program wrote there.")] = False,
    positive: Annotated[
        list[str] | None, typer.Option(help="Maps: the class or rule that is mapped; else the model's own.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Maps: probability from which on it is there; 0.5.")] = None,
    overlap: Annotated[float | None, typer.Option(help="Maps: share of a window that the next repeats; 0.5.")] = None,
    scale: Annotated[
        float | None, typer.Option(help="Maps: the value that becomes 255; else the model's rule.")
    ] = None,
    offset: Annotated[
        int | None, typer.Option(help="Maps: added to all values, as -1000 for Sentinel-2 from 2022 on.")
    ] = None,
    nodata: Annotated[
        float | None, typer.Option(help="Maps: value of pixels without data; else the file's own.")
    ] = None,
) -> None:
    """Write each image's label and probabilities, or the map of a scene with its areas, by an exported model."""
    chosen = {
        "positive": tuple(positive or ()),
        "threshold": threshold,
        "overlap": overlap,
        "scale": scale,
        "offset": offset,
        "nodata": nodata,
    }
    if output.suffix.lower() in MAPS:
        _map(model, images, output, chosen, overwrite=overwrite)
        return
    _table_only(images, output, [name for name, value in chosen.items() if value not in (None, ())])
    from sweep.deployment.exported_model import DeployedModel, apply

    count = apply(model, images, output, DeployedModel.prediction, overwrite=overwrite)
    say(f"{count:,} images: {output.absolute()}")


def _map(model: Path, scene: Path, output: Path, chosen: dict[str, Any], *, overwrite: bool) -> None:
    from sweep.maps.raster_file import DRIVERS
    from sweep.maps.scene import is_scene
    from sweep.maps.scene_map import MapOptions, write_map

    if not scene.exists():
        raise BadInputError(f"{scene}: no such file or folder")
    if not is_scene(scene):
        raise BadInputError(
            f"{scene}: no scene: neither a file ({', '.join(DRIVERS)}) nor a folder of bands (*_B04.tif, ...); "
            f"for a table of images give --output FILE that ends in {' or '.join(TABLES)}"
        )
    facts = write_map(model, scene, output, MapOptions(**chosen), overwrite=overwrite)
    for note in facts["notes"]:
        say(f"note: {note}", error=True)
    for line in _said(facts):
        say(line)
    say(f"{output.absolute()}, and beside it .json and .png")


def _said(facts: dict[str, Any]) -> list[str]:
    """Return one line a class that is on the map, the largest first."""
    found = sorted(facts["classes"].items(), key=lambda item: -item[1]["pixels"])
    lines = []
    for name, own in found:
        if own["pixels"]:
            area = "" if own["hectares"] is None else f", {own['hectares']:,.1f} ha"
            lines.append(f"{name}: {100 * own['share']:.1f} %{area}")
    return lines


def _table_only(images: Path, output: Path, given: list[str]) -> None:
    """Raise BadInputError for what only a map can take."""
    if output.suffix not in TABLES:
        raise BadInputError(
            f"--output {output}: must end in {', '.join(TABLES)} (a table of images) or .tif (the map of a scene)"
        )
    if images.is_file() and images.suffix.lower() in (*MAPS, ".jp2"):
        raise BadInputError(
            f"{images}: one image; for its map give --output FILE.tif, for a table the folder of images"
        )
    if given:
        raise BadInputError(f"--{given[0]}: is for the map of a scene; leave it out, or give --output FILE.tif")


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
