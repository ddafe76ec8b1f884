"""Preparation of a data set: from published files to a data store."""

import gc
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from trainables.data.dataset_facts import KNOWN, OWN_FILES, DataSetFacts
from trainables.data.preparing.atomic_folder import atomic_folder, explained, locked, temporary_folder
from trainables.data.preparing.build_store import make_store
from trainables.data.preparing.decode_workers import Progress, warm_up
from trainables.data.preparing.existing_store import existing_store, is_made_of, recognised
from trainables.data.preparing.published_files import fetch
from trainables.data.sources.bigearthnet import read_bigearthnet_v1, read_bigearthnet_v2
from trainables.data.sources.digits import read_digits
from trainables.data.sources.eurosat import read_eurosat, read_eurosat_ms
from trainables.data.sources.folder import read_folder
from trainables.data.sources.options import choose
from trainables.data.sources.parquet import read_parquet
from trainables.data.sources.source import ImageSource, PrepareRequest
from trainables.data.sources.tiny_imagenet import read_tiny_imagenet
from trainables.data.store_addresses import store_folder
from trainables.data.store_format import INFO_FILE
from trainables.data.store_info import StoreInfo, prepare_command
from trainables.errors import BadInputError
from trainables.files.unpacked_limit import unpacked_limit

Listed = Callable[[PrepareRequest], ImageSource]
READERS: dict[str, Callable[[PrepareRequest], ImageSource]] = {
    "digits": read_digits,
    "tiny_imagenet": read_tiny_imagenet,
    "bigearthnet_v1": read_bigearthnet_v1,
    "bigearthnet_v2": read_bigearthnet_v2,
    "eurosat": read_eurosat,
    "eurosat_ms": read_eurosat_ms,
    "folder": read_folder,
    "parquet": read_parquet,
}


def prepare(
    name: str,
    *,
    source: Path | None = None,
    root: Path | None = None,
    store_name: str | None = None,
    lists: Path | None = None,
    table: Path | None = None,
    columns: Mapping[str, str] | None = None,
    class_level: int | None = None,
    url: str | None = None,
    strict: bool = False,
    progress: Progress | None = None,
    reader: Callable[[PrepareRequest], ImageSource] | None = None,
    **chosen: Any,
) -> StoreInfo:
    """Prepare a data set as an image store and return the store's info.

    A store of the same images, labels and options is returned unchanged.

    Args:
        name: Name of the data set, as `digits` or `folder`.
        source: Folder or archive of the images; None: the data set's download.
        root: Folder of all stores; None: the default root.
        store_name: Name of the store; None: `name`.
        lists: Folder of the official split lists, if they aren't beside the source.
        table: CSV or Parquet file of image paths and labels, for `folder` only.
        columns: Column names in `table` by their meaning (path, image, label, split, place).
        class_level: Level of the folders that name the classes, 1: directly below the source; None: by the layout.
        url: Mirror of the download.
        strict: Whether images in two splits are an error.
        progress: Function called with a description, the count so far and the total (None: unknown).
        reader: Function that lists the images; None: the reader of `name` in READERS.
        **chosen: Fields of StoreOptions.

    Raises:
        BadInputError: Unknown data set or option, wrong layout, undecodable image, full disk, a store of that name
            made with other options, or with `strict` an image in two splits.
    """
    unpacked_limit(0)  # a wrong SWEEP_UNPACKED_LIMIT is no fault of an image, which might be left out
    facts = _facts(name)
    if table is not None and facts.name != "folder":
        raise BadInputError(f"--table {table}: is for images in a folder; leave it out, or prepare folder")
    _check_class_level(facts, table, class_level)
    if unused := _unused(facts, source, table, columns, lists, url, chosen.get("separator")):
        raise BadInputError(*unused)
    if store_name in KNOWN and store_name != name:
        raise BadInputError(f"--as {store_name}: is the name of another data set; choose a name of its own")
    stated = frozenset(option for option, value in chosen.items() if value is not None)
    request = PrepareRequest(facts, choose(facts, chosen), source, lists, table, columns or {}, class_level, stated)
    listed = partial(_listed, reader=reader or _reader(name))
    folder = store_folder(store_name or name, root)
    if (existing := _unchanged(folder, request, listed)) is not None:
        return existing  # without the lock, so that a read-only root serves what it has
    if source is None and facts.archive is not None:
        request = fetch(request, folder.parent, url, progress)
    with locked(folder, "prepared"):
        if (existing := _unchanged(folder, replace(request, source=source), listed)) is not None:
            return existing  # another process made it meanwhile
        if facts.layout is not None:
            warm_up(reader.__module__ if reader else "")
        return _made(folder, request, listed, strict, progress)


def _unchanged(folder: Path, request: PrepareRequest, listed: Listed) -> StoreInfo | None:
    """Return the existing store if no source is given or it was made of the source's images; otherwise None."""
    existing = existing_store(folder, request)
    known = existing is not None and (request.source is None or is_made_of(existing, listed(request), request))
    return existing if known else None


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause Python's search for reference cycles, which takes a third of the time of listing and of the index."""
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


@_collector_paused()
def _made(folder: Path, request: PrepareRequest, listed: Listed, strict: bool, progress: Progress | None) -> StoreInfo:
    """Make the store; if one exists, return it if equal, otherwise raise BadInputError."""
    listing, existing = listed(request), StoreInfo.read_folder(folder)
    with atomic_folder(folder) if existing is None else temporary_folder(folder) as aside:
        made = make_store(aside, folder.name, request, listing, strict, progress)
        return made if existing is None else recognised(existing, folder, made, aside)


def remove(name: str, root: Path | None = None) -> int:
    """Remove a store of any format and return the bytes freed; of a symbolic link, only the link is removed.

    Raises:
        BadInputError: There is no such store.
    """
    folder = store_folder(name, root)
    if not (folder / INFO_FILE).is_file():
        raise BadInputError(f"{folder}: no prepared data set to remove; see python -m sweep.data list")
    with locked(folder, "prepared"), explained(folder.parent):
        size = 0
        if folder.is_symlink():
            folder.unlink()  # what it leads to is a store of another place
        else:
            size = sum(path.stat().st_size for path in folder.iterdir())
            (folder / INFO_FILE).unlink()  # first, so that nobody reads what is going
            shutil.rmtree(folder)
        # While it is held: a process that took it afterwards would hold a lock that no other process sees.
        (folder.parent / f".{name}.lock").unlink(missing_ok=True)
    return size


def _facts(name: str) -> DataSetFacts:
    if name not in KNOWN:
        raise BadInputError(f"unknown data set {name!r}; known: {', '.join(KNOWN)}")
    return KNOWN[name]


def _reader(name: str) -> Callable[[PrepareRequest], ImageSource]:
    if name not in READERS:
        raise BadInputError(f"{name}: can be prepared only by the command: {prepare_command(name)}")
    return READERS[name]


def _listed(request: PrepareRequest, *, reader: Callable[[PrepareRequest], ImageSource]) -> ImageSource:
    try:
        return reader(request)
    except OSError as error:
        raise BadInputError(f"{error.filename or request.source}: can't be read ({error.strerror or error})") from error


def _unused(
    facts: DataSetFacts,
    source: Path | None,
    table: Path | None,
    columns: Mapping[str, str] | None,
    lists: Path | None,
    url: str | None,
    separator: str | None,
) -> list[str]:
    """Return one line for each given option that would have no effect."""
    lines = []
    own = facts.name in OWN_FILES
    if columns and not (facts.name == "parquet" or table):
        ways = "add --table FILE, or leave it out" if facts.name == "folder" else "leave it out"
        lines.append(f"--column {'='.join(next(iter(columns.items())))}: is for the columns of a table; {ways}")
    if separator and facts.name == "folder" and not table:
        lines.append(f"--separator {separator}: is for the labels of a table; add --table FILE, or leave it out")
    if lists and (own or facts.name in ("digits", "tiny_imagenet")):
        lines.append(f"--lists {lists}: {facts.name} has no published lists; leave it out")
    if url and (facts.archive is None or source is not None):
        why = f"{facts.name} isn't downloaded" if facts.archive is None else "--source is given too"
        lines.append(f"--url {url}: {why}; leave it out")
    return lines


def _check_class_level(facts: DataSetFacts, table: Path | None, class_level: int | None) -> None:
    if class_level is None:
        return
    if class_level < 1:
        raise BadInputError(f"--class-level must be >= 1, the first folder below the source, got {class_level}")
    if facts.name != "folder" or table is not None:
        raise BadInputError(f"--class-level {class_level}: is for class folders of your own; leave it out")
