"""From a data set in its original layout to an Arrow store, and the check that the store is still what was made."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from trainables.data.bigearthnet import read_bigearthnet
from trainables.data.catalog import (
    IMAGES_FILE,
    KNOWN,
    DataSetFacts,
    OptionValue,
    StoreInfo,
    prepared,
    store_folder,
)
from trainables.data.digits import read_digits
from trainables.data.eurosat import read_eurosat
from trainables.data.rows import (
    SPLITS,
    UNREADABLE,
    check_rows,
    fingerprint,
    open_rows,
)
from trainables.data.source import Entry, Source
from trainables.data.stable_hash import SUBSET_SALT, stable_fraction
from trainables.data.tiny_imagenet import read_tiny_imagenet
from trainables.data.write import Progress, lock_store, write_store
from trainables.errors import BadInputError

READERS: dict[str, Callable[[Path | None], Source]] = {
    "digits": read_digits,
    "tiny_imagenet": read_tiny_imagenet,
    "bigearthnet": read_bigearthnet,
    "eurosat": read_eurosat,
}


def prepare(
    name: str,
    *,
    source: Path | None = None,
    root: Path | None = None,
    fraction: float = 1.0,
    store_name: str | None = None,
    progress: Progress | None = None,
) -> StoreInfo:
    """Make the store `store_name` (default: `name`) of the data set `name` in the folder `source`.

    `fraction` keeps that share of the images, by a stable hash of their names. A store that exists with the same
    options is returned as it is; with others, or of another source, BadInputError says what differs. BadInputError too
    for an unknown data set, a wrong layout, an image that can't be decoded and a root that can't be written.
    """
    facts = _facts(name)
    options = _options(facts, fraction)
    folder = store_folder(store_name or name, root)
    if (existing := _existing(folder, facts, options, source)) is not None:
        return existing  # without the lock, so that a read-only root serves what it has
    listing = _listed(facts, source)
    entries = _chosen(listing, fraction)
    with lock_store(folder):
        existing = _existing(folder, facts, options, source)  # another process may have made it meanwhile
        return existing or write_store(folder, facts, listing, entries, options, progress)


def verify(name: str, root: Path | None = None, progress: Progress | None = None) -> StoreInfo:
    """Read all of the store `name` and compare each row with its checksum and the whole with its fingerprint.

    Raises BadInputError that names the first bad row, or the file.
    """
    info = prepared(name, root)
    folder = store_folder(name, root)
    path = folder / IMAGES_FILE
    batches, _ = open_rows(path)
    checksums = bytearray()
    try:
        for number, checksum in enumerate(check_rows(batches, path), start=1):
            checksums += checksum
            if progress is not None and (number % 1000 == 0 or number == info.images):
                progress(number, info.images)
    except UNREADABLE as error:
        raise BadInputError(f"{path}: damaged ({error}); delete {folder} and prepare it again") from error
    if fingerprint(info, bytes(checksums)) != info.fingerprint:
        raise BadInputError(f"{folder}: differs from its fingerprint; delete it and prepare it again")
    return info


def _facts(name: str) -> DataSetFacts:
    if name not in KNOWN:
        raise BadInputError(f"unknown data set {name!r}; known: {', '.join(KNOWN)}")
    return KNOWN[name]


def _options(facts: DataSetFacts, fraction: float) -> dict[str, OptionValue]:
    if not 0.0 < fraction <= 1.0:
        raise BadInputError(f"fraction must be > 0 and <= 1, got {fraction}")
    share: dict[str, OptionValue] = {} if facts.test_share is None else {"test_share": facts.test_share}
    return {"fraction": float(fraction), **share, **facts.recipe}


def _listed(facts: DataSetFacts, source: Path | None) -> Source:
    try:
        return READERS[facts.name](source)
    except OSError as error:
        raise BadInputError(f"{error.filename or source}: can't be read ({error.strerror or error})") from error


def _existing(
    folder: Path, facts: DataSetFacts, options: dict[str, OptionValue], source: Path | None
) -> StoreInfo | None:
    """Return the store in `folder`, None if there is none; BadInputError when it isn't what is asked for now."""
    existing = StoreInfo.read_folder(folder)
    if existing is None:
        return None
    have = {"data set": existing.data_set, **existing.options}
    want: dict[str, OptionValue] = {"data set": facts.name, **options}
    if source is not None and not _is_same_folder(source, existing.source):
        have["source"], want["source"] = existing.source, str(source)
    differing = [key for key in {**have, **want} if have.get(key) != want.get(key)]
    if differing:
        changes = "; ".join(f"{key} is {have.get(key)!r}, asked for {want.get(key)!r}" for key in differing)
        raise BadInputError(
            f"{existing.name} is prepared otherwise: {changes}; choose another name with --as NAME, or delete {folder}"
        )
    return existing


def _is_same_folder(source: Path, recorded: str) -> bool:
    """Whether `recorded` is `source` itself or the sub-folder of it in which the images were found."""
    return Path(recorded) == source.resolve() or Path(recorded).parent == source.resolve()


def _chosen(listing: Source, fraction: float) -> list[Entry]:
    """Return the entries to keep, sorted by name, so that the fingerprint doesn't depend on the file system's order."""
    entries = sorted(listing.entries, key=lambda entry: entry.name)
    for first, second in pairwise(entries):
        if first.name == second.name:
            raise BadInputError(f"{listing.location}: two images are named {first.name}; names must be unique")
    values = stable_fraction([entry.name for entry in entries], salt=SUBSET_SALT)
    kept = [entry for entry, value in zip(entries, values.tolist(), strict=True) if value < fraction]
    for split in SPLITS:
        if not any(entry.split == split for entry in kept):
            raise BadInputError(
                f"{listing.location}: no image for the {split} split among {len(kept)}; raise --fraction"
            )
    return kept
