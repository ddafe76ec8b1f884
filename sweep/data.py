"""Prepare, list, describe, show, verify, share and remove data sets: `python -m sweep.data --help`."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweep.console import options, prepare_options
from sweep.console.app import run_app, stage_progress
from sweep.console.commands import Commands
from sweep.console.printing import say, say_json, screen
from trainables.data.store_addresses import data_root, joined_address, store_folder
from trainables.data.store_info import StoreInfo, prepare_command, prepared
from trainables.errors import BadInputError
from trainables.printing.redaction import redact

if TYPE_CHECKING:
    from trainables.data.preparing.field_points import Floats
    from trainables.data.sources.source import ImageSource, PrepareRequest

app = Commands(
    help="Prepare the images that sweeps train on: convert them once, verify and describe them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        help="Folder with the prepared data sets; default: SWEEP_DATA, else a cache folder.",
        rich_help_panel=options.WHERE,
    ),
]
Name = Annotated[str, typer.Argument(help="Name of a prepared data set.")]


@app.command()
def prepare(
    name: prepare_options.DataSet,
    source: prepare_options.Source = None,
    url: prepare_options.Url = None,
    lists: prepare_options.Lists = None,
    fraction: prepare_options.Fraction = None,
    bands: prepare_options.Bands = None,
    pixels: prepare_options.Pixels = None,
    image_size: prepare_options.ImageSize = None,
    labels: prepare_options.Labels = None,
    splits: prepare_options.Splits = None,
    exclude: prepare_options.Exclude = None,
    table: prepare_options.Table = None,
    column: prepare_options.Columns = None,
    separator: prepare_options.Separator = None,
    test_split: prepare_options.TestSplit = None,
    class_level: prepare_options.ClassLevel = None,
    skip_corrupt: prepare_options.SkipCorrupt = False,
    strict: prepare_options.Strict = False,
    store_name: prepare_options.StoreName = None,
    value_range: prepare_options.ValueRange = None,
    reflectance: prepare_options.Reflectance = None,
    resample: prepare_options.Resample = None,
    chip_size: prepare_options.ChipSize = None,
    stride: prepare_options.Stride = None,
    chips: prepare_options.ChipsPerScene = None,
    max_cloud: prepare_options.MaxCloud = None,
    max_shadow: prepare_options.MaxShadow = None,
    max_snow: prepare_options.MaxSnow = None,
    max_nodata: prepare_options.MaxNodata = None,
    nodata: prepare_options.Nodata = None,
    block_size: prepare_options.BlockSize = None,
    buffer: prepare_options.Buffer = None,
    root: Root = None,
) -> None:
    """Convert a data set to an image store. An existing store of the same images and labels is kept."""
    from sweep.console.dataset_tables import prepared_lines, unfinished
    from trainables.data.preparing.prepare import prepare as make

    before = StoreInfo.read(store_name or name, root)
    with unfinished(store_name or name, before), stage_progress(f"preparing {store_name or name}") as progress:
        info = make(
            name,
            source=source,
            root=root,
            store_name=store_name,
            lists=lists,
            table=table,
            columns=prepare_options.column_names(column or []),
            class_level=class_level,
            url=url,
            strict=strict,
            progress=progress,
            fraction=fraction,
            bands=prepare_options.comma_separated(bands),
            pixels=pixels,
            image_size=image_size,
            labels=labels,
            splits=splits,
            exclude=prepare_options.comma_separated(exclude),
            separator=separator,
            test_split=test_split,
            skip_corrupt=skip_corrupt or None,
            value_range=prepare_options.low_and_high(value_range),
            reflectance=prepare_options.scale_and_offset(reflectance),
            resample=resample,
            reader=_scene_reader() if name == "scenes" else None,
            chip_size=chip_size,
            stride=stride,
            chips=chips,
            max_cloud=max_cloud,
            max_shadow=max_shadow,
            max_snow=max_snow,
            max_nodata=max_nodata,
            nodata=nodata,
            block_size=block_size,
            buffer=buffer,
        )
    kept = before is not None
    unknown = kept and source is not None and not info.source_state
    for line in prepared_lines(info, root, kept=kept, source_unknown=unknown):
        say(line)


def _scene_reader() -> Callable[["PrepareRequest"], "ImageSource"]:
    from sweep.maps.raster_file import require_rasterio

    require_rasterio("scenes")
    from sweep.maps.scene_source import read_scenes

    return read_scenes


@app.command()
def label(
    name: Name,
    table: prepare_options.LabelTable,
    label_set: prepare_options.LabelSetName = "labels",
    column: prepare_options.Columns = None,
    separator: prepare_options.Separator = None,
    number: prepare_options.Number = False,
    root: Root = None,
) -> None:
    """Attach classes, several labels or a number to the images of a store. Its pixels and trial ids don't change."""
    from sweep.console.dataset_tables import labelled_lines
    from trainables.data.preparing.label_set import LabelRequest, attach_labels

    columns = prepare_options.column_names(column or [], prepare_options.LABEL_MEANINGS)
    asked = LabelRequest(name, table, label_set, columns, separator, number)
    for line in labelled_lines(attach_labels(asked, root, _projected)):
        say(line)


def _projected(crs: str, longitudes: Sequence[float], latitudes: Sequence[float]) -> "tuple[Floats, Floats]":
    from sweep.maps.raster_file import require_rasterio

    require_rasterio("points")
    from sweep.maps.point_projection import projected

    return projected(crs, longitudes, latitudes)


@app.command("list")
def list_stores(root: Root = None, as_json: options.Json = False) -> None:
    """List the prepared data sets, and how to prepare the others."""
    from sweep.console.dataset_tables import overview, overview_value, readable_stores, unprepared

    if root is not None and not root.is_dir():
        raise BadInputError(f"--root {root}: no such folder; give the one that data sets were prepared in")
    infos = readable_stores(data_root() if root is None else root)
    if as_json:
        say_json(overview_value(infos, root))
        return
    if infos:
        screen().print(overview(infos, root))
    for name in unprepared(infos):
        say(f"{name}: not prepared; {prepare_command(name)}")


@app.command()
def info(name: Name, root: Root = None, as_json: options.Json = False) -> None:
    """Describe a prepared data set: images, class frequencies, splits, leaks, origin and preparation."""
    from sweep.console.dataset_tables import class_table, split_table, store_value, summary

    store = prepared(name, root)
    if as_json:
        say_json(store_value(store, root))
        return
    classes = ("", class_table(store)) if store.class_names else ()
    screen().print(summary(store, root), "", split_table(store), *classes, sep="\n")


@app.command()
def verify(
    name: Annotated[str, typer.Argument(help="Name of a prepared data set, or its address (s3://bucket/stores/NAME).")],
    root: Root = None,
) -> None:
    """Read every image of a prepared data set and compare the checksums."""
    from trainables.data.preparing.verify import verify as check

    with stage_progress(f"verifying {name}") as progress:
        store = check(name, root, progress)
    say(f"{name}: {store.images:,} images verified, fingerprint {store.fingerprint}")


@app.command()
def show(
    name: Name,
    output: Annotated[
        Path | None, typer.Option(help="PNG file to write; default: NAME.png.", rich_help_panel=options.OUTPUT)
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Set a field that affects the views: --set image_size=64, --set pairs=season.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    root: Root = None,
) -> None:
    """Draw images of each class as a trial reads them, views of one image, and a map of chips cut from scenes."""
    from sweep.figures.contact_sheet import draw

    path = output or Path(f"{name}.png")
    for file in draw(name, path, settings or [], root, overwrite=overwrite):
        say(f"{name}: drawn to {file}")


@app.command()
def leaks(
    pool: Annotated[str, typer.Argument(help="Name of the prepared data set that is pretrained on.")],
    evaluation: Annotated[str, typer.Argument(help="Name of the prepared data set whose test split is evaluated.")],
    strict: Annotated[
        bool, typer.Option(help="Exit with an error if any test image recurs.", rich_help_panel=options.WHAT)
    ] = False,
    root: Root = None,
) -> None:
    """Count test images that recur in another data set's train split: equal, nearly equal, or on the same ground."""
    from trainables.data.preparing.store_leaks import leaks_between
    from trainables.data.store import ImageStore

    found = leaks_between(ImageStore.open(pool, root), ImageStore.open(evaluation, root))
    lines = found.described()
    if strict and found.found:
        raise BadInputError(f"--strict: {pool} and the test split of {evaluation}: {'; '.join(map(str.strip, lines))}")
    for line in lines:
        say(line)


@app.command()
def upload(
    name: Name,
    address: Annotated[str, typer.Argument(help="Destination: file:///shared/stores, s3://bucket/stores, ...")],
    root: Root = None,
) -> None:
    """Copy a prepared data set to shared or object storage. Nodes with SWEEP_DATA=ADDRESS fetch it from there."""
    from trainables.data.store_upload import upload as copy

    store = prepared(name, root)
    place = joined_address(address, name)
    with stage_progress(f"uploading {name}") as progress:
        copy(store_folder(name, root), place, progress=progress and partial(progress, "copying"))
    say(f"{name}: {store.images:,} images at {redact(place)}")


@app.command()
def remove(name: Name, root: Root = None) -> None:
    """Remove a prepared data set. The downloaded archive is kept."""
    from trainables.data.preparing.prepare import remove as delete

    say(f"{name}: removed, {delete(name, root):,} bytes")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    run_app(app, arguments, prog_name="python -m sweep.data")


if __name__ == "__main__":
    main()
