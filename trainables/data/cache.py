"""A store in shared or object storage, copied once to each node: locked, checked, and cleaned by least recent use."""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from trainables.data.store_format import INFO_FILE
from trainables.errors import BadInputError

if TYPE_CHECKING:
    from trainables.storage.filesystem import Storage  # imports pyarrow, and planning is_remote

CHUNK = 8 * 2**20
SHARE_OF_DISK = 0.8
UNITS = {"": 1, "B": 1} | {f"{letter}B": 10 ** (3 * power) for power, letter in enumerate("KMGT", 1)}
UNITS |= {f"{letter}IB": 2 ** (10 * power) for power, letter in enumerate("KMGT", 1)}
USE_FILE = ".use"
"""Its time is the store's last use; who reads the store holds a shared lock on it."""

Progress = Callable[[int, int], None]
"""Called with bytes copied and bytes in all."""


def is_remote(address: str) -> bool:
    """Whether an address has a scheme (s3://, gs://, file://), as opposed to a plain path."""
    return "://" in address


def upload(folder: Path, address: str, *, progress: Progress | None = None) -> None:
    """Copy the store in `folder` to an address that pyarrow.fs knows, its store.json last, so that no reader sees half.

    A store with the same fingerprint there is left alone. Raises BadInputError for one with another, and for an address
    that can't be written.
    """
    own = (folder / INFO_FILE).read_bytes()
    there = read_info_bytes(address)
    if there is not None:
        if _fingerprint(there) == _fingerprint(own):
            return
        raise BadInputError(f"{address}: holds another store ({_fingerprint(there)[:12]}); choose another address")
    with _reached(address):
        storage = _storage(address)
        storage.filesystem.create_dir(storage.root, recursive=True)
        files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name not in (INFO_FILE, USE_FILE)]
        total, done = sum(path.stat().st_size for path in files) + len(own), 0
        for path in files:
            target = f"{storage.root}/{path.name}"
            with path.open("rb") as source, storage.filesystem.open_output_stream(target) as stream:
                done = _copy(source.read, stream.write, done, total, progress)
        storage.write(INFO_FILE, own)  # in one piece: a reader sees all of it or none


def read_info_bytes(address: str) -> bytes | None:
    """Return the content of store.json at an address, None where there is no store.

    Raises BadInputError for an address that can't be reached.
    """
    with _reached(address):
        return _storage(address).read(INFO_FILE)


def local_copy(
    address: str,
    fingerprint: str,
    *,
    cache: Path | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Return the folder on this machine that holds the store with that fingerprint, copied there if it has to be.

    `cache` (else SWEEP_CACHE, else ~/.cache/sweep/nodes) holds at most `limit` bytes (else SWEEP_CACHE_LIMIT, else 80 %
    of the disk): stores that nobody reads make room, the least recently used first. A second process waits for the
    first. Raises BadInputError for another store at the address, no room, and a cache that can't be written.
    """
    root = cache or Path(os.environ.get("SWEEP_CACHE", "~/.cache/sweep/nodes")).expanduser()
    folder = root / fingerprint[:32]
    if (folder / USE_FILE).is_file():
        with suppress(OSError):  # a cache that is only read is no worse a cache
            os.utime(folder / USE_FILE)
        return folder
    with _explained(root):
        root.mkdir(parents=True, exist_ok=True)
        with _locked(_beside(folder, "lock")):
            if not (folder / USE_FILE).is_file():
                _fetch(address, fingerprint, folder, _limit(root, limit), progress)
    return folder


def hold(folder: Path) -> IO[bytes]:
    """Return an open file that keeps a cached store from being removed until it is closed.

    Raises BadInputError where it was removed since `local_copy` returned it.
    """
    with suppress(FileNotFoundError):
        file = (folder / USE_FILE).open("rb")
        fcntl.flock(file, fcntl.LOCK_SH)
        if folder.is_dir() and os.fstat(file.fileno()).st_nlink:  # else removed while this process waited
            return file
        file.close()
    raise BadInputError(f"{folder}: removed to make room for another store; start again, or raise SWEEP_CACHE_LIMIT")


def _fetch(address: str, fingerprint: str, folder: Path, limit: int, progress: Progress | None) -> None:
    partial = _beside(folder, "partial")
    for left in (partial, folder):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    _check_fingerprint(address, read_info_bytes(address), fingerprint)
    try:
        _download(address, partial, limit, progress)
        _check_fingerprint(address, (partial / INFO_FILE).read_bytes(), fingerprint)
        (partial / USE_FILE).touch()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_fingerprint(address: str, content: bytes | None, wanted: str) -> None:
    if content is None:
        raise BadInputError(f"{address}: no store there; upload one: python -m sweep.data upload --help")
    if _fingerprint(content) != wanted:
        raise BadInputError(
            f"{address}: has fingerprint {_fingerprint(content)[:12]}, {wanted[:12]} was planned with; plan again, or "
            "prepare and upload that store again"
        )


def _download(address: str, partial: Path, limit: int, progress: Progress | None) -> None:
    """Copy every file to the folder `partial`, store.json last. Failures to write are left to the caller to explain."""
    from pyarrow import fs

    with _reached(address):
        storage = _storage(address)
        found = [info for info in storage.filesystem.get_file_info(fs.FileSelector(storage.root)) if info.is_file]
    found.sort(key=lambda info: info.base_name == INFO_FILE)
    total, done = sum(info.size for info in found), 0
    _make_room(partial.parent, total, limit)
    partial.mkdir()
    for info in found:
        with _reached(address):
            source = storage.filesystem.open_input_stream(info.path)
        with source, (partial / info.base_name).open("wb") as target:
            done = _copy(_reached(address)(source.read), target.write, done, total, progress)
            target.flush()
            os.fsync(target.fileno())  # a folder that is there after a crash is whole
        if (partial / info.base_name).stat().st_size != info.size:
            raise BadInputError(f"{info.path}: came with another size than listed; try again")


def _copy(
    read: Callable[[int], bytes],
    write: Callable[[bytes], Any],
    done: int,
    total: int,
    progress: Progress | None,
) -> int:
    while piece := read(CHUNK):
        write(piece)
        done += len(piece)
        if progress is not None:
            progress(done, total)
    return done


def _make_room(root: Path, needed: int, limit: int) -> None:
    """Remove unheld stores, the least recently used first, until `needed` bytes fit; none where that isn't enough."""
    with _locked(root / ".room.lock"):
        for partial in root.glob(".*.partial"):
            with _locked(partial.with_suffix(".lock"), wait=False) as abandoned:
                if abandoned:
                    shutil.rmtree(partial, ignore_errors=True)
        kept = [file.parent for file in sorted(root.glob(f"[!.]*/{USE_FILE}"), key=lambda file: file.stat().st_mtime)]
        sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in kept}
        disk = sum(sizes.values()) + shutil.disk_usage(root).free
        held = sum(size for path, size in sizes.items() if _is_held(path))
        if held + needed > min(limit, disk):
            raise BadInputError(
                f"{root}: needs {needed / 1e9:.1f} GB, the limit is {limit / 1e9:.1f} GB, the disk has "
                f"{disk / 1e9:.1f} GB for stores, {held / 1e9:.1f} GB are in use; raise SWEEP_CACHE_LIMIT or choose "
                "another SWEEP_CACHE"
            )
        for path in kept:
            if sum(sizes.values()) + needed > min(limit, disk) and _remove(path):
                del sizes[path]


def _remove(folder: Path) -> bool:
    """Remove a store; False where somebody reads it or asks for it."""
    partial = _beside(folder, "partial")
    with _locked(_beside(folder, "lock"), wait=False) as alone, _closed_to_readers(folder) as unheld:
        if alone and unheld:
            folder.rename(partial)  # in one step, so that nobody takes half a store for one
            shutil.rmtree(partial)
        return alone and unheld


def _is_held(folder: Path) -> bool:
    with _closed_to_readers(folder) as unheld:
        return not unheld


@contextmanager
def _closed_to_readers(folder: Path) -> Iterator[bool]:
    """Keep a store from being held; gives False where somebody holds it.

    flock itself, since readers share their lock and filelock has no shared one.
    """
    with (folder / USE_FILE).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unheld = True
        except BlockingIOError:
            unheld = False
        yield unheld


@contextmanager
def _locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold an exclusive lock on a file; gives False where another process has it and `wait` is false."""
    from filelock import FileLock, Timeout  # not at the top: planning imports is_remote

    held: AbstractContextManager[object] = nullcontext()
    try:
        held = FileLock(path).acquire(blocking=wait)
        alone = True
    except Timeout:
        alone = False
    with held:
        yield alone


def _beside(folder: Path, kind: str) -> Path:
    return folder.with_name(f".{folder.name}.{kind}")


def _limit(root: Path, limit: int | None) -> int:
    if limit is not None:
        return limit
    text = os.environ.get("SWEEP_CACHE_LIMIT", "").strip()
    if not text:
        return int(shutil.disk_usage(root).total * SHARE_OF_DISK)
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*((?:[KMGT]I?)?B|)", text.upper())
    if match is None:
        raise BadInputError(f"SWEEP_CACHE_LIMIT {text!r}: must be bytes, or as 200GB or 50 GiB")
    return int(float(match[1]) * UNITS[match[2]])


def _fingerprint(content: bytes) -> str:
    try:
        return str(json.loads(content)["fingerprint"])
    except (ValueError, KeyError, TypeError):
        return "unknown"


def _storage(address: str) -> "Storage":
    from trainables.storage.filesystem import Storage

    return Storage.at(address)


@contextmanager
def _reached(address: str) -> Iterator[None]:
    """Turn a failure at an address (unknown scheme, no permission, unreachable) into BadInputError of one line."""
    import pyarrow as pa

    try:
        yield
    except (BadInputError, pa.ArrowException, OSError, ImportError) as error:
        reason = (str(error.__cause__ or error).splitlines() or [type(error).__name__])[0]
        raise BadInputError(f"{address}: can't be reached ({reason}); check the address and your access") from error


@contextmanager
def _explained(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadInputError(
            f"{root}: can't be written ({error.strerror or error}); choose another folder with SWEEP_CACHE"
        ) from error
