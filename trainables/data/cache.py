"""Node cache of remote stores: each store is copied once per node and verified; the least recently used go first."""

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
from trainables.data.remote_store import reached, read_info_bytes, storage_at
from trainables.data.shared_pixels import beside, labelled_beside, labelled_store, pixel_address, share
from trainables.data.store_format import FINGERPRINT, INFO_FILE, PIXELS_FILE, ROWS_FILE, STORE_FILES
from trainables.data.store_info import StoreInfo
from trainables.errors import BadInputError
from trainables.storage.ownership import make_private, refuse_foreign

if TYPE_CHECKING:
    from trainables.storage.filesystem import Storage

CHUNK = 8 * 2**20
HASHED_CHUNKS = 3
"""Length of the queue between the thread that copies and the thread that hashes, in chunks."""
SHARE_OF_DISK = 0.8
TOKEN = "[0-9a-f]" * 16
USE_FILE = ".use"
"""Its modification time is the store's last use; each reader of the store holds a shared lock on it."""

Progress = Callable[[int, int], None]
"""Callback with the bytes copied and the total bytes."""


def upload(folder: Path, address: str, *, progress: Progress | None = None) -> None:
    """Upload a store to shared or object storage; store.json is written last, so readers never see a partial store.

    If the address already holds a store with the same fingerprint, nothing is copied. The pixels of a label set aren't
    copied if the store that it labels is beside the address, or is here and can be uploaded there first.

    Args:
        folder: Folder of the local store.
        address: Target address, of any scheme that pyarrow.fs supports.
        progress: Callback with the bytes copied and the total bytes.

    Raises:
        BadInputError: The address holds a store with another fingerprint, or can't be written.
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
    shared = _shares_pixels(own, folder, address, progress)
    with reached(address):
        storage = storage_at(address)
        storage.filesystem.create_dir(storage.root, recursive=True)
        pixels = () if shared else (PIXELS_FILE,)
        files = [folder / name for name in (ROWS_FILE, *pixels)]
        total, done = sum(path.stat().st_size for path in files) + len(content), 0
        for path in files:
            with path.open("rb") as source, storage.filesystem.open_output_stream(f"{storage.root}/{path.name}") as to:
                for piece in _pieces(source.readinto, path.stat().st_size):
                    to.write(piece)
                    done += len(piece)
                    if progress is not None:
                        progress(done, total)
        storage.write(INFO_FILE, content)  # atomic for readers


def _shares_pixels(own: StoreInfo, folder: Path, address: str, progress: Progress | None) -> bool:
    """Return whether the store that a label set labels is beside its address, after uploading it if it is here."""
    named = labelled_store(own)
    if named is None or (place := beside(address, named[0])) == address:
        return False
    base, there = StoreInfo.read_folder(folder.with_name(named[0])), StoreInfo.read_address(place)
    if there is None and base is not None and base.fingerprint.startswith(named[1]):
        upload(folder.with_name(named[0]), place, progress=progress)
    return labelled_beside(address, own) is not None


def local_copy(
    address: str,
    fingerprint: str,
    *,
    cache: Path | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Return the local folder of a remote store; the store is copied into the node cache first if it is missing.

    Every image is compared with its checksum during the copy. Concurrent processes wait for the first one. Unused
    stores are removed to make room, the least recently used first. The cache folder is `cache`, else SWEEP_CACHE, else
    ~/.cache/sweep/nodes. Its size limit is `limit` bytes, else SWEEP_CACHE_LIMIT, else 80 % of the disk.

    Raises:
        BadInputError: The address holds a store with another fingerprint, a checksum differs, the store doesn't fit
            into the cache, or the cache can't be written.
    """
    if not re.fullmatch(FINGERPRINT, fingerprint):  # the record is untrusted input
        raise BadInputError(f"{address}: fingerprint {fingerprint[:80]!r}: must be 64 hex digits")
    root = cache or Path(os.environ.get("SWEEP_CACHE", "~/.cache/sweep/nodes")).expanduser()
    folder = root / fingerprint[:32]
    for place in (root, folder):
        refuse_foreign(place)
    if (folder / USE_FILE).is_file():
        with suppress(OSError):  # the cache may be read-only
            os.utime(folder / USE_FILE)
        return folder
    with _explained(root):
        make_private(root)
        with _locked(_beside(folder, "lock")):
            if not (folder / USE_FILE).is_file():
                _fetch(address, fingerprint, folder, limit, progress)
    return folder


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


def _fetch(address: str, fingerprint: str, folder: Path, limit: int | None, progress: Progress | None) -> None:
    for left in (*_partials(folder), folder):  # left by a killed process
        shutil.rmtree(left, ignore_errors=True)
    partial = _new_partial(folder)
    content = read_info_bytes(address)
    info = None if content is None else StoreInfo.parse(content, address)
    if info is None or content is None:
        raise BadInputError(f"{address}: no store there; upload one: python -m sweep.data upload --help")
    if info.fingerprint != fingerprint:
        raise BadInputError(
            f"{address}: has fingerprint {info.fingerprint[:12]}, but the plan has {fingerprint[:12]}; plan again, or "
            "prepare and upload that store again"
        )
    try:
        if (place := pixel_address(address, info)) == address:
            _download(address, info, content, partial, _limit(folder.parent, limit), progress)
        else:
            _label(address, info, content, partial, place, limit, progress)
        (partial / USE_FILE).touch()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _download(
    address: str, info: StoreInfo, content: bytes, partial: Path, limit: int, progress: Progress | None
) -> None:
    """Copy and verify the store of `info` into the folder `partial`; the caller translates write errors.

    Only the known file names of a store are copied, whatever else the address holds.
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


def _label(
    address: str,
    info: StoreInfo,
    content: bytes,
    partial: Path,
    place: str,
    limit: int | None,
    progress: Progress | None,
) -> None:
    """Copy and verify a label set into the folder `partial`; its pixels are a link to those of the store at `place`."""
    from trainables.data.index_table import open_rows
    from trainables.data.store_check import check_rows

    labelled = labelled_beside(address, info)
    assert labelled is not None  # pixel_address has checked it
    base = local_copy(place, labelled.fingerprint, cache=partial.parent, limit=limit, progress=progress)
    with hold(base):
        with reached(address):
            storage = storage_at(address)
            size = _size(storage, ROWS_FILE)
        _make_room(partial.parent, size + len(content), _limit(partial.parent, limit))
        partial.mkdir()
        _take(address, storage, ROWS_FILE, size, partial, lambda count: None)
        rows, of_base = open_rows(partial / ROWS_FILE), open_rows(base / ROWS_FILE)
        check_rows(info, rows, address)
        if any(not rows.column(name).equals(of_base.column(name)) for name in ("position", "checksum")):
            raise BadInputError(f"{address}: its rows don't match the images of {place}; upload both again")
        share(base / PIXELS_FILE, partial / PIXELS_FILE)
        (partial / INFO_FILE).write_bytes(content)


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
    """Copy one file up to its listed size and pass each chunk to `add`."""
    with reached(address):
        source = storage.filesystem.open_input_stream(f"{storage.root}/{name}")
    with source, (partial / name).open("wb") as target:
        for piece in _pieces(reached(address)(source.readinto), size):
            if add is not None:
                add(piece)
            target.write(piece)
            tell(len(piece))
        target.flush()
        os.fsync(target.fileno())  # so that a folder that survives a crash is complete
    if (partial / name).stat().st_size != size:
        raise BadInputError(f"{address}: {name} arrived with another size than the listed one; try again")


def _pieces(read_into: Callable[[memoryview], int], size: int) -> Iterator[memoryview]:
    """Yield chunks of at most `size` bytes in total, since a file may grow or be endless.

    Buffers are reused after HASHED_CHUNKS + 1 further chunks, since new memory would cost more than the copy.
    """
    buffers = itertools.cycle([memoryview(bytearray(min(CHUNK, size))) for _ in range(HASHED_CHUNKS + 2)])
    while size and (count := read_into((buffer := next(buffers))[:size])):
        size -= count
        yield buffer[:count]


@contextmanager
def _in_background(call: Callable[[], None]) -> Iterator[None]:
    """Run `call` in a thread during the block; its exception is raised at the end of the block."""
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(call)
        yield
        result.result()


@contextmanager
def _hashed(add: Callable[[memoryview], None]) -> Iterator[Callable[[memoryview], None]]:
    """Yield a function that passes chunks to `add` in order, in a second thread; hashing releases the GIL."""
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
    """Remove unlocked stores, the least recently used first, until `needed` bytes fit; remove none if they can't."""
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
    """Remove a store and return True, or return False if a process reads or requests it."""
    partial = _new_partial(folder)
    with _locked(_beside(folder, "lock"), wait=False) as alone, _closed_to_readers(folder) as unheld:
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
def _locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold an exclusive lock on a file; yields False if another process holds it and `wait` is False."""
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
    """Return an unguessable folder name, so that nobody can create it in advance."""
    return _beside(folder, f"{secrets.token_hex(8)}.partial")


def _partials(folder: Path) -> list[Path]:
    """Return partial folders of killed processes, including those of earlier versions without random names."""
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
