"""Atomic writing of a store: an exclusive lock, a temporary folder beside the target, and a rename at the end."""

import glob
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from trainables.errors import BadInputError
from trainables.files.byte_size import shown_size
from trainables.storage.ownership import make_private, refuse_foreign

TOKEN = "[0-9a-f]" * 16
"""Random part of a temporary name, as a glob pattern; random, so that no other user can create the name first."""
SPARE_BYTES = 2**24
"""Free space in bytes that must remain after the store is written."""


@contextmanager
def locked(target: Path, doing: str) -> Iterator[None]:
    """Hold an exclusive lock on the path of a store or file, so that no other process touches its partial files.

    The operating system frees the lock when its process ends.

    Args:
        target: Path of the store or file.
        doing: Action in words, for the error message of a process that finds the lock held.

    Raises:
        BadInputError: Another process holds the lock.
    """
    with explained(target.parent):
        make_private(target.parent)
        lock = target.parent / f".{target.name}.lock"
        refuse_foreign(lock)
        try:
            held = FileLock(lock).acquire(blocking=False)
        except Timeout as error:
            raise BadInputError(f"{target}: being {doing} by another process; wait for it") from error
    with held:
        yield


@contextmanager
def explained(root: Path) -> Iterator[None]:
    """Turn write errors (no permission, full disk) into BadInputError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise BadInputError(f"{root}: can't be written ({reason}); choose another place with --root") from error


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`; rename it to `folder` at the end, or delete it after an exception.

    The caller holds the lock of `folder`.
    """
    if folder.exists():
        raise BadInputError(f"{folder}: exists and is not a store; choose another name with --as NAME, or delete it")
    with temporary_folder(folder) as partial, explained(folder.parent):
        yield partial
        partial.rename(folder)


@contextmanager
def temporary_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `folder`; delete it at the end unless it was renamed.

    The caller holds the lock of `folder`.
    """
    named = folder.parent.glob(f".{glob.escape(folder.name)}.{TOKEN}.partial")
    for left in (folder.parent / f".{folder.name}.partial", *named):  # of processes that were killed
        shutil.rmtree(left, ignore_errors=True)
    partial = folder.parent / f".{folder.name}.{secrets.token_hex(8)}.partial"
    try:
        with explained(folder.parent):
            partial.mkdir()
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_space(folder: Path, needed: int) -> None:
    """Raise BadInputError if the disk of a store's folder has less than `needed` bytes and the spare bytes free."""
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        lack = f"needs {shown_size(needed + SPARE_BYTES)}, {shown_size(free)} free"
        raise BadInputError(
            f"{folder.parent}: {lack}; choose another place with --root, or keep fewer images with --fraction"
        )
