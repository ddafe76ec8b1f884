"""Size of the node cache: locks on its stores, and eviction of the least recently used."""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from trainables.errors import BadInputError
from trainables.files.byte_size import shown_size, size_from_environment
from trainables.storage.ownership import refuse_foreign

SHARE_OF_DISK = 0.8
TOKEN = "[0-9a-f]" * 16
USE_FILE = ".use"
"""Its modification time is the store's last use; each reader of the store holds a shared lock on it."""


def hold(folder: Path) -> IO[bytes]:
    """Hold a shared lock on a cached store, so that it isn't removed; closing the returned file releases the lock.

    Raises:
        BadInputError: The store was removed after `local_copy` returned.
    """
    with suppress(FileNotFoundError):
        file = (folder / USE_FILE).open("rb")
        fcntl.flock(file, fcntl.LOCK_SH)
        if folder.is_dir() and os.fstat(file.fileno()).st_nlink:  # else removed while this process waited
            return file
        file.close()
    raise BadInputError(f"{folder}: removed to make room for another store; start again, or raise SWEEP_CACHE_LIMIT")


def make_room(root: Path, needed: int, limit: int) -> None:
    """Remove unlocked stores, the least recently used first, until `needed` bytes fit; remove none if they can't.

    Raises:
        BadInputError: They can't fit within the limit beside the stores in use.
    """
    with locked(root / ".room.lock"):
        for partial in root.glob(".*.partial"):
            with locked(root / f".{partial.name.split('.')[1]}.lock", wait=False) as abandoned:
                if abandoned:
                    shutil.rmtree(partial, ignore_errors=True)
        kept = [file.parent for file in sorted(root.glob(f"[!.]*/{USE_FILE}"), key=lambda file: file.stat().st_mtime)]
        sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in kept}
        disk = sum(sizes.values()) + shutil.disk_usage(root).free
        held = sum(size for path, size in sizes.items() if _is_held(path))
        if held + needed > min(limit, disk):
            raise BadInputError(
                f"{root}: needs {shown_size(needed)}, the limit is {shown_size(limit)}, the disk has "
                f"{shown_size(disk)} for stores, {shown_size(held)} are in use; raise SWEEP_CACHE_LIMIT or choose "
                "another SWEEP_CACHE"
            )
        for path in kept:
            if sum(sizes.values()) + needed > min(limit, disk) and _remove(path):
                del sizes[path]


def _remove(folder: Path) -> bool:
    """Remove a store and return True, or return False if a process reads or requests it."""
    partial = new_partial_folder(folder)
    with locked(hidden_beside(folder, "lock"), wait=False) as alone, _closed_to_readers(folder) as unheld:
        if alone and unheld:
            folder.rename(partial)  # atomic, so that no process sees a partial store
            shutil.rmtree(partial)
        return alone and unheld


def _is_held(folder: Path) -> bool:
    with _closed_to_readers(folder) as unheld:
        return not unheld


@contextmanager
def _closed_to_readers(folder: Path) -> Iterator[bool]:
    """Hold an exclusive lock against readers; yields False if a reader holds the store.

    It uses flock directly, since filelock has no shared locks.
    """
    with (folder / USE_FILE).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unheld = True
        except BlockingIOError:
            unheld = False
        yield unheld


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold an exclusive lock on a file; yields False if another process holds it and `wait` is False."""
    refuse_foreign(path)
    held: AbstractContextManager[object] = nullcontext()
    try:
        held = FileLock(path).acquire(blocking=wait)
        alone = True
    except Timeout:
        alone = False
    with held:
        yield alone


def hidden_beside(folder: Path, kind: str) -> Path:
    """Return a hidden path beside a store, for its lock or a partial copy of it."""
    return folder.with_name(f".{folder.name}.{kind}")


def new_partial_folder(folder: Path) -> Path:
    """Return an unguessable folder name, so that nobody can create it in advance."""
    return hidden_beside(folder, f"{secrets.token_hex(8)}.partial")


def partial_folders(folder: Path) -> list[Path]:
    """Return partial folders of killed processes, including those of earlier versions without random names."""
    return [hidden_beside(folder, "partial"), *folder.parent.glob(f".{folder.name}.{TOKEN}.partial")]


def size_limit(root: Path, limit: int | None) -> int:
    """Return the cache's limit in bytes: `limit`, else SWEEP_CACHE_LIMIT, else a share of the disk."""
    if limit is not None:
        return limit
    chosen = size_from_environment("SWEEP_CACHE_LIMIT")
    return int(shutil.disk_usage(root).total * SHARE_OF_DISK) if chosen is None else chosen
