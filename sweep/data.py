"""Prepare, list, describe, show, verify, share and remove data sets: `python -m sweep.data --help`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sweep.console import options
from sweep.console.app import run_app, stage_progress
from sweep.console.printing import say, screen
from trainables.data.catalog import StoreInfo, beneath, data_root, prepare_command, prepared, store_folder
from trainables.data.dataset_facts import KNOWN
from trainables.errors import BadInputError
from trainables.redaction import redact

SOURCE, IMAGES, LABELS = "Source", "Images", "Labels and splits"

app = typer.Typer(
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
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(KNOWN)}.")],
    source: Annotated[
        Path | None,
        typer.Option(help="Archive or folder as published; default: it is downloaded.", rich_help_panel=SOURCE),
    ] = None,
    url: Annotated[str | None, typer.Option(help="URL of a mirror of the archive.", rich_help_panel=SOURCE)] = None,
    lists: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the official split lists; default: the source's folder.", rich_help_panel=SOURCE
        ),
    ] = None,
    fraction: Annotated[
        float | None,
        typer.Option(help="Fraction of the images to keep, chosen by a hash of their names.", rich_help_panel=IMAGES),
    ] = None,
    bands: Annotated[
        str | None, typer.Option(help="Bands to keep, comma-separated, or all.", rich_help_panel=IMAGES)
    ] = None,
    pixels: Annotated[
        str | None,
        typer.Option(
            help="Rule that maps 16-bit pixel values to 8 bits: thesis, percentiles or none.", rich_help_panel=IMAGES
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            help="Side in pixels: central square crop, resized bicubically with antialiasing.", rich_help_panel=IMAGES
        ),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Label set of BigEarthNet: 43, 19 or farmland.", rich_help_panel=LABELS)
    ] = None,
    splits: Annotated[
        str | None,
        typer.Option(help="Rule for the splits: thesis, official, random, place, ...", rich_help_panel=LABELS),
    ] = None,
    exclude: Annotated[
        str | None,
        typer.Option(help="Leave out patches by condition, comma-separated: snow, cloud.", rich_help_panel=IMAGES),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            help="CSV or Parquet file with columns path, label and optionally split, place.", rich_help_panel=LABELS
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="Column name in the table: label=species; repeatable.", rich_help_panel=LABELS),
    ] = None,
    separator: Annotated[
        str | None, typer.Option(help="Character between the labels of one image in the table.", rich_help_panel=LABELS)
    ] = None,
    test_split: Annotated[
        str | None,
        typer.Option(help="Published split to test on: test or validation; default: test.", rich_help_panel=LABELS),
    ] = None,
    class_level: Annotated[
        int | None,
        typer.Option(
            help="Number of the folder that names the class, 1 directly below the source.", rich_help_panel=LABELS
        ),
    ] = None,
    skip_corrupt: Annotated[
        bool, typer.Option(help="Leave out images that can't be decoded, and list them.", rich_help_panel=IMAGES)
    ] = False,
    strict: Annotated[
        bool, typer.Option(help="Stop if an image, or a near duplicate, is in two splits.", rich_help_panel=LABELS)
    ] = False,
    store_name: Annotated[
        str | None,
        typer.Option("--as", help="Name of the prepared data set; default: NAME.", rich_help_panel=options.WHERE),
    ] = None,
    value_range: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH", help="Values of float or signed pixels that become 0 and 65535.", rich_help_panel=IMAGES
        ),
    ] = None,
    resample: Annotated[
        str | None,
        typer.Option(help="Enlarges smaller pages of a TIFF: nearest, bilinear or bicubic.", rich_help_panel=IMAGES),
    ] = None,
    root: Root = None,
) -> None:
    """Convert a data set to an image store. One that is prepared from the same images and labels is kept as it is."""
    from sweep.console.dataset_tables import decisions, notes
    from trainables.data.preparing.prepare import prepare as make

    before = StoreInfo.read(store_name or name, root)
    with stage_progress(f"preparing {store_name or name}") as progress:
        info = make(
            name,
            source=source,
            root=root,
            store_name=store_name,
            lists=lists,
            table=table,
            columns=_columns(column or []),
            class_level=class_level,
            url=url,
            strict=strict,
            progress=progress,
            fraction=fraction,
            bands=_split(bands),
            pixels=pixels,
            image_size=image_size,
            labels=labels,
            splits=splits,
            exclude=_split(exclude),
            separator=separator,
            test_split=test_split,
            skip_corrupt=skip_corrupt or None,
            value_range=_range(value_range),
            resample=resample,
        )
    state = "prepared" if before is None else "already prepared"
    if before is not None and source is not None and not info.source_state:
        state += " by an earlier version, which kept nothing to compare the source with"
    sizes = ", ".join(f"{count:,} {split}" for split, count in info.splits.items())
    say(f"{info.name}: {state}, {info.images:,} images ({sizes}) in {store_folder(info.name, root)}")
    for note in (*decisions(info), *notes(info)):
        say(f"  {note}")


@app.command("list")
def list_stores(root: Root = None) -> None:
    """List the prepared data sets, and how to prepare the others."""
    from sweep.console.dataset_tables import overview, readable_stores

    infos = readable_stores(data_root() if root is None else root)
    if infos:
        screen().print(overview(infos, root))
    made = {info.data_set for info in infos}
    for name in KNOWN:
        if name not in made:
            say(f"{name}: not prepared; {prepare_command(name)}")


@app.command()
def info(name: Name, root: Root = None) -> None:
    """Describe a prepared data set: images, class frequencies, splits, leaks, origin and preparation."""
    from sweep.console.dataset_tables import class_table, split_table, summary

    store = prepared(name, root)
    screen().print(summary(store, root), "", split_table(store), "", class_table(store), sep="\n")


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
            help="Set a field that affects the views: --set image_size=64.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    root: Root = None,
) -> None:
    """Draw a contact sheet: images of each class as a trial reads them, and augmented views of one image."""
    from sweep.figures.contact_sheet import draw

    path = output or Path(f"{name}.png")
    draw(name, path, settings or [], root, overwrite=overwrite)
    say(f"{name}: drawn to {path}")


@app.command()
def upload(
    name: Name,
    address: Annotated[str, typer.Argument(help="Destination: file:///shared/stores, s3://bucket/stores, ...")],
    root: Root = None,
) -> None:
    """Copy a prepared data set to shared or object storage. Nodes with SWEEP_DATA=ADDRESS fetch it from there."""
    from trainables.data.cache import upload as copy

    store = prepared(name, root)
    place = beneath(address, name)
    with stage_progress(f"uploading {name}") as progress:
        copy(store_folder(name, root), place, progress=progress and partial(progress, "copying"))
    say(f"{name}: {store.images:,} images at {redact(place)}")


@app.command()
def remove(name: Name, root: Root = None) -> None:
    """Remove a prepared data set. The downloaded archive is kept."""
    from trainables.data.preparing.prepare import remove as delete

    say(f"{name}: removed, {delete(name, root):,} bytes")


def _split(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def _range(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise BadInputError(f"--value-range {text}: must be two numbers, LOW,HIGH, as in --value-range=-1,1") from error
    return low, high


def _columns(texts: list[str]) -> dict[str, str]:
    columns = {}
    for text in texts:
        name, separator, own = text.partition("=")
        if not separator or name not in ("path", "image", "label", "split", "place") or not own:
            raise BadInputError(f"--column {text}: must be path, image, label, split or place, =, the table's own name")
        columns[name] = own
    return columns


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    run_app(app, arguments, prog_name="python -m sweep.data")


if __name__ == "__main__":
    main()
