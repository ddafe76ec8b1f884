"""Writing a store: made aside under a lock, then moved into place in one step."""

import fcntl
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from trainables.data.catalog import FORMAT_VERSION, IMAGES_FILE, INFO_FILE, DataSetFacts, OptionValue, StoreInfo
from trainables.data.rows import fingerprint, read_batches, schema
from trainables.data.source import Entry, Source
from trainables.data.tally import Tally
from trainables.errors import BadInputError

CHANNELS = 3
MOST_THREADS = 16

Progress = Callable[[int, int], None]
"""Called with images done and images in all."""


@contextmanager
def lock_store(folder: Path) -> Iterator[None]:
    """Hold the store's name for one `prepare` at a time, so that what lies half-made beside it is nobody's."""
    with _explained(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        file = (folder.parent / f".{folder.name}.lock").open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInputError(f"{folder}: being prepared by another process; wait for it") from error
        yield


@contextmanager
def _explained(root: Path) -> Iterator[None]:
    """Turn a failure to write (no permission, disk full) into BadInputError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise BadInputError(f"{root}: can't be written ({reason}); choose another place with --root") from error


def write_store(
    folder: Path,
    facts: DataSetFacts,
    listing: Source,
    entries: list[Entry],
    options: dict[str, OptionValue],
    progress: Progress | None,
) -> StoreInfo:
    """Write `entries` as the store in `folder`, which must be locked; a reader sees all of it or nothing.

    Raises BadInputError for an image that can't be decoded, and where the folder can't be written.
    """
    if folder.exists():
        raise BadInputError(f"{folder}: exists and is not a store; choose another name with --as NAME, or delete it")
    partial = folder.parent / f".{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with _explained(folder.parent):
            partial.mkdir()
            tally, checksums = _write_images(partial / IMAGES_FILE, facts, listing, entries, progress)
            info = _describe(folder.name, facts, listing, options, tally)
            info = info.model_copy(update={"fingerprint": fingerprint(info, checksums)})
            (partial / INFO_FILE).write_text(info.model_dump_json(indent=1) + "\n", encoding="utf-8")
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return info


def _write_images(
    path: Path, facts: DataSetFacts, listing: Source, entries: list[Entry], progress: Progress | None
) -> tuple[Tally, bytes]:
    """Write the Arrow file; return what was counted and all rows' checksums in order."""
    shape = (facts.image_size, facts.image_size, CHANNELS)
    threads = min(len(os.sched_getaffinity(0)), MOST_THREADS)
    tally = Tally(listing.class_names, facts.rules)
    checksums = bytearray()
    with (
        warnings.catch_warnings(),
        pa.OSFile(str(path), "wb") as file,
        pa.ipc.new_file(file, schema(int(np.prod(shape)))) as writer,
    ):
        warnings.filterwarnings("ignore", module=r"PIL\.")  # odd metadata; broken pixels raise
        for batch in read_batches(entries, shape, threads):
            writer.write_batch(batch)
            tally.add(batch)
            checksums += b"".join(batch.column("checksum").to_pylist())
            if progress is not None:
                progress(tally.images, len(entries))
    return tally, bytes(checksums)


def _describe(
    name: str, facts: DataSetFacts, listing: Source, options: dict[str, OptionValue], tally: Tally
) -> StoreInfo:
    return StoreInfo(
        format_version=FORMAT_VERSION,
        name=name,
        data_set=facts.name,
        source=listing.location,
        image_size=(facts.image_size, facts.image_size),
        channels=CHANNELS,
        class_names=listing.class_names,
        multi_label=facts.multi_label,
        rules=facts.rules,
        splits=tally.splits,
        class_counts=tally.class_counts,
        rule_counts=tally.rule_counts,
        options=options,
        licence=facts.licence,
        notes=listing.notes,
        fingerprint="",
    )
