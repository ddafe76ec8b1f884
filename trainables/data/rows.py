"""The Arrow file of a store: one row an image, fixed-size pixels, each row with its own checksum."""

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trainables.data.catalog import StoreInfo
from trainables.data.source import Entry, Picture
from trainables.errors import BadInputError

SPLITS = ("train", "test")
BATCH_BYTES = 8 * 2**20
"""Pixels in one record batch: what one thread decodes at a time, so memory is bounded by a few of these a thread."""
CHECKSUM_BYTES = 16
IDENTITY = ("data_set", "image_size", "channels", "class_names", "multi_label", "rules", "options")
"""The fields of a store's info that are part of its fingerprint, beside its rows."""
UNREADABLE = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What Arrow raises for a damaged file, depending on where it is damaged."""


def schema(row_bytes: int) -> Any:
    """Return the Arrow schema of a store whose images are `row_bytes` bytes each (height * width * channels)."""
    return pa.schema(
        [
            ("image", pa.binary(row_bytes)),
            ("labels", pa.list_(pa.int16())),
            ("split", pa.dictionary(pa.int8(), pa.string())),
            ("name", pa.string()),
            ("checksum", pa.binary(CHECKSUM_BYTES)),
        ]
    )


def row_checksum(pixels: bytes | memoryview, labels: Sequence[int], split: str, name: str) -> bytes:
    """Return the first 16 bytes of sha256 over one row's content."""
    digest = hashlib.sha256(pixels)
    digest.update(json.dumps([list(labels), split, name]).encode())
    return digest.digest()[:CHECKSUM_BYTES]


def fingerprint(info: StoreInfo, checksums: bytes) -> str:
    """Return the hex sha256 over the identity of `info` and all rows' checksums in order.

    Name and place of the store are not in it: the same content made with the same options has one fingerprint.
    """
    identity = json.dumps(info.model_dump(mode="json", include=set(IDENTITY)), sort_keys=True)
    return hashlib.sha256(identity.encode() + b"\n" + checksums).hexdigest()


def multi_hot(offsets: NDArray[np.integer], values: NDArray[np.integer], classes: int) -> NDArray[np.bool_]:
    """Return (N, classes): row i is true at `values[offsets[i]:offsets[i + 1]]`; `offsets` is (N + 1,)."""
    matrix = np.zeros((len(offsets) - 1, classes), dtype=np.bool_)
    matrix[np.repeat(np.arange(len(matrix)), np.diff(offsets)), values] = True
    return matrix


def read_batches(entries: Sequence[Entry], image_shape: tuple[int, int, int], threads: int) -> Iterator[Any]:
    """Decode `entries` in `threads` threads and yield record batches in order, with few of them in memory at a time."""
    size = max(1, BATCH_BYTES // int(np.prod(image_shape)))
    pending: deque[Future[Any]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for start in range(0, len(entries), size):
            pending.append(pool.submit(_read_batch, entries[start : start + size], image_shape))
            if len(pending) > threads + 1:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read_batch(entries: Sequence[Entry], image_shape: tuple[int, int, int]) -> Any:
    pixels = np.empty((len(entries), *image_shape), dtype=np.uint8)
    labels: list[tuple[int, ...]] = []
    for row, entry in enumerate(entries):
        picture = _checked(entry, image_shape)
        pixels[row] = picture.image
        labels.append(picture.labels)
    return _to_record_batch(pixels, labels, entries)


def _checked(entry: Entry, image_shape: tuple[int, int, int]) -> Picture:
    picture = entry.read()
    if picture.image.shape != image_shape:  # assignment would broadcast a smaller image without a word
        raise BadInputError(f"{entry.name}: expected an image of shape {image_shape}, found {picture.image.shape}")
    return picture


def _to_record_batch(pixels: NDArray[np.uint8], labels: list[tuple[int, ...]], entries: Sequence[Entry]) -> Any:
    rows = pixels.reshape(len(entries), -1)
    arrow = schema(rows.shape[1])
    checksums = [
        row_checksum(row.data, classes, entry.split, entry.name)
        for row, classes, entry in zip(rows, labels, entries, strict=True)
    ]
    codes = pa.array([SPLITS.index(entry.split) for entry in entries], pa.int8())
    columns = [
        pa.FixedSizeBinaryArray.from_buffers(arrow.field("image").type, len(rows), [None, pa.py_buffer(rows)]),
        pa.array(labels, arrow.field("labels").type),
        pa.DictionaryArray.from_arrays(codes, pa.array(SPLITS)),  # one dictionary for all batches: IPC files need that
        pa.array([entry.name for entry in entries], pa.string()),
        pa.array(checksums, arrow.field("checksum").type),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=arrow)


def open_rows(path: Path) -> tuple[list[Any], Any]:
    """Memory-map the Arrow file; return its record batches and the buffer of the whole file, both without a copy."""
    try:
        with pa.memory_map(str(path)) as mapped:
            whole = mapped.read_buffer()
        reader = pa.ipc.open_file(whole)
        return [reader.get_batch(number) for number in range(reader.num_record_batches)], whole
    except UNREADABLE as error:
        raise BadInputError(
            f"{path}: not a readable Arrow file ({error}); delete {path.parent} and prepare again"
        ) from error


def check_rows(batches: Iterable[Any], path: Path) -> Iterator[bytes]:
    """Yield each row's checksum, computed anew; BadInputError names the first row that differs from the stored one."""
    number = 0
    for batch in batches:
        stored = batch.column("checksum").to_pylist()
        columns = (batch.column(name).to_pylist() for name in ("image", "labels", "split", "name"))
        for pixels, labels, split, name, expected in zip(*columns, stored, strict=True):
            found = row_checksum(pixels, labels, split, name)
            if found != expected:
                raise BadInputError(
                    f"{path}: row {number} ({name}) differs from its checksum; delete {path.parent} and prepare again"
                )
            yield found
            number += 1
