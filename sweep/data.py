"""Prepare, list, describe and verify data sets: `python -m sweep.data --help`."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweep.command_line import PIPED_WIDTH, run_app
from trainables.data.catalog import IMAGES_FILE, KNOWN, StoreInfo, data_root, prepare_command, prepared, store_folder
from trainables.errors import BadInputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


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
    source: Annotated[Path | None, typer.Option(help="Folder with the data set as published, unpacked.")] = None,
    fraction: Annotated[float, typer.Option(help="Keep this share of the images, chosen by a hash of the name.")] = 1.0,
    store_name: Annotated[str | None, typer.Option("--as", help="Name to keep it under (default: NAME).")] = None,
    root: Root = None,
) -> None:
    """Convert a data set to an Arrow store; done before, it is left as it is."""
    from trainables.data.prepare import prepare as make

    before = StoreInfo.read(store_name or name, root)
    with _progress(f"preparing {store_name or name}") as progress:
        info = make(name, source=source, root=root, fraction=fraction, store_name=store_name, progress=progress)
    state = "prepared" if before is None else "already prepared"
    sizes = ", ".join(f"{count:,} {split}" for split, count in info.splits.items())
    print(f"{info.name}: {state}, {info.images:,} images ({sizes}) in {store_folder(info.name, root)}")


@app.command("list")
def list_stores(root: Root = None) -> None:
    """List what is prepared, and how to prepare the rest."""
    table = _table("name", "images", "size", "classes", "MiB", "fingerprint")
    infos = _stores(data_root() if root is None else root)
    for info in infos:
        row = (f"{info.images:,}", _pixels(info), len(info.class_names), _mebibytes(info, root), info.fingerprint[:12])
        table.add_row(info.name, *map(str, row))
    if infos:
        _console().print(table)
    missing = [name for name in KNOWN if name not in {info.name for info in infos}]
    for name in missing:
        print(f"{name}: not prepared; {prepare_command(name)}")


@app.command()
def info(name: Name, root: Root = None) -> None:
    """Describe a prepared data set: images, classes and shares, splits, origin, and how it was made."""
    store = prepared(name, root)
    console = _console()
    console.print(_summary(store, root), "", _splits(store), "", _classes(store), sep="\n")


@app.command()
def verify(name: Name, root: Root = None) -> None:
    """Read every image of a prepared data set and compare it with its checksum."""
    from trainables.data.prepare import verify as check

    with _progress(f"verifying {name}") as progress:
        store = check(name, root, progress)
    print(f"{name}: {store.images:,} images verified, fingerprint {store.fingerprint}")


def _stores(root: Path) -> list[StoreInfo]:
    stores = []
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        try:
            found = None if folder.name.startswith(".") else StoreInfo.read_folder(folder)
        except BadInputError as error:  # one damaged store doesn't hide the others
            print(f"error: {error}", file=sys.stderr)
        else:
            stores += [] if found is None else [found]
    return stores


def _summary(store: StoreInfo, root: Path | None) -> "Table":
    known = KNOWN.get(store.data_set)
    table = _table("", "")
    table.show_header = False
    rows = {
        "name": store.name,
        "data set": f"{store.data_set}: {known.source}" if known else store.data_set,
        "source": store.source,
        "licence": store.licence,
        "images": f"{store.images:,} of {_pixels(store)} uint8",
        "bytes": f"{_bytes(store, root):,} in {store_folder(store.name, root)}",
        "labels": f"{len(store.class_names)} classes, {'several' if store.multi_label else 'one'} an image",
        "fingerprint": store.fingerprint,
        **{f"made with {key}": str(value) for key, value in store.options.items()},
        **{f"note {number}": note for number, note in enumerate(store.notes, start=1)},
    }
    for row in rows.items():
        table.add_row(*row)
    return table


def _splits(store: StoreInfo) -> "Table":
    """One row a split: images, and how many of them each rule calls positive."""
    table = _table("split", "images", *(f"positive by {rule!r}" for rule in store.rules))
    total = {rule: sum(counts.values()) for rule, counts in store.rule_counts.items()}
    for split, images in store.splits.items():
        positives = (_share(store.rule_counts[rule][split], images) for rule in store.rules)
        table.add_row(split, f"{images:,}", *positives)
    table.add_row("all", f"{store.images:,}", *(_share(total[rule], store.images) for rule in store.rules))
    return table


def _classes(store: StoreInfo) -> "Table":
    """One row a class: images in all, their share, images in each split, and the rules that count it as positive."""
    table = _table("class", "images", *store.splits, "rules")
    for index, name in enumerate(store.class_names):
        counts = [store.class_counts[split][index] for split in store.splits]
        rules = ", ".join(rule for rule, names in store.rules.items() if name in names)
        table.add_row(name, _share(sum(counts), store.images), *(f"{count:,}" for count in counts), rules)
    return table


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({part / max(whole, 1):.1%})"


def _pixels(store: StoreInfo) -> str:
    height, width = store.image_size
    return f"{height} x {width} x {store.channels}"


def _bytes(store: StoreInfo, root: Path | None) -> int:
    path = store_folder(store.name, root) / IMAGES_FILE
    try:
        return path.stat().st_size
    except OSError as error:
        raise BadInputError(
            f"{path}: can't be read ({error.strerror}); delete {path.parent} and prepare again"
        ) from error


def _mebibytes(store: StoreInfo, root: Path | None) -> str:
    return f"{_bytes(store, root) / 2**20:,.1f}"


def _table(*columns: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    numbers = {"images", "MiB", "train", "test"}
    for column in columns:
        table.add_column(column, justify="right" if column in numbers or column.startswith("positive") else "left")
    return table


def _console() -> "Console":
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False, markup=False)


@contextmanager
def _progress(task: str) -> Iterator[Callable[[int, int], None] | None]:
    """Give a callback that draws a progress bar on stderr, or None where that is no terminal."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    if not sys.stderr.isatty():
        yield None
        return
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        number = bar.add_task(task, total=None)
        yield lambda done, total: bar.update(number, completed=done, total=total)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    run_app(app, arguments, prog_name="python -m sweep.data")


if __name__ == "__main__":
    main()
