"""Parallel decoding: worker processes read and convert images and write their pixels directly into the store's file."""

import hashlib
import itertools
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.process
import os
import signal
import threading
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.data.chip import Chip
from trainables.data.preparing.leaks import perceptual_hashes
from trainables.data.preparing.pixels import FirstImage, PixelConversion
from trainables.data.sources.decode import UndecodableError
from trainables.data.sources.source import ImageEntry, LabelledImage
from trainables.data.stable_hash import SALTS, stable_fraction
from trainables.data.store_format import CHECKSUM_BYTES
from trainables.errors import BadInputError

CHUNK_BYTES = 2 * 2**20
"""Size of a worker's chunk in bytes of pixels; a few chunks per worker are in memory at a time."""
PIECE_BYTES = 2**18
"""Size of a write in bytes of pixels, small enough for a core's cache."""
MOST_WORKERS = 16
LEAVE_OUT = "leave such files out with --skip-corrupt"
BLAS_THREADS = "OPENBLAS_NUM_THREADS"

Progress = Callable[[str, int, int | None], None]
"""Callback with the step, the amount done and the total (images, or bytes of an archive)."""


@dataclass(frozen=True)
class ImageLayout:
    """Shape and type that all stored images have."""

    height: int
    width: int
    channels: int
    dtype: str
    """uint8 or uint16."""

    @classmethod
    def of(cls, image: NDArray[np.generic]) -> "ImageLayout":
        """Return the layout of one (H, W, C) image."""
        height, width, channels = image.shape
        return cls(height, width, channels, str(image.dtype))

    @property
    def row_bytes(self) -> int:
        """Bytes of one image."""
        return self.height * self.width * self.channels * np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        return f"{self.height} x {self.width} pixels, {self.channels} channels, {self.dtype}"


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


@dataclass(frozen=True)
class _DecodeChunk:
    """Chunk of entries for one worker; their pixels are written to `path` from row `first` on."""

    path: str
    first: int
    entries: list[ImageEntry]
    layout: ImageLayout
    conversion: PixelConversion
    reference: FirstImage


@dataclass(frozen=True)
class _ChunkResult:
    """Result of one chunk: entry number, labels, checksum and hash of each image written."""

    kept: list[int]
    labels: list[tuple[str, ...] | None]
    checksums: list[bytes]
    hashes: list[int]
    fractions: dict[str, list[float]]
    faults: list[tuple[str, str]]
    """Fault of each undecodable image, with the option that handles it (may be empty)."""
    facts: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    chips: dict[int, Chip] = field(default_factory=dict)
    """Places that the files state, by entry number."""
    nodata: list[float | None] = field(default_factory=list)


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
    for task, result in _results(_tasks(entries, path, layout, conversion, reference, together)):
        if result.faults and not skip_corrupt:
            raise BadInputError(advised(*result.faults[0]))
        _append(rows, task, result)
        done += len(task.entries)
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
) -> Iterator[_DecodeChunk]:
    size = max(1, CHUNK_BYTES // layout.row_bytes, -(-together // _worker_count()))
    source = iter(entries)
    first = 0
    while chunk := list(itertools.islice(source, size)):
        yield _DecodeChunk(str(path), first, chunk, layout, conversion, reference)
        first += len(chunk)


def _results(tasks: Iterator[_DecodeChunk]) -> Iterator[tuple[_DecodeChunk, _ChunkResult]]:
    """Yield tasks with their results in order; a single task runs in this process, several in worker processes."""
    start = list(itertools.islice(tasks, 2))
    if len(start) < 2:
        yield from ((task, _convert_chunk(task)) for task in start)
        return
    pending: deque[tuple[_DecodeChunk, Future[_ChunkResult]]] = deque()
    with _workers() as (pool, count):
        for task in itertools.chain(start, tasks):
            pending.append((task, pool.submit(_convert_chunk, task)))
            if len(pending) > count + 2:
                yield _first(pending)
        while pending:
            yield _first(pending)


def _first(pending: deque[tuple[_DecodeChunk, Future[_ChunkResult]]]) -> tuple[_DecodeChunk, _ChunkResult]:
    task, future = pending.popleft()
    return task, future.result()


def warm_up(reader: str = "") -> None:
    """Start the fork server of the workers, which imports their modules while the caller lists files.

    `reader` is the module that reads the images; empty: one that this module imports.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload([__name__, *([reader] if reader else [])])
    before = os.environ.get(BLAS_THREADS)
    os.environ[BLAS_THREADS] = "1"  # read when NumPy is loaded there: one process a core needs no threads of its own
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        os.environ.pop(BLAS_THREADS) if before is None else os.environ.update({BLAS_THREADS: before})


def _worker_count() -> int:
    return min(len(os.sched_getaffinity(0)), MOST_WORKERS)


@contextmanager
def _workers() -> Iterator[tuple[ProcessPoolExecutor, int]]:
    warm_up()
    count = _worker_count()
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker)
    try:
        yield pool, count
    except BrokenProcessPool as error:
        raise BadInputError(
            "preparing: a worker process ended at once; out of memory, or the program that calls prepare() lacks "
            '`if __name__ == "__main__":`'
        ) from error
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


def _convert_chunk(task: _DecodeChunk) -> _ChunkResult:
    """Decode a chunk in pieces that stay in the processor's cache until they are written."""
    layout = task.layout
    size = max(1, PIECE_BYTES // layout.row_bytes)
    pixels = np.empty((size, layout.height, layout.width, layout.channels), dtype=layout.dtype)
    done = _ChunkResult([], [], [], [], {}, [])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata; broken pixels raise
        for start in range(0, len(task.entries), size):
            first = task.first + len(done.kept)
            count = _decode_piece(task, range(start, min(start + size, len(task.entries))), pixels, done)
            piece = pixels[:count]
            _write(task.path, first * layout.row_bytes, piece)
            done.checksums.extend(hashlib.sha256(image.data).digest()[:CHECKSUM_BYTES] for image in piece)
            done.hashes.extend(perceptual_hashes(piece).tolist() if count else ())
    names = [task.entries[number].name for number in done.kept]
    done.fractions.update({salt: stable_fraction(names, salt=salt).tolist() for salt in SALTS})
    return done


def _decode_piece(task: _DecodeChunk, numbers: range, pixels: NDArray[np.generic], done: _ChunkResult) -> int:
    """Decode some entries of a chunk into `pixels`, record them in `done`, and return the number decoded."""
    count = 0
    for number in numbers:
        try:
            picture = _converted(task.entries[number], task)
        except BadInputError as error:
            done.faults.append((str(error), error.option if isinstance(error, UndecodableError) else ""))
            continue
        if picture.refused:
            done.left_out[picture.refused] += 1
        elif picture.labels != ():
            pixels[count] = picture.image
            count += 1
            done.kept.append(number)
            done.labels.append(picture.labels)
            done.nodata.append(picture.nodata)
            if picture.chip is not None:
                done.chips[number] = picture.chip
            done.facts.update(picture.facts)
    return count


def _converted(entry: ImageEntry, task: _DecodeChunk) -> LabelledImage:
    picture, layout = entry.read(), task.layout
    if picture.refused:
        return picture
    task.reference.check(entry.name, picture.image)
    image = task.conversion(picture.image)
    # Assignment would broadcast a smaller image without a word.
    if image.shape != (layout.height, layout.width, layout.channels) or image.dtype != layout.dtype:
        raise UndecodableError(
            f"{entry.name}: expected {layout}, found {ImageLayout.of(image)}; remove it",
            "choose a size for all with --image-size",
        )
    return LabelledImage(image, picture.labels, picture.facts, picture.chip, picture.nodata)


def _write(path: str, offset: int, pixels: NDArray[np.generic]) -> None:
    content = pixels.reshape(-1).view(np.uint8).data
    file = os.open(path, os.O_WRONLY)
    try:
        while content:
            written = os.pwrite(file, content, offset)
            content, offset = content[written:], offset + written
    finally:
        os.close(file)


def _append(rows: IndexRows, task: _DecodeChunk, result: _ChunkResult) -> None:
    own = [task.entries[number] for number in result.kept]
    rows.names += [entry.name for entry in own]
    rows.splits += [entry.split for entry in own]
    rows.places += [entry.place for entry in own]
    chips = [result.chips.get(number, task.entries[number].chip) for number in result.kept]
    rows.chips += [_counted(chip, nodata) for chip, nodata in zip(chips, result.nodata, strict=True)]
    rows.labels += result.labels
    rows.positions += range(task.first, task.first + len(own))
    rows.checksums += result.checksums
    rows.hashes += result.hashes
    for salt in SALTS:
        rows.fractions[salt] += result.fractions[salt]
    rows.corrupt += [fault for fault, _ in result.faults]
    rows.facts.update(result.facts)
    rows.left_out.update(result.left_out)


def _counted(chip: Chip | None, nodata: float | None) -> Chip | None:
    return chip if chip is None or nodata is None else replace(chip, nodata=nodata)


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
