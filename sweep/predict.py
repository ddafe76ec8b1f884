"""Predict classes, numbers or maps by an exported model: `python -m sweep.predict MODEL IMAGES --output FILE`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sweep.console import options
from sweep.console.printing import say
from trainables.errors import BadInputError

MAP = "Map of a scene"
MAPS = (".tif", ".tiff")
TABLES = (".parquet", ".csv")


def main(
    model: options.ExportedModel,
    images: Annotated[
        Path,
        typer.Argument(
            help="Folder or zip of images, or a prepared data set; or a scene: a GeoTIFF or a folder of bands."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            help="File to write: .parquet or .csv with one row per image, .tif for the map of a scene.",
            rich_help_panel=options.OUTPUT,
        ),
    ],
    overwrite: options.Overwrite = False,
    positive: Annotated[
        list[str] | None,
        typer.Option(
            help="Class or rule to map; repeatable; default: the model's positive classes.", rich_help_panel=MAP
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Smallest probability that counts as positive; default: 0.5.", rich_help_panel=MAP),
    ] = None,
    overlap: Annotated[
        float | None,
        typer.Option(
            help="Overlap of neighbouring windows as a fraction of their side; default: 0.5.", rich_help_panel=MAP
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(help="Pixel value that is scaled to 255; default: the model's own rule.", rich_help_panel=MAP),
    ] = None,
    offset: Annotated[
        int | None,
        typer.Option(
            help="Number added to all pixel values, in place of the model's; -1000 for Sentinel-2 since 2022.",
            rich_help_panel=MAP,
        ),
    ] = None,
    nodata: Annotated[
        float | None,
        typer.Option(
            help="Pixel value that means no data; default: the value that the file declares.", rich_help_panel=MAP
        ),
    ] = None,
    probabilities: Annotated[
        bool,
        typer.Option(
            "--probabilities",
            help="Also write the probability of each class of the model, a band each.",
            rich_help_panel=MAP,
        ),
    ] = False,
    no_scl: Annotated[
        bool,
        typer.Option(
            "--no-scl",
            help="Also map what the scene's classification (SCL) says is cloud, shadow or snow; default: left out.",
            rich_help_panel=MAP,
        ),
    ] = False,
) -> None:
    """Classify images or predict their number with an exported model, or map a scene: a table, or a GeoTIFF."""
    chosen = {
        "positive": tuple(positive or ()),
        "threshold": threshold,
        "overlap": overlap,
        "scale": scale,
        "offset": offset,
        "nodata": nodata,
        "probabilities": probabilities,
        "no_scl": no_scl,
    }
    if output.suffix.lower() in MAPS:
        _map(model, images, output, chosen, overwrite=overwrite)
        return
    _table_only(images, output, _given(chosen))
    from sweep.deployment.batch_prediction import apply, finish
    from sweep.deployment.exported_model import DeployedModel

    finish(apply(model, images, output, DeployedModel.prediction, overwrite=overwrite), output)


def _map(model: Path, scene: Path, output: Path, chosen: dict[str, Any], *, overwrite: bool) -> None:
    from sweep.maps.map_plan import MapOptions
    from sweep.maps.open_scene import is_scene
    from sweep.maps.raster_file import DRIVERS
    from sweep.maps.scene_map import write_map

    if not scene.exists() and not is_scene(scene):
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
    """Return lines for the user: the covers excluded by the SCL, and the number's statistics or the classes by area."""
    lines = []
    if facts["scl"] is not None:
        hidden = ", ".join(f"{cover} {100 * share:.1f} %" for cover, share in facts["scl"].items())
        lines.append(f"left out by the scene classification, of the scene: {hidden}")
    if "number" in facts:
        from trainables.printing.close_numbers import in_range, range_text

        own, area = facts["number"], facts["valid"]["hectares"]
        ends = (own["least"], own["largest"])
        values = f"mean {in_range(own['mean'], *ends)}, deviation {own['deviation']:.4g}, {range_text(*ends)}"
        return [*lines, f"{own['name']}: {values}" + ("" if area is None else f", over {area:,.1f} ha")]
    for name, own in sorted(facts["classes"].items(), key=lambda item: -item[1]["pixels"]):
        if own["pixels"]:
            area = "" if own["hectares"] is None else f", {own['hectares']:,.1f} ha"
            lines.append(f"{name}: {100 * own['share']:.1f} %{area}")
    if bands := facts["probability_bands"]:
        lines.append("probability of each class: " + ", ".join(f"band {band} {name}" for name, band in bands.items()))
    return lines


def _given(chosen: dict[str, Any]) -> list[str]:
    return [name for name, value in chosen.items() if value is not None and value is not False and value != ()]


def _table_only(images: Path, output: Path, given: list[str]) -> None:
    """Raise BadInputError for an output, an input or an option that only a map can have."""
    if output.suffix not in TABLES:
        raise BadInputError(
            f"--output {output}: must end in {', '.join(TABLES)} (a table of images) or .tif (the map of a scene)"
        )
    if images.is_file() and images.suffix.lower() in (*MAPS, ".jp2"):
        raise BadInputError(
            f"{images}: one image; for its map give --output FILE.tif, for a table the folder of images"
        )
    if given:
        raise BadInputError(
            f"--{given[0].replace('_', '-')}: is for the map of a scene; leave it out, or give --output FILE.tif"
        )


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
