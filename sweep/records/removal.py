"""Removal of sweeps from a storage: all files, with or without an archive copy, or only the checkpoints."""

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainables.errors import BadInputError
from trainables.storage.ownership import make_private

if TYPE_CHECKING:
    from sweep.records.sweep_record import SweepRecord
    from sweep.records.sweep_storage import SweepStorage
    from trainables.storage.filesystem import Storage

DAY_MS = 86_400_000


@dataclass(frozen=True)
class SweepRemoval:
    """Planned removal of a sweep: folders, shared trials, sizes."""

    name: str
    folders: tuple[str, ...]
    """Folders to delete: the sweep's own, and those of trials that no other sweep contains."""
    shared: tuple[str, ...]
    """Trials that are kept, since other sweeps contain them too."""
    files: int
    size: int
    """Size in bytes."""


def plan_removal(storage: "SweepStorage", record: "SweepRecord") -> SweepRemoval:
    """Return the planned removal of a sweep; BadInputError if it is running."""
    from sweep.records.lease import holder_of

    held = holder_of(storage, record.name)
    if held is not None:
        raise BadInputError(
            f"sweep {record.name}: is running ({held.described()}); stop it: python -m sweep.stop {record.name}"
        )
    # One that can't be read is an error here: its trials would go with this sweep's.
    others = [storage.sweep(name) for name in storage.folders() if name != record.name]
    kept = {entry.folder for other in others if other is not None for entry in other.trials}
    own = [entry.folder for entry in record.trials]
    # The sweep's own folder last: until then the same command finishes what was cut short.
    folders = (*(f"trials/{folder}" for folder in own if folder not in kept), f"sweeps/{record.name}")
    sizes = [size for folder in folders for _, size in storage.storage.files(folder)]
    return SweepRemoval(record.name, folders, tuple(sorted(set(own) & kept)), len(sizes), sum(sizes))


def archive_sweep(storage: "SweepStorage", removal: SweepRemoval, target: "Storage") -> None:
    """Copy a sweep with all its trials, including shared ones, and compare the copies' checksums.

    Raises:
        BadInputError: The target is the same storage, contains another sweep of this name, or a copy differs.
    """
    source, folders = storage.storage, (*removal.folders, *(f"trials/{folder}" for folder in removal.shared))
    _check_apart(source, target, folders)
    _check_free(source, target, removal.name)
    names = [name for folder in folders for name, _ in source.files(folder)]
    digests = {name: source.copy_to(target, name) for name in names}
    wrong = [name for name, digest in digests.items() if target.digest(name) != digest]
    if wrong:
        raise BadInputError(f"--archive {target.address(wrong[0])}: differs from the original; nothing was removed")
    if names != [name for folder in folders for name, _ in source.files(folder)]:
        raise BadInputError(f"sweep {removal.name}: changed while it was copied; nothing was removed, try again")


def _check_apart(source: "Storage", target: "Storage", folders: Iterable[str]) -> None:
    """Raise BadInputError if the target and the folders to delete overlap."""
    alike = BadInputError(
        f"--archive {target.address()}: overlaps with this storage, so the copy would be removed with the sweep; "
        "choose another"
    )
    if source.overlaps(target):
        raise alike
    if target.is_local:
        make_private(Path(target.root))
    # Addresses may be spelled so that nobody can compare them: an object store's by another endpoint, say.
    for folder in folders:
        marker = f"{folder}/.archive-{secrets.token_hex(8)}"
        target.write(marker, b"")
        try:
            if any(name.endswith(marker.rpartition("/")[2]) for name, _ in source.files(folder)):
                raise alike
        finally:
            target.delete(marker)


def _check_free(source: "Storage", target: "Storage", name: str) -> None:
    """Raise BadInputError if the target has another sweep of this name; an earlier copy of this one is allowed."""
    file = f"sweeps/{name}/sweep.json"
    there = target.digest(file)
    if there is not None and there != source.digest(file):
        raise BadInputError(
            f"--archive {target.address()}: has another sweep {name!r} already; choose another target, or remove that "
            f"first: python -m sweep.remove {name} --storage {target.address()}"
        )


def delete_sweep(storage: "SweepStorage", removal: SweepRemoval) -> None:
    """Delete a sweep's folders and its lease."""
    for folder in removal.folders:
        storage.storage.delete_folder(folder)
    storage.storage.delete(f"live/{removal.name}.json")


def finished_checkpoints(storage: "SweepStorage", record: "SweepRecord") -> list[tuple[str, int]]:
    """Return the checkpoint files of a sweep's finished trials by their names in the storage, with their sizes."""
    finished = [entry.folder for entry in record.trials if storage.trial_of(entry).final() is not None]
    return [found for folder in finished for found in storage.storage.files(f"trials/{folder}/checkpoints")]


def delete_files(storage: "SweepStorage", names: Iterable[str]) -> None:
    """Delete files by their names in the storage."""
    for name in names:
        storage.storage.delete(name)


def older_than(storage: "SweepStorage", days: float) -> list[str]:
    """Return the sweeps that last ran more than `days` days ago."""
    limit = time.time_ns() // 1_000_000 - days * DAY_MS
    records = [record for name in storage.sweep_names() if (record := storage.sweep(name)) is not None]
    return [record.name for record in records if _last_ms(storage, record) < limit]


def _last_ms(storage: "SweepStorage", record: "SweepRecord") -> int:
    attempts = (attempt for entry in record.trials for attempt in storage.trial_of(entry).attempts())
    own = [attempt.ended_ms or attempt.started_ms for attempt in attempts if attempt.sweep == record.name]
    return max([record.time_ms, *own])
