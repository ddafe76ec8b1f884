"""A store in shared or object storage, copied once to each node: locked, checked, and cleaned by least recent use."""

import fcntl
import itertools
import os
import re
import secrets
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from trainables.byte_size import size_from_environment
from trainables.data.catalog import StoreInfo
from trainables.data.remote_store import reached, read_info_bytes, storage_at
from trainables.data.store_format import FINGERPRINT, INFO_FILE, PIXELS_FILE, ROWS_FILE, STORE_FILES
from trainables.errors import BadInputError
from trainables.storage.ownership import make_private, refuse_foreign

if TYPE_CHECKING:
    from trainables.storage.filesystem import Storage

CHUNK = 8 * 2**20
HASHED_CHUNKS = 3
"""Pieces that may wait to be hashed, in a thread beside the one that copies."""
SHARE_OF_DISK = 0.8
TOKEN = "[0-9a-f]" * 16
USE_FILE = ".use"
"""Its time is the store's last use; who reads the store holds a shared lock on it."""

Progress = Callable[[int, int], None]
"""Called with bytes copied and bytes in all."""


def upload(folder: Path, address: str, *, progress: Progress | None = None) -> None:
    """Copy the store in `folder` to an address that pyarrow.fs knows, its store.json last, so that no reader sees half.

    A store with the same fingerprint there is left alone. Raises BadInputError for one with another, and for an address
    that can't be written.
    """
    own = StoreInfo.read_folder(folder)
    if own is None:
        raise BadInputError(f"{folder}: no prepared data set; see python -m sweep.data list")
    content = (folder / INFO_FILE).read_bytes()
    there = StoreInfo.read_address(address)
    if there is not None:
        if there.fingerprint == own.fingerprint:
            return
        raise BadInputError(f"{address}: holds another store ({there.fingerprint[:12]}); choose another address")
    with reached(address):
        storage = storage_at(address)
        storage.filesystem.create_dir(storage.root, recursive=True)
        files = [folder / name for name in STORE_FILES if name != INFO_FILE]
        total, done = sum(path.stat().st_size for path in files) + len(content), 0
        for path in files:
            with path.open("rb") as source, storage.filesystem.open_output_stream(f"{storage.root}/{path.name}") as to:
                for piece in _pieces(source.readinto, path.stat().st_size):
                    to.write(piece)
                    done += len(piece)
                    if progress is not None:
                        progress(done, total)
        storage.write(INFO_FILE, content)  # in one piece: a reader sees all of it or none


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
    first. Every image is compared with its checksum as it is copied. Raises BadInputError for another store at the
    address, one that differs from its checksums, no room, and a cache that can't be written.
    """
    if not re.fullmatch(FINGERPRINT, fingerprint):  # of a record that anybody may have written
        raise BadInputError(f"{address}: fingerprint {fingerprint[:80]!r}: must be 64 hex digits")
    root = cache or Path(os.environ.get("SWEEP_CACHE", "~/.cache/sweep/nodes")).expanduser()
    folder = root / fingerprint[:32]
    for place in (root, folder):
        refuse_foreign(place)
    if (folder / USE_FILE).is_file():
        with suppress(OSError):  # a cache that is only read is no worse a cache
            os.utime(folder / USE_FILE)
        return folder
    with _explained(root):
        make_private(root)
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
    for left in (*_partials(folder), folder):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    partial = _new_partial(folder)
    content = read_info_bytes(address)
    info = None if content is None else StoreInfo.parse(content, address)
    if info is None or content is None:
        raise BadInputError(f"{address}: no store there; upload one: python -m sweep.data upload --help")
    if info.fingerprint != fingerprint:
        raise BadInputError(
            f"{address}: has fingerprint {info.fingerprint[:12]}, {fingerprint[:12]} was planned with; plan again, or "
            "prepare and upload that store again"
        )
    try:
        _download(address, info, content, partial, limit, progress)
        (partial / USE_FILE).touch()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _download(
    address: str, info: StoreInfo, content: bytes, partial: Path, limit: int, progress: Progress | None
) -> None:
    """Copy the store of `info` to the folder `partial`, checked; failures to write are left to the caller to explain.

    Names are this program's own, whatever else lies at the address.
    """
    from trainables.data.index_table import open_rows
    from trainables.data.store_check import PixelCheck, check_rows

    with reached(address):
        storage = storage_at(address)
        sizes = {name: _size(storage, name) for name in STORE_FILES if name != INFO_FILE}
    total = sum(sizes.values()) + len(content)
    _make_room(partial.parent, total, limit)
    partial.mkdir()
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    _take(address, storage, ROWS_FILE, sizes[ROWS_FILE], partial, tell)
    rows = open_rows(partial / ROWS_FILE)
    check = PixelCheck(info, rows, address)
    with _in_background(lambda: check_rows(info, rows, address)), _hashed(check.add) as add:
        _take(address, storage, PIXELS_FILE, sizes[PIXELS_FILE], partial, tell, add)
    check.finish()
    (partial / INFO_FILE).write_bytes(content)
    tell(len(content))


def _size(storage: "Storage", name: str) -> int:
    info = storage.filesystem.get_file_info(f"{storage.root}/{name}")
    if not info.is_file:
        raise FileNotFoundError(f"no file {name}")
    return int(info.size)


def _take(
    address: str,
    storage: "Storage",
    name: str,
    size: int,
    partial: Path,
    tell: Callable[[int], None],
    add: Callable[[memoryview], None] | None = None,
) -> None:
    """Copy one file, as many bytes as were listed, and hand each piece to `add`."""
    with reached(address):
        source = storage.filesystem.open_input_stream(f"{storage.root}/{name}")
    with source, (partial / name).open("wb") as target:
        for piece in _pieces(reached(address)(source.readinto), size):
            if add is not None:
                add(piece)
            target.write(piece)
            tell(len(piece))
        target.flush()
        os.fsync(target.fileno())  # a folder that is there after a crash is whole
    if (partial / name).stat().st_size != size:
        raise BadInputError(f"{address}: {name} came with another size than listed; try again")


def _pieces(read_into: Callable[[memoryview], int], size: int) -> Iterator[memoryview]:
    """Yield what is read, at most `size` bytes: a file may grow, or never end.

    A piece's memory is used again when HASHED_CHUNKS + 1 others have been read: fresh memory costs more than the copy.
    """
    buffers = itertools.cycle([memoryview(bytearray(min(CHUNK, size))) for _ in range(HASHED_CHUNKS + 2)])
    while size and (count := read_into((buffer := next(buffers))[:size])):
        size -= count
        yield buffer[:count]


@contextmanager
def _in_background(call: Callable[[], None]) -> Iterator[None]:
    """Call beside what is done within; what it raises is raised at the end."""
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(call)
        yield
        result.result()


@contextmanager
def _hashed(add: Callable[[memoryview], None]) -> Iterator[Callable[[memoryview], None]]:
    """Give what hands pieces to `add` in their order, in a thread beside: a hash leaves the interpreter to the copy."""
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1) as pool:

        def later(piece: memoryview) -> None:
            waiting.append(pool.submit(add, piece))
            if len(waiting) > HASHED_CHUNKS:
                waiting.popleft().result()

        yield later
        while waiting:
            waiting.popleft().result()


def _make_room(root: Path, needed: int, limit: int) -> None:
    """Remove unheld stores, the least recently used first, until `needed` bytes fit; none where that isn't enough."""
    with _locked(root / ".room.lock"):
        for partial in root.glob(".*.partial"):
            with _locked(root / f".{partial.name.split('.')[1]}.lock", wait=False) as abandoned:
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
    partial = _new_partial(folder)
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

    refuse_foreign(path)
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


def _new_partial(folder: Path) -> Path:
    """Return a name that nobody can guess, and so prepare."""
    return _beside(folder, f"{secrets.token_hex(8)}.partial")


def _partials(folder: Path) -> list[Path]:
    """Return what killed processes left, also those that chose no such name."""
    return [_beside(folder, "partial"), *folder.parent.glob(f".{folder.name}.{TOKEN}.partial")]


def _limit(root: Path, limit: int | None) -> int:
    if limit is not None:
        return limit
    chosen = size_from_environment("SWEEP_CACHE_LIMIT")
    return int(shutil.disk_usage(root).total * SHARE_OF_DISK) if chosen is None else chosen


@contextmanager
def _explained(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadInputError(
            f"{root}: can't be written ({error.strerror or error}); choose another folder with SWEEP_CACHE"
        ) from error
