"""Prepare, list, describe, show, verify, share and remove data sets: `python -m sweep.data --help`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sweep.console.app import run_app, stage_progress
from sweep.console.printing import say, screen
from trainables.data.catalog import StoreInfo, beneath, data_root, prepare_command, prepared, store_folder
from trainables.data.dataset_facts import KNOWN
from trainables.errors import BadInputError
from trainables.redaction import redact

app = typer.Typer(
    help="Prepare the images that sweeps train on: convert once, verify, and say what is in them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
Root = Annotated[
    Path | None,
    typer.Option("--root", help="Folder that holds the prepared data sets (default: SWEEP_DATA, or a cache)."),
]
Name = Annotated[str, typer.Argument(help="Name of a prepared data set.")]


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(KNOWN)}.")],
    source: Annotated[
        Path | None, typer.Option(help="Archive or folder, as published; left out, it is downloaded.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Mirror to download the archive from.")] = None,
    lists: Annotated[
        Path | None, typer.Option(help="Folder with official splits and lists, if not beside the source.")
    ] = None,
    fraction: Annotated[
        float | None, typer.Option(help="Keep this share of the images, chosen by a hash of the name.")
    ] = None,
    bands: Annotated[str | None, typer.Option(help="Bands to keep, separated by commas, or all.")] = None,
    pixels: Annotated[
        str | None, typer.Option(help="What becomes of 16-bit values: thesis, percentiles or none.")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Side in pixels: central square, bicubic with antialiasing.")
    ] = None,
    labels: Annotated[str | None, typer.Option(help="BigEarthNet's label set: 43, 19 or farmland.")] = None,
    splits: Annotated[str | None, typer.Option(help="Rule for the splits: thesis, official, random, place ...")] = None,
    exclude: Annotated[str | None, typer.Option(help="Leave out patches with snow, cloud (and shadow).")] = None,
    table: Annotated[
        Path | None, typer.Option(help="Of a folder: CSV or Parquet with the columns path, label (split, place).")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="The table's own column name: label=species; once for each.")
    ] = None,
    separator: Annotated[str | None, typer.Option(help="Between several labels of an image in the table.")] = None,
    skip_corrupt: Annotated[bool, typer.Option(help="Leave out images that can't be decoded, and list them.")] = False,
    strict: Annotated[bool, typer.Option(help="Refuse images that stand, or nearly, in two splits.")] = False,
    store_name: Annotated[str | None, typer.Option("--as", help="Name to keep it under (default: NAME).")] = None,
    root: Root = None,
) -> None:
    """Convert a data set to a store; done before, it is left as it is."""
    from sweep.console.dataset_tables import notes
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
            skip_corrupt=skip_corrupt or None,
        )
    state = "prepared" if before is None else "already prepared"
    sizes = ", ".join(f"{count:,} {split}" for split, count in info.splits.items())
    say(f"{info.name}: {state}, {info.images:,} images ({sizes}) in {store_folder(info.name, root)}")
    for note in notes(info):
        say(f"  {note}")


@app.command("list")
def list_stores(root: Root = None) -> None:
    """List what is prepared, and how to prepare the rest."""
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
    """Describe a prepared data set: images, classes and shares, splits, leaks, origin, and how it was made."""
    from sweep.console.dataset_tables import class_table, split_table, summary

    store = prepared(name, root)
    screen().print(summary(store, root), "", split_table(store), "", class_table(store), sep="\n")


@app.command()
def verify(
    name: Annotated[str, typer.Argument(help="Name of a prepared data set, or its address (s3://bucket/stores/NAME).")],
    root: Root = None,
) -> None:
    """Read every image of a prepared data set, here or at an address, and compare it with its checksum."""
    from trainables.data.preparing.verify import verify as check

    with stage_progress(f"verifying {name}") as progress:
        store = check(name, root, progress)
    say(f"{name}: {store.images:,} images verified, fingerprint {store.fingerprint}")


@app.command()
def show(
    name: Name,
    output: Annotated[Path | None, typer.Option(help="PNG to write (default: NAME.png here).")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Field of a trial that decides the views, as image_size=64.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what another program wrote there.")] = False,
    root: Root = None,
) -> None:
    """Draw a contact sheet: a few images of each class as a trial will see them, and one image's augmented views."""
    from sweep.figures.contact_sheet import draw

    path = output or Path(f"{name}.png")
    draw(name, path, settings or [], root, overwrite=overwrite)
    say(f"{name}: drawn to {path}")


@app.command()
def upload(
    name: Name,
    address: Annotated[str, typer.Argument(help="Where to: file:///shared/stores, s3://bucket/stores ...")],
    root: Root = None,
) -> None:
    """Copy a prepared data set to shared or object storage; a cluster's nodes fetch it with SWEEP_DATA=ADDRESS."""
    from trainables.data.cache import upload as copy

    store = prepared(name, root)
    place = beneath(address, name)
    with stage_progress(f"uploading {name}") as progress:
        copy(store_folder(name, root), place, progress=progress and partial(progress, "copying"))
    say(f"{name}: {store.images:,} images at {redact(place)}")


@app.command()
def remove(name: Name, root: Root = None) -> None:
    """Remove a prepared data set; what was downloaded for it stays."""
    from trainables.data.preparing.prepare import remove as delete

    say(f"{name}: removed, {delete(name, root):,} bytes")


def _split(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


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
