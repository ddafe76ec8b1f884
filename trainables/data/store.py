"""A prepared data set, memory-mapped: indices in, one tensor out."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from trainables.data.catalog import IMAGES_FILE, INFO_FILE, StoreInfo, expand_positive, prepared, store_folder
from trainables.data.rows import multi_hot, open_rows
from trainables.errors import BadInputError

Indices = NDArray[np.integer] | torch.Tensor | Sequence[int]


class ImageStore:
    """The images and labels of one store; pixels and labels come as tensors, indices as NumPy arrays.

    Pixels stay on disk until they are asked for, and all processes of a machine share the pages they were read into.
    Row numbers run from 0 to `len(store)` over all splits together.
    """

    def __init__(self, path: Path) -> None:
        """Open the store in the folder `path`; BadInputError when there is none, or it is damaged."""
        info = StoreInfo.read_folder(path)
        if info is None:
            raise BadInputError(f"{path}: not a prepared data set (no {INFO_FILE}); see python -m sweep.data list")
        self.info = info
        self.path = path
        self._batches, self._file = open_rows(path / IMAGES_FILE)
        self._row_starts = self._find_rows()
        if len(self) != info.images:
            raise BadInputError(f"{path}: {len(self)} rows, {info.images} expected; delete it and prepare it again")

    @classmethod
    def open(cls, name: str, root: Path | None = None) -> "ImageStore":
        """Open the store `name` under `root` (default: `data_root()`); BadInputError says how to make it."""
        prepared(name, root)
        return cls(store_folder(name, root))

    def __len__(self) -> int:
        return len(self._row_starts)

    @property
    def fingerprint(self) -> str:
        """The hex sha256 of content and options."""
        return self.info.fingerprint

    def images(self, indices: Indices) -> torch.Tensor:
        """Return (N, H, W, C) uint8: one gather from the memory map, one copy, no loop over images."""
        height, width = self.info.image_size
        pixels = self._windows[self._row_starts[_as_index(indices)]]
        return torch.from_numpy(pixels).view(-1, height, width, self.info.channels)

    def labels(self, indices: Indices) -> torch.Tensor:
        """Return (N,) int64 class indices; BadInputError where an image can have several (see `label_matrix`)."""
        if self.info.multi_label:
            rules = ", ".join(self.info.rules) or "none"
            raise BadInputError(f"{self.info.name}: images have several labels; name a positive rule (known: {rules})")
        offsets, values = self._labels
        return torch.from_numpy(values[offsets[:-1][_as_index(indices)]].astype(np.int64))

    def label_matrix(self, indices: Indices) -> torch.Tensor:
        """Return (N, classes) bool, true for each class of each image, for one label an image as for several."""
        return torch.from_numpy(self._multi_hot(indices))

    def positive_mask(self, indices: Indices, positive: tuple[str, ...]) -> torch.Tensor:
        """Return (N,) bool: the image carries any of `positive`, names of classes or of rules.

        Raises BadInputError for a name that is neither.
        """
        names = expand_positive(self.info, positive)
        columns = [self.info.class_names.index(name) for name in names]
        return torch.from_numpy(self._multi_hot(indices)[:, columns].any(axis=1))

    def split(self, name: str) -> NDArray[np.int64]:
        """Return the row numbers of a split, ascending; BadInputError for a split that the store doesn't have."""
        if name not in self.info.splits:
            raise BadInputError(f"split {name!r}: {self.info.name} has {', '.join(self.info.splits)}")
        column = self._column("split")
        return np.flatnonzero(column.indices.to_numpy() == column.dictionary.to_pylist().index(name))

    def names(self, indices: Indices) -> list[str]:
        """Return the source name of each image: file name, patch name."""
        taken: list[str] = self._column("name").take(pa.array(_as_index(indices))).to_pylist()
        return taken

    def _find_rows(self) -> NDArray[np.int64]:
        """Return where each row's pixels start in the file, (rows,) int64 bytes.

        Record batches lie apart in the file, with headers and the other columns between them; knowing where every row
        starts makes one gather of many batches.
        """
        starts = [np.zeros(0, dtype=np.int64)]
        for batch in self._batches:
            pixels = batch.column("image").buffers()[1]
            first = pixels.address - self._file.address
            starts.append(first + np.arange(batch.num_rows, dtype=np.int64) * self._row_bytes)
        return np.concatenate(starts)

    @property
    def _row_bytes(self) -> int:
        height, width = self.info.image_size
        return height * width * self.info.channels

    @cached_property
    def _windows(self) -> NDArray[np.uint8]:
        """Every stretch of `row_bytes` bytes of the file, (positions, row_bytes), as a view: indexing copies rows."""
        return np.lib.stride_tricks.sliding_window_view(np.frombuffer(self._file, dtype=np.uint8), self._row_bytes)

    @cached_property
    def _labels(self) -> tuple[NDArray[np.int32], NDArray[np.int16]]:
        """Where each row's labels start, (rows + 1,), and the labels of all rows one after another."""
        column = self._column("labels")
        return column.offsets.to_numpy(), column.values.to_numpy()

    def _multi_hot(self, indices: Indices) -> NDArray[np.bool_]:
        rows = _as_index(indices)
        offsets, values = self._labels
        counts = np.diff(offsets)[rows]
        ends = np.concatenate([[0], np.cumsum(counts)])
        # Position within the row plus the row's start, for all labels of all rows at once.
        places = np.arange(ends[-1]) + np.repeat(offsets[:-1][rows] - ends[:-1], counts)
        return multi_hot(ends, values[places], len(self.info.class_names))

    def _column(self, name: str) -> Any:
        """A small column in one piece (never the pixels: joining batches copies)."""
        return pa.chunked_array([batch.column(name) for batch in self._batches]).combine_chunks()


def _as_index(indices: Indices) -> NDArray[np.int64]:
    return np.asarray(indices, dtype=np.int64).reshape(-1)
