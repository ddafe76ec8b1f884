"""Removing sweeps from a storage: what goes with them, copying it away before, and their checkpoints alone."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.errors import BadInputError

if TYPE_CHECKING:
    from sweep.records.sweep_record import SweepRecord
    from sweep.records.sweep_storage import SweepStorage
    from trainables.storage.filesystem import Storage

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Removal:
    """What goes with a sweep."""

    name: str
    folders: tuple[str, ...]
    """Its own, and those of trials that no other sweep lists."""
    shared: tuple[str, ...]
    """Trials that stay, since other sweeps list them too."""
    files: int
    size: int
    """Bytes."""


def plan_removal(storage: "SweepStorage", record: "SweepRecord") -> Removal:
    """Return what would go with a sweep; BadInputError while it runs."""
    from sweep.records.lease import holder_of

    held = holder_of(storage, record.name)
    if held is not None:
        raise BadInputError(
            f"sweep {record.name}: is running ({held.described()}); stop it: python -m sweep.stop {record.name}"
        )
    others = [storage.sweep(name) for name in storage.sweep_names() if name != record.name]
    kept = {entry.folder for other in others if other is not None for entry in other.trials}
    own = [entry.folder for entry in record.trials]
    # The sweep's own folder last: until then the same command finishes what was cut short.
    folders = (*(f"trials/{folder}" for folder in own if folder not in kept), f"sweeps/{record.name}")
    sizes = [size for folder in folders for _, size in contents(storage.storage, folder)]
    return Removal(record.name, folders, tuple(sorted(set(own) & kept)), len(sizes), sum(sizes))


def contents(storage: "Storage", folder: str) -> Iterator[tuple[str, int]]:
    """Yield the files below a folder by their names in the storage, with their sizes."""
    from pyarrow import fs

    selector = fs.FileSelector(f"{storage.root}/{folder}", recursive=True, allow_not_found=True)
    for info in storage.filesystem.get_file_info(selector):
        if info.is_file:
            yield info.path.removeprefix(f"{storage.root}/"), info.size


def archive_sweep(storage: "SweepStorage", removal: Removal, target: "Storage") -> None:
    """Copy a sweep and all its trials, also those that stay; BadInputError when a file arrived with another size."""
    folders = (*removal.folders, *(f"trials/{folder}" for folder in removal.shared))
    _copy(storage.storage, target, [name for folder in folders for name, _ in contents(storage.storage, folder)])


def delete_sweep(storage: "SweepStorage", removal: Removal) -> None:
    """Delete a sweep's folders and its lease."""
    for folder in removal.folders:
        storage.storage.filesystem.delete_dir(f"{storage.storage.root}/{folder}")
    storage.storage.delete(f"live/{removal.name}.json")


def finished_checkpoints(storage: "SweepStorage", record: "SweepRecord") -> list[tuple[str, int]]:
    """Return the checkpoint files of a sweep's finished trials by their names in the storage, with their sizes."""
    finished = [entry.folder for entry in record.trials if storage.trial_of(entry).final() is not None]
    return [found for folder in finished for found in contents(storage.storage, f"trials/{folder}/checkpoints")]


def delete_files(storage: "SweepStorage", names: Iterable[str]) -> None:
    """Delete files by their names in the storage."""
    for name in names:
        storage.storage.delete(name)


def older_than(storage: "SweepStorage", days: float) -> list[str]:
    """Return the sweeps that were last run so many days ago."""
    limit = time.time_ns() // 1_000_000 - days * DAY_MS
    records = [record for name in storage.sweep_names() if (record := storage.sweep(name)) is not None]
    return [record.name for record in records if _last_ms(storage, record) < limit]


def _copy(storage: "Storage", target: "Storage", names: Iterable[str]) -> None:
    for name in names:
        content = storage.read(name)
        if content is None:
            continue
        target.write(name, content)
        written = target.read(name)
        if written != content:
            raise BadInputError(f"--archive {target.address(name)}: isn't what was written; nothing was removed")


def _last_ms(storage: "SweepStorage", record: "SweepRecord") -> int:
    attempts = (attempt for entry in record.trials for attempt in storage.trial_of(entry).attempts())
    own = [attempt.ended_ms or attempt.started_ms for attempt in attempts if attempt.sweep == record.name]
    return max([record.time_ms, *own])
