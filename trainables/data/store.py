"""Memory-mapped store of a prepared data set: batches of images and labels by row index."""

import copy
import mmap
import warnings
import weakref
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from trainables.data import chip
from trainables.data.cache import local_copy
from trainables.data.cache_eviction import hold
from trainables.data.index_table import check_labels, known_labels, multi_hot, open_rows
from trainables.data.remote_store import is_remote
from trainables.data.store_addresses import store_address, store_folder
from trainables.data.store_format import CHECKSUM_BYTES, INFO_FILE, PIXELS_FILE, ROWS_FILE
from trainables.data.store_info import StoreInfo, prepared
from trainables.data.store_targets import expand_positive, several_labels
from trainables.data.validation_slice import ValidationSlice, validation_slice
from trainables.errors import BadInputError

Indices = NDArray[np.integer] | torch.Tensor | Sequence[int]
UNLABELLED = -1
"""Class index of unlabelled images."""
MAPPED_BYTES = 256 * 2**20
"""Bytes read after which the mapped pages are released; they stay in the system's page cache, shared by processes."""


class ImageStore:
    """Images and labels of one store; pixels and labels are tensors, row indices are NumPy arrays.

    Pixels are read from a memory map on access, and all processes of a machine share its pages. Rows are numbered from
    0 to `len(store) - 1` over all splits, in the order of the image names.
    """

    def __init__(self, path: Path) -> None:
        """Open the store in the folder `path`; BadInputError if it is missing or damaged."""
        info = StoreInfo.read_folder(path)
        if info is None:
            raise BadInputError(f"{path}: not a prepared data set (no {INFO_FILE}); see python -m sweep.data list")
        self.info = info
        self._stored_channels = info.channels
        self._channels: list[int] | None = None
        self.path = path
        self._rows = open_rows(path / ROWS_FILE)
        self._positions = self._rows.column("position").to_numpy()
        self._map = _map_pixels(path / PIXELS_FILE)
        self._read_bytes = 0
        if len(self) != info.images or (len(self) and self._positions.max() >= len(self._pixels)):
            raise BadInputError(
                f"{path}: {len(self)} rows and {len(self._pixels)} images, {info.images} expected; remove it and "
                "prepare it again"
            )
        check_labels(info, self._rows, path / ROWS_FILE)

    @classmethod
    def open(cls, name: str, root: Path | None = None) -> "ImageStore":
        """Open the store `name`.

        Args:
            name: Name of the prepared store.
            root: Folder of the stores; None for SWEEP_DATA, else ~/.cache/sweep/data.

        Raises:
            BadInputError: The store is missing, with the command that prepares it, or is damaged.
        """
        info = prepared(name, root)
        return cls(store_folder(name, root)) if root else cls.at(store_address(name), info.fingerprint)

    @classmethod
    def at(cls, address: str, fingerprint: str) -> "ImageStore":
        """Open the store in a folder or at a remote address; a remote store is copied to this machine once.

        Args:
            address: Folder or remote address of the store.
            fingerprint: Expected fingerprint, hex sha256.

        Raises:
            BadInputError: The store is missing, damaged, or has another fingerprint.
        """
        if not is_remote(address):
            store = cls(Path(address))
        else:
            folder = local_copy(address, fingerprint)
            held = hold(folder)  # before opening it, since another process may be removing stores
            store = cls(folder)
            weakref.finalize(store, held.close)
        if store.fingerprint != fingerprint:
            raise BadInputError(
                f"{address}: has fingerprint {store.fingerprint[:12]}, but the plan has {fingerprint[:12]}; plan again"
            )
        return store

    def with_bands(self, names: tuple[str, ...]) -> "ImageStore":
        """Return a view of the store with the bands `names`, in that order; an empty tuple keeps all bands.

        Raises:
            BadInputError: The store doesn't have a band.
        """
        if not names:
            return self
        view = copy.copy(self)
        view._channels = self.info.band_channels(names)
        view.info = self.info.with_bands(names)
        return view

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def fingerprint(self) -> str:
        """Hex sha256 of content and options."""
        return self.info.fingerprint

    def images(self, indices: Indices) -> torch.Tensor:
        """Return the images (N, H, W, C) of the given rows, uint8 or uint16, by one gather from the memory map."""
        height, width = self.info.image_size
        # torch's gather takes a quarter of the time of NumPy's on a mapped file, and uses all of torch's threads.
        pixels = self._pixels.index_select(0, torch.from_numpy(self._positions[_as_index(indices)]))
        self._read_bytes += pixels.nbytes
        if self._read_bytes > MAPPED_BYTES:
            self._map.madvise(mmap.MADV_DONTNEED)
            self._read_bytes = 0
        images = pixels.view(getattr(torch, self.info.dtype)).view(-1, height, width, self._stored_channels)
        if self._channels is None:
            return images
        return torch.from_numpy(images.numpy()[..., self._channels])

    def labels(self, indices: Indices) -> torch.Tensor:
        """Return the class indices (N,) int64 of the given rows; UNLABELLED for unlabelled images.

        Raises:
            BadInputError: The store is multi-label (use `label_matrix`).
        """
        if self.info.multi_label:
            raise several_labels(self.info)
        rows = _as_index(indices)
        offsets, values = self._labels
        classes = np.full(len(rows), UNLABELLED, dtype=np.int64)
        known = self._known[rows]
        classes[known] = values[offsets[:-1][rows[known]]]
        return torch.from_numpy(classes)

    def labelled(self, indices: Indices) -> NDArray[np.bool_]:
        """Return a mask (N,) bool of the labelled images."""
        known: NDArray[np.bool_] = self._known[_as_index(indices)]
        return known

    def numbers(self, indices: Indices) -> torch.Tensor:
        """Return the regression targets (N,) float64, NaN if missing; BadInputError if the store has classes."""
        if not self.info.number:
            raise BadInputError(
                f"{self.info.name}: has no number per image; attach numbers: python -m sweep.data label "
                f"{self.info.name} --table FILE --number"
            )
        numbers = self._rows.column("number").to_numpy(zero_copy_only=False)
        return torch.from_numpy(numbers[_as_index(indices)].astype(np.float64))

    def label_matrix(self, indices: Indices) -> torch.Tensor:
        """Return multi-hot labels (N, classes) bool, for single-label and multi-label stores.

        Rows of unlabelled images are all False (see `labelled`).
        """
        return torch.from_numpy(self._multi_hot(indices))

    def positive_mask(self, indices: Indices, positive: tuple[str, ...]) -> torch.Tensor:
        """Return a mask (N,) bool of the images that have any of the classes or rules `positive`.

        Raises:
            BadInputError: A name is neither a class nor a rule.
        """
        names = expand_positive(self.info, positive)
        columns = [self.info.class_names.index(name) for name in names]
        return torch.from_numpy(self._multi_hot(indices)[:, columns].any(axis=1))

    def split(self, name: str) -> NDArray[np.int64]:
        """Return the row indices of a split, ascending; BadInputError if the store doesn't have the split."""
        if name not in self.info.splits:
            raise BadInputError(f"split {name!r}: {self.info.name} has {', '.join(self.info.splits)}")
        column = self._rows.column("split")
        return np.flatnonzero(column.indices.to_numpy() == column.dictionary.to_pylist().index(name))

    def names(self, indices: Indices) -> list[str]:
        """Return the images' names in their source, such as file or patch names."""
        taken: list[str] = self._rows.column("name").take(pa.array(_as_index(indices))).to_pylist()
        return taken

    def chips(self, indices: Indices) -> list[chip.Chip] | None:
        """Return each image's chip, its place in a scene; None for a store without scenes."""
        if "chip" not in self._rows.schema.names:
            return None
        return chip.read(self._rows.column("chip").take(pa.array(_as_index(indices))))

    def validation_slice(self, train: NDArray[np.int64], share: float) -> ValidationSlice:
        """Return the slice of these train images that a trial holds out (validation_slice.py)."""
        return validation_slice(self.info, self._rows, train, share)

    def checksums(self, indices: Indices) -> NDArray[np.void]:
        """Return the digests (N,) of the images' pixels, as fixed-length bytes."""
        own = self._rows.column("checksum").take(pa.array(_as_index(indices))).to_pylist()
        return np.array(own, dtype=f"V{CHECKSUM_BYTES}")

    def perceptual_hashes(self, indices: Indices) -> NDArray[np.uint64]:
        """Return the perceptual hashes (N,) of the images (preparing/leaks.py)."""
        hashes: NDArray[np.uint64] = self._rows.column("perceptual_hash").to_numpy()[_as_index(indices)]
        return hashes

    def stable_fractions(self, indices: Indices, salt: str) -> NDArray[np.float64]:
        """Return the stable hashes (N,) of the images in [0, 1), for one of stable_hash.SALTS."""
        values: NDArray[np.float64] = self._rows.column(f"hash_{salt}").to_numpy()[_as_index(indices)]
        return values

    @cached_property
    def _pixels(self) -> torch.Tensor:
        """All images of the file as a view of the memory map, (images, bytes per image) uint8; indexing copies."""
        height, width = self.info.image_size
        image = height * width * self._stored_channels * np.dtype(self.info.dtype).itemsize
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given buffer is not writable")  # it is never written
            flat = torch.frombuffer(self._map, dtype=torch.uint8)
        return flat[: len(flat) // image * image].view(-1, image)

    @cached_property
    def _known(self) -> NDArray[np.bool_]:
        return known_labels(self._rows)

    @cached_property
    def _labels(self) -> tuple[NDArray[np.int32], NDArray[np.int16]]:
        """Offsets of each row's labels, (rows + 1,), and the concatenated labels of all rows."""
        column = self._rows.column("labels")
        return column.offsets.to_numpy(), column.values.to_numpy()

    def _multi_hot(self, indices: Indices) -> NDArray[np.bool_]:
        rows = _as_index(indices)
        offsets, values = self._labels
        counts = np.diff(offsets)[rows]
        ends = np.concatenate([[0], np.cumsum(counts)])
        # Vectorised over all labels: position within the row plus the row's start.
        places = np.arange(ends[-1]) + np.repeat(offsets[:-1][rows] - ends[:-1], counts)
        return multi_hot(ends, values[places], len(self.info.class_names))


def _map_pixels(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path}: can't be read ({error}); remove the store and prepare it again") from error
    mapped.madvise(mmap.MADV_RANDOM)
    return mapped


def _as_index(indices: Indices) -> NDArray[np.int64]:
    return np.asarray(indices, dtype=np.int64).reshape(-1)
