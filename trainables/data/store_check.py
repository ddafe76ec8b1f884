"""Integrity checks of a store: rows against the fingerprint, and streamed pixels against the rows' checksums."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.index_table import check_labels, fingerprint, known_labels, multi_hot
from trainables.data.splits import SPLITS
from trainables.data.stable_hash import SALTS, stable_fraction
from trainables.data.store_format import CHECKSUM_BYTES, PIXELS_FILE, ROWS_FILE
from trainables.data.store_info import StoreInfo
from trainables.errors import BadInputError

Bytes = bytes | memoryview
REMEDY = "fetch or prepare the store again"


def image_counts(
    hot: NDArray[np.bool_],
    known: NDArray[np.bool_],
    codes: NDArray[np.int8],
    class_names: Sequence[str],
    rules: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Count images per split, class and rule, and unlabelled ones, as in a store's metadata.

    `hot` holds the multi-hot labels (images, classes). `known` (images,) is False for unlabelled images. `codes` holds
    each image's index into SPLITS.
    """
    present = {split: codes == code for code, split in enumerate(SPLITS) if (codes == code).any()}
    index = {name: number for number, name in enumerate(class_names)}
    columns = {rule: [index[name] for name in names] for rule, names in rules.items()}
    return {
        "splits": {split: int(own.sum()) for split, own in present.items()},
        "unlabelled": {split: int((own & ~known).sum()) for split, own in present.items() if (own & ~known).any()},
        "class_counts": {split: tuple(hot[own].sum(axis=0).tolist()) for split, own in present.items()},
        "rule_counts": {
            rule: {split: int(hot[own][:, chosen].any(axis=1).sum()) for split, own in present.items()}
            for rule, chosen in columns.items()
        },
    }


def check_rows(info: StoreInfo, rows: Any, where: str) -> None:
    """Raise BadInputError unless the rows match the fingerprint and all values derived from them are correct.

    The fingerprint covers names, labels, splits and checksums. Stable hashes are derived from the names, and the
    metadata's counts from splits and labels.
    """
    if len(rows) != info.images or fingerprint(info, rows) != info.fingerprint:
        raise BadInputError(f"{where}: differs from its fingerprint {info.fingerprint[:12]}; {REMEDY}")
    check_labels(info, rows, Path(where) / ROWS_FILE)
    _check_counts(info, rows, where)
    names = rows.column("name").to_pylist()
    for salt in SALTS:
        if not np.array_equal(rows.column(f"hash_{salt}").to_numpy(), stable_fraction(names, salt=salt)):
            raise BadInputError(f"{where}: {ROWS_FILE}: hash_{salt} doesn't match the names; {REMEDY}")


def _check_counts(info: StoreInfo, rows: Any, where: str) -> None:
    """Raise BadInputError unless the metadata's counts per split, class and rule match the rows."""
    labels, codes = rows.column("labels"), rows.column("split").indices.to_numpy()
    hot = multi_hot(labels.offsets.to_numpy(), labels.values.to_numpy(), len(info.class_names))
    for field, value in image_counts(hot, known_labels(rows), codes, info.class_names, info.rules).items():
        if getattr(info, field) != value:
            raise BadInputError(f"{where}: {field} in store.json doesn't match its rows; {REMEDY}")


class PixelCheck:
    """Streaming comparison of the pixel file with the rows' checksums, in one pass."""

    def __init__(self, info: StoreInfo, rows: Any, where: str) -> None:
        self._where, self._rows = where, rows
        height, width = info.image_size
        self._image_bytes = height * width * info.channels * np.dtype(info.dtype).itemsize
        positions = rows.column("position").to_numpy()
        self._order = np.argsort(positions, kind="stable")
        self._positions = positions[self._order]
        if len(positions) and not (np.diff(self._positions) > 0).all():
            raise BadInputError(f"{where}: {ROWS_FILE}: two rows refer to one image; {REMEDY}")
        checksums = rows.column("checksum")
        start = checksums.offset * CHECKSUM_BYTES
        content = np.frombuffer(checksums.buffers()[1], np.uint8)[start : start + len(checksums) * CHECKSUM_BYTES]
        self._expected = content.reshape(-1, CHECKSUM_BYTES)[self._order]
        self._image, self._checked = 0, 0
        self._begun, self._begun_bytes = hashlib.sha256(), 0

    def add(self, content: Bytes) -> None:
        """Check the next bytes of the file; BadInputError names the first row whose image differs."""
        view, size = memoryview(content), self._image_bytes
        digests = []
        if self._begun_bytes:
            missing = size - self._begun_bytes
            self._begun.update(view[:missing])
            self._begun_bytes += len(view[:missing])
            view = view[missing:]
            if self._begun_bytes < size:
                return
            digests.append(self._begun.digest())
        whole = len(view) // size * size
        digests += [hashlib.sha256(view[start : start + size]).digest() for start in range(0, whole, size)]
        self._begun, self._begun_bytes = hashlib.sha256(view[whole:]), len(view) - whole
        self._compare(digests)

    def finish(self) -> None:
        """Raise BadInputError if the file ended before its last image."""
        if self._checked < len(self._positions):
            raise BadInputError(f"{self._where}: {PIXELS_FILE}: too short for {len(self._positions)} rows; {REMEDY}")

    @property
    def checked(self) -> int:
        """Number of rows whose images were compared."""
        return self._checked

    def _compare(self, digests: list[bytes]) -> None:
        """Compare the next images of the file; images without a row are ignored."""
        found: NDArray[np.uint8] = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)[:, :CHECKSUM_BYTES]
        last = int(np.searchsorted(self._positions, self._image + len(digests)))
        own = self._positions[self._checked : last] - self._image
        differing = np.flatnonzero((found[own] != self._expected[self._checked : last]).any(axis=1))
        if len(differing):
            row = int(self._order[self._checked + differing[0]])
            name = self._rows.column("name")[row]
            raise BadInputError(f"{self._where}: row {row} ({name}) differs from its checksum; {REMEDY}")
        self._image, self._checked = self._image + len(digests), last
