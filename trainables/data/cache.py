"""Node cache of remote stores: each store is copied once per node and verified."""

import itertools
import os
import re
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from trainables.data.cache_eviction import (
    USE_FILE,
    hidden_beside,
    hold,
    locked,
    make_room,
    new_partial_folder,
    partial_folders,
    size_limit,
)
from trainables.data.remote_store import reached, read_info_bytes, storage_at
from trainables.data.shared_pixels import labelled_beside, pixel_address, share
from trainables.data.store_format import FINGERPRINT, INFO_FILE, PIXELS_FILE, ROWS_FILE, STORE_FILES
from trainables.data.store_info import StoreInfo
from trainables.errors import BadInputError
from trainables.storage.ownership import make_private, refuse_foreign

if TYPE_CHECKING:
    from trainables.storage.filesystem import Storage

CHUNK = 8 * 2**20
HASHED_CHUNKS = 3
"""Length of the queue between the thread that copies and the thread that hashes, in chunks."""
Progress = Callable[[int, int], None]
"""Callback with the bytes copied and the total bytes."""


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
        with locked(hidden_beside(folder, "lock")):
            if not (folder / USE_FILE).is_file():
                _fetch(address, fingerprint, folder, limit, progress)
    return folder


def _fetch(address: str, fingerprint: str, folder: Path, limit: int | None, progress: Progress | None) -> None:
    for left in (*partial_folders(folder), folder):  # left by a killed process
        shutil.rmtree(left, ignore_errors=True)
    partial = new_partial_folder(folder)
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
            _download(address, info, content, partial, size_limit(folder.parent, limit), progress)
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
    make_room(partial.parent, total, limit)
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
        make_room(partial.parent, size + len(content), size_limit(partial.parent, limit))
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
        for piece in pieces(reached(address)(source.readinto), size):
            if add is not None:
                add(piece)
            target.write(piece)
            tell(len(piece))
        target.flush()
        os.fsync(target.fileno())  # so that a folder that survives a crash is complete
    if (partial / name).stat().st_size != size:
        raise BadInputError(f"{address}: {name} arrived with another size than the listed one; try again")


def pieces(read_into: Callable[[memoryview], int], size: int) -> Iterator[memoryview]:
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


@contextmanager
def _explained(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadInputError(
            f"{root}: can't be written ({error.strerror or error}); choose another folder with SWEEP_CACHE"
        ) from error
