"""Index of a store: one row per image, sorted by name, beside the file of pixels."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trainables.data.chip import CHIP_TYPE, Chip, written
from trainables.data.json_column import json_of
from trainables.data.splits import SPLITS
from trainables.data.stable_hash import SALTS
from trainables.data.store_format import CHECKSUM_BYTES
from trainables.data.store_info import StoreInfo
from trainables.errors import BadInputError

SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("labels", pa.list_(pa.int16())),
        ("split", pa.dictionary(pa.int8(), pa.string())),
        ("place", pa.string()),
        ("position", pa.int64()),
        ("checksum", pa.binary(CHECKSUM_BYTES)),
        ("perceptual_hash", pa.uint64()),
        ("original_labels", pa.list_(pa.string())),
        *((f"hash_{salt}", pa.float64()) for salt in SALTS),
    ]
)
CHIP = pa.field("chip", CHIP_TYPE)
"""Additional column of stores whose images are chips of scenes."""
NUMBERED = SCHEMA.append(pa.field("number", pa.float64()))
"""Schema of a regression store, whose images have a number instead of classes."""
SCHEMAS = (SCHEMA, NUMBERED, SCHEMA.append(CHIP), NUMBERED.append(CHIP))
MAY_BE_NULL = ("labels", "original_labels", "number", "chip")
"""Nullable columns; null labels mean that the image is unlabelled."""
IDENTITY = ("data_set", "image_size", "channels", "dtype", "class_names", "multi_label", "rules", "options")
"""Fields of a store's metadata that are part of its fingerprint, in addition to its rows."""
UNREADABLE = (pa.ArrowException, OSError, UnicodeDecodeError)
"""Exceptions that Arrow raises for damaged files."""


def write_rows(
    path: Path,
    *,
    names: Sequence[str],
    labels: Sequence[tuple[int, ...] | None],
    splits: NDArray[np.int8],
    places: Sequence[str],
    positions: Sequence[int],
    checksums: Sequence[bytes],
    hashes: Sequence[int],
    fractions: Mapping[str, Sequence[float]],
    original_labels: Sequence[tuple[str, ...] | None] | None,
    chips: Sequence[Chip] | None = None,
) -> None:
    """Write the index as an Arrow file with one row per image.

    `splits` are indices into SPLITS, and `fractions` are the stable hashes per salt. The labels of an unlabelled image
    are None.
    """
    columns = [
        pa.array(names, pa.string()),
        pa.array(labels, pa.list_(pa.int16())),
        pa.DictionaryArray.from_arrays(pa.array(splits, pa.int8()), pa.array(SPLITS)),
        pa.array(places, pa.string()),
        pa.array(positions, pa.int64()),
        pa.array(checksums, pa.binary(CHECKSUM_BYTES)),
        pa.array(np.asarray(hashes, dtype=np.uint64)),
        pa.array([None] * len(names) if original_labels is None else original_labels, pa.list_(pa.string())),
        *(pa.array(fractions[salt], pa.float64()) for salt in SALTS),
    ]
    if chips is None:
        write_batch(path, pa.RecordBatch.from_arrays(columns, schema=SCHEMA))
    else:
        batch = pa.RecordBatch.from_arrays([*columns, written(chips)], schema=SCHEMA.append(CHIP))
        write_batch(path, batch)


def write_batch(path: Path, rows: Any) -> None:
    """Write a record batch with one of SCHEMAS as an Arrow file of a single batch."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, rows.schema) as writer:
        writer.write_batch(rows)


def open_rows(path: Path) -> Any:
    """Memory-map the index and return it as one record batch; BadInputError if the file is damaged."""
    try:
        with pa.memory_map(str(path)) as mapped:
            content = mapped.read_buffer()
    except UNREADABLE as error:
        raise BadInputError(f"{path}: damaged ({error}); remove the store and prepare it again") from error
    return parse_rows(content, str(path))


def parse_rows(content: Any, where: str) -> Any:
    """Parse an index in a pyarrow buffer to one record batch; BadInputError if `write_rows` wouldn't write it."""
    try:
        reader = pa.ipc.open_file(content)
        if reader.schema not in SCHEMAS or reader.num_record_batches != 1:
            raise pa.ArrowInvalid("not the columns of this format")
        batch = reader.get_batch(0)
        batch.validate(full=True)
        _check_values(batch)
        return batch
    except UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise BadInputError(f"{where}: damaged ({reason}); remove the store and prepare it again") from error


def _check_values(rows: Any) -> None:
    """Check values that the fingerprint doesn't cover, such as the range of split codes."""
    for field in rows.schema:
        if field.name not in MAY_BE_NULL and rows.column(field.name).null_count:
            raise pa.ArrowInvalid(f"column {field.name} has empty values")
    if rows.column("split").dictionary.to_pylist() != list(SPLITS):
        raise pa.ArrowInvalid(f"column split must stand for {', '.join(SPLITS)}")
    positions = rows.column("position").to_numpy()
    if len(positions) and positions.min() < 0:
        raise pa.ArrowInvalid(f"column position has {positions.min()}")
    labels = rows.column("labels")
    listed = labels.is_valid().to_numpy(zero_copy_only=False)
    if labels.values.null_count or np.diff(labels.offsets.to_numpy())[~listed].any():
        raise pa.ArrowInvalid("column labels has empty values")
    if _has_numbers(rows) and not np.isfinite(rows.column("number").drop_null().to_numpy()).all():
        raise pa.ArrowInvalid("column number has values that aren't finite")


def known_labels(rows: Any) -> NDArray[np.bool_]:
    """Return a mask (rows,) of the images with labels or a number.

    An empty list of labels is a label too: the image has none of the classes.
    """
    column = rows.column("number" if _has_numbers(rows) else "labels")
    known: NDArray[np.bool_] = column.is_valid().to_numpy(zero_copy_only=False)
    return known


def _has_numbers(rows: Any) -> bool:
    return "number" in rows.schema.names


def check_labels(info: StoreInfo, rows: Any, path: Path) -> None:
    """Raise BadInputError if a label isn't a valid class index."""
    values = rows.column("labels").values.to_numpy()
    if len(values) and not 0 <= values.min() <= values.max() < len(info.class_names):
        raise BadInputError(
            f"{path}: labels from {values.min()} to {values.max()}, and {len(info.class_names)} classes; remove the "
            "store and prepare it again"
        )


def fingerprint(info: StoreInfo, rows: Any) -> str:
    """Return the hex sha256 of the IDENTITY fields of `info` and all rows, including the pixels' checksums.

    It is independent of the store's name and location and of the order of the pixel file. Equal content made with equal
    options has equal fingerprints.
    """
    identity = json.dumps(info.model_dump(mode="json", include=set(IDENTITY)), sort_keys=True)
    digest = hashlib.sha256(identity.encode() + b"\n")
    checksums = rows.column("checksum")
    digest.update(checksums.buffers()[1][checksums.offset * CHECKSUM_BYTES :][: len(checksums) * CHECKSUM_BYTES])
    labels = rows.column("labels")
    for numbers in (labels.offsets.to_numpy(), labels.values.to_numpy(), rows.column("split").indices.to_numpy()):
        digest.update(numbers.astype("<i8").tobytes())
    if labels.null_count:
        digest.update(known_labels(rows).tobytes())
    if "chip" in rows.schema.names:
        for text in json_of(rows.column("chip")):
            digest.update(text.encode())
    if _has_numbers(rows):
        digest.update(rows.column("number").to_numpy(zero_copy_only=False).astype("<f8").tobytes())
    for name in ("name", "place", "original_labels"):
        digest.update(json.dumps(rows.column(name).to_pylist()).encode())
    return digest.hexdigest()


def multi_hot(offsets: NDArray[np.integer], values: NDArray[np.integer], classes: int) -> NDArray[np.bool_]:
    """Return multi-hot labels (N, classes), true in row i at `values[offsets[i]:offsets[i + 1]]`.

    Args:
        offsets: Start of each row in `values`, and the end of the last row; (N + 1,).
        values: Class indices of all rows, concatenated.
        classes: Number of classes.
    """
    matrix = np.zeros((len(offsets) - 1, classes), dtype=np.bool_)
    matrix[np.repeat(np.arange(len(matrix)), np.diff(offsets)), values] = True
    return matrix
