"""Parallel decoding: worker processes read and convert images and write their pixels directly into the store's file."""

import itertools
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.process
import multiprocessing.resource_tracker
import os
import pickle
import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from trainables.data.chip import Chip
from trainables.data.preparing.decode_chunk import ChunkResult, DecodeChunk, ImageLayout, convert_chunk
from trainables.data.preparing.pixels import FirstImage, PixelConversion
from trainables.data.preparing.value_use import ValueUse
from trainables.data.sources.source import ImageEntry
from trainables.data.stable_hash import SALTS
from trainables.errors import BadInputError

CHUNK_BYTES = 2 * 2**20
"""Size of a worker's chunk in bytes of pixels; a few chunks per worker are in memory at a time."""
MOST_WORKERS = 16
MAIN = "__main__"
OUT_OF_MEMORY = (
    "preparing: a worker process ended at once, probably because memory ran out; close other programs, or "
    "prepare on a machine with more memory"
)
MAIN_UNREADABLE = (
    "preparing: a worker process ended at once: the images are read by a function of the program itself, which the "
    'workers import; put the function into a module, or keep it in a file with `if __name__ == "__main__":`'
)
LEAVE_OUT = "leave such files out with --skip-corrupt"
SERVER_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",  # read when NumPy is loaded there: one process a core needs no threads of its own
    # glibc: keep freed memory, since each tile or image would otherwise be written into pages that are new to it.
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
}
"""Environment of the fork server, which the workers inherit."""
OF_A_TERMINAL = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""Signals of a terminal to all its processes, which the parent handles."""
Progress = Callable[[str, int, int | None], None]
"""Callback with the step, the amount done and the total (images, or bytes of an archive)."""


@dataclass
class IndexRows:
    """Index columns, one entry per image in the order of the pixel file; and messages of the images left out."""

    names: list[str] = field(default_factory=list)
    labels: list[tuple[str, ...] | None] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    chips: list[Chip | None] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    """Row of each image in the pixel file."""
    checksums: list[bytes] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    """Perceptual hashes (trainables/data/preparing/leaks.py)."""
    fractions: dict[str, list[float]] = field(default_factory=lambda: {salt: [] for salt in SALTS})
    """Stable hashes of the image names, for each salt in SALTS."""
    corrupt: list[str] = field(default_factory=list)
    """One message per corrupt image that was left out."""
    facts: Counter[str] = field(default_factory=Counter)
    """Number of images for each decision of the decoder."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Number of images that were refused as they were read, by reason."""
    use: ValueUse = field(default_factory=ValueUse)


def convert(
    entries: Iterable[ImageEntry],
    path: Path,
    layout: ImageLayout,
    conversion: PixelConversion,
    reference: FirstImage,
    *,
    skip_corrupt: bool,
    together: int = 1,
    report: Callable[[int], None] | None = None,
) -> IndexRows:
    """Decode images into a pixel file and return their index columns.

    Args:
        entries: Images to decode.
        path: Pixel file to write.
        layout: Shape and type of the stored images.
        conversion: Conversion of decoded pixels to stored pixels.
        reference: Channels and type that all decoded images must have.
        skip_corrupt: Whether undecodable images are left out and listed.
        together: Maximum number of consecutive entries from one source file; one worker decodes a contiguous run of
            them, so that two workers don't unpack the same block.
        report: Function called with the number of images done.

    Raises:
        BadInputError: The first image that can't be decoded or has another layout, unless `skip_corrupt`.
    """
    path.touch()
    rows = IndexRows()
    done = 0
    for chunk, result in _results(_tasks(entries, path, layout, conversion, reference, together)):
        if result.faults and not skip_corrupt:
            raise BadInputError(advised(*result.faults[0]))
        _append(rows, chunk, result)
        done += len(chunk)
        if report is not None:
            report(done)
    _close_gaps(path, rows, layout.row_bytes)
    return rows


def advised(fault: str, option: str = "") -> str:
    """Return an image's fault and the option that handles it; default: leaving corrupt images out."""
    return f"{fault}; or {option or LEAVE_OUT}"


def _tasks(
    entries: Iterable[ImageEntry],
    path: Path,
    layout: ImageLayout,
    conversion: PixelConversion,
    reference: FirstImage,
    together: int,
) -> Iterator[tuple[list[ImageEntry], DecodeChunk]]:
    size = max(1, CHUNK_BYTES // layout.row_bytes, -(-together // _worker_count()))
    source = iter(entries)
    first = 0
    while chunk := list(itertools.islice(source, size)):
        images = [(entry.name, entry.read) for entry in chunk]
        yield chunk, DecodeChunk(str(path), first, images, layout, conversion, reference)
        first += len(chunk)


def _results(tasks: Iterator[tuple[list[ImageEntry], DecodeChunk]]) -> Iterator[tuple[list[ImageEntry], ChunkResult]]:
    """Yield chunks with their results in order; a single task runs in this process, several in worker processes."""
    start = list(itertools.islice(tasks, 2))
    if len(start) < 2:
        yield from ((chunk, convert_chunk(task)) for chunk, task in start)
        return
    pending: deque[tuple[list[ImageEntry], Future[ChunkResult]]] = deque()
    with _workers(needs_main=MAIN.encode() in pickle.dumps(start[0][1].images[0][1])) as (pool, count):
        for chunk, task in itertools.chain(start, tasks):
            with _signals_deferred():  # a worker that was only half started would end in a traceback
                pending.append((chunk, pool.submit(convert_chunk, task)))
            if len(pending) > count + 2:
                yield _first(pending)
        while pending:
            yield _first(pending)


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Deliver the signals that stop a program only after a block; without effect outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    numbers = (signal.SIGTERM, *OF_A_TERMINAL)
    before = {
        number: signal.signal(number, lambda seen, _: arrived.append(seen))
        for number in numbers
        if callable(signal.getsignal(number))
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for seen in arrived[:1]:
            signal.raise_signal(seen)


def _first(pending: deque[tuple[list[ImageEntry], Future[ChunkResult]]]) -> tuple[list[ImageEntry], ChunkResult]:
    chunk, future = pending.popleft()
    return chunk, future.result()


def warm_up(reader: str = "") -> None:
    """Start the fork server of the workers, which imports their modules while the caller lists files.

    `reader` is the module that reads the images; empty: one that this module imports.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload([__name__, *([reader] if reader else [])])
    before = {name: os.environ.get(name) for name in SERVER_ENVIRONMENT}
    os.environ.update(SERVER_ENVIRONMENT)
    heard = signal.pthread_sigmask(signal.SIG_BLOCK, OF_A_TERMINAL)  # which the processes started here inherit
    try:
        multiprocessing.resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, OF_A_TERMINAL)  # the tracker's start has unblocked SIGINT
        multiprocessing.forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, heard)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _worker_count() -> int:
    return min(len(os.sched_getaffinity(0)), MOST_WORKERS)


class _DecodeProcess(ForkServerProcess):
    """Worker process without the program's main module, which may lack `if __name__` or a file (stdin)."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 - the standard library's name
        main = sys.modules[MAIN]
        sys.modules[MAIN] = ModuleType(MAIN)
        try:
            return ForkServerProcess._Popen(process_obj)
        finally:
            sys.modules[MAIN] = main


class _DecodeContext(ForkServerContext):
    Process = _DecodeProcess


@contextmanager
def _workers(*, needs_main: bool = False) -> Iterator[tuple[ProcessPoolExecutor, int]]:
    """Yield a pool of workers and their number; they import the program's main module only if the images need it."""
    warm_up()
    count = _worker_count()
    context = multiprocessing.get_context("forkserver") if needs_main else _DecodeContext()
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker)
    try:
        yield pool, count
    except BrokenProcessPool as error:
        raise BadInputError(MAIN_UNREADABLE if needs_main else OUT_OF_MEMORY) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Initialise a worker: ignore Ctrl-C, which the parent handles, and end with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _append(rows: IndexRows, chunk: Sequence[ImageEntry], result: ChunkResult) -> None:
    own = [chunk[number] for number in result.kept]
    rows.names += [entry.name for entry in own]
    rows.splits += [entry.split for entry in own]
    rows.places += [entry.place for entry in own]
    chips = [result.chips.get(number, chunk[number].chip) for number in result.kept]
    rows.chips += [
        chip if chip is None or nodata is None else chip.counted(nodata)
        for chip, nodata in zip(chips, result.nodata, strict=True)
    ]
    rows.labels += result.labels
    rows.positions += range(result.first, result.first + len(own))
    rows.checksums += result.checksums
    rows.hashes += result.hashes
    for salt in SALTS:
        rows.fractions[salt] += result.fractions[salt]
    rows.corrupt += [fault for fault, _ in result.faults]
    rows.facts.update(result.facts)
    rows.left_out.update(result.left_out)
    rows.use.merge(result.use)


def _close_gaps(path: Path, rows: IndexRows, size: int) -> None:
    """Move the pixels of each image, `size` bytes, to follow the last one's, where images between aren't kept."""
    first = next((row for row, position in enumerate(rows.positions) if row != position), len(rows.positions))
    with path.open("r+b") as file:
        for row in range(first, len(rows.positions)):
            file.seek(rows.positions[row] * size)
            image = file.read(size)
            file.seek(row * size)
            file.write(image)
        file.truncate(len(rows.positions) * size)
    rows.positions = list(range(len(rows.positions)))
