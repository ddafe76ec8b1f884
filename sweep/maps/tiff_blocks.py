"""Blocks (tiles or strips) of a GeoTIFF, unpacked with the bands of a pixel beside each other, as they are stored.

GDAL copies such blocks apart by band and together again, which takes 4 % of the time of preparing.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.maps.raster_file import CACHE_BYTES
from sweep.maps.scene import Scene
from trainables.data.sources.tiff_file import OTHER_FILES, tiff_library

BESIDE_EACH_OTHER = 1
"""Planar configuration of files that store the bands of a pixel beside each other."""
PREDICTED = 2
"""Predictor of files that store differences of neighbouring pixels; 1 is none."""
LZW, DEFLATES = 5, (8, 32946)


class TiffBlocks:
    """Blocks of an open file; those of the rows of blocks that were read last stay in memory."""

    def __init__(self, file: int, page: Any, unpack: Callable[..., bytes | bytearray], channels: Sequence[int]) -> None:
        """Take an open file.

        Args:
            file: File descriptor.
            page: First page of the file, as tifffile describes it.
            unpack: Decoder of a block.
            channels: Bands to read, from 0.
        """
        self._file, self._page, self._unpack = file, page, unpack
        self._channels = None if list(channels) == list(range(page.samplesperpixel)) else list(channels)
        self._blocks: dict[tuple[int, int], NDArray[np.generic]] = {}
        self._first_row = 0

    @classmethod
    def open(cls, stack: ExitStack, path: Path, scene: Scene) -> "TiffBlocks | None":
        """Return the blocks of a GeoTIFF, open as long as `stack`; None if only GDAL can read it.

        Args:
            stack: Stack that closes the file.
            path: File of the scene.
            scene: Scene of one file, as GDAL opened it.
        """
        import imagecodecs

        deflated = dict.fromkeys(DEFLATES, imagecodecs.deflate_decode)
        unpackers: dict[int, Callable[..., bytes | bytearray]] = {LZW: imagecodecs.lzw_decode, **deflated}
        file = scene.channels[0].dataset
        try:
            with tiff_library().TiffFile(path, **OTHER_FILES) as tiff:
                page = tiff.pages[0]
        except Exception:  # JPEG 2000, or an odd header, which GDAL has read
            return None
        shape = (file.height, file.width, file.count)
        same = page.shape == (shape if file.count > 1 else shape[:2]) and page.dtype == scene.dtype
        known = page.compression in unpackers and page.predictor in (1, PREDICTED) and page.fillorder == 1
        fits = 2 * scene.channels[0].block_row_bytes * file.count <= CACHE_BYTES
        if not (same and known and fits) or page.planarconfig != BESIDE_EACH_OTHER or page.dtype.kind not in "iu":
            return None
        opened = os.open(path, os.O_RDONLY)
        stack.callback(os.close, opened)
        return cls(opened, page, unpackers[page.compression], [band.index - 1 for band in scene.channels])

    def window(self, down: tuple[int, int], across: tuple[int, int]) -> NDArray[np.generic] | None:
        """Return the values (H, W, C) of a window; None if a block is empty or damaged, which GDAL treats.

        Args:
            down: First row and number of rows.
            across: First column and number of columns.
        """
        height, width = self._page.chunks[:2]
        values = np.empty((down[1], across[1], self._page.samplesperpixel), dtype=self._page.dtype)
        self._forget(down[0] // height)
        for row in range(down[0] // height, (sum(down) - 1) // height + 1):
            for column in range(across[0] // width, (sum(across) - 1) // width + 1):
                try:
                    block = self._block(row, column)
                except (OSError, ValueError, RuntimeError, LookupError):
                    return None
                top, left = row * height - down[0], column * width - across[0]
                part = block[max(-top, 0) : down[1] - top, max(-left, 0) : across[1] - left]
                values[max(top, 0) :, max(left, 0) :][: part.shape[0], : part.shape[1]] = part
        return values if self._channels is None else values[..., self._channels]

    def _forget(self, first_row: int) -> None:
        """Drop blocks above or far below a row of blocks; chips come in the order of their rows."""
        if first_row != self._first_row:
            self._blocks = {key: block for key, block in self._blocks.items() if 0 <= key[0] - first_row <= 1}
            self._first_row = first_row

    def _block(self, row: int, column: int) -> NDArray[np.generic]:
        if (row, column) not in self._blocks:
            self._blocks[row, column] = self._unpacked(row, column)
        return self._blocks[row, column]

    def _unpacked(self, row: int, column: int) -> NDArray[np.generic]:
        """Return the values (H, W, C) of a block.

        Raises:
            OSError: The file can't be read.
            LookupError: The file has fewer blocks than it declares.
            RuntimeError: The block can't be unpacked.
            ValueError: The block is empty, or not of the declared size.
        """
        page = self._page
        height, width = page.chunks[:2]
        rows = height if page.is_tiled else min(height, page.imagelength - row * height)
        number = row * page.chunked[1] + column
        offset, count = page.dataoffsets[number], page.databytecounts[number]
        dtype = page.dtype.newbyteorder(page.parent.byteorder)
        size = rows * width * page.samplesperpixel * dtype.itemsize
        if not 0 < count <= 2 * size:
            raise ValueError(f"block {number} has {count:,} bytes")
        unpacked = self._unpack(os.pread(self._file, count, offset), out=size)
        values = np.frombuffer(unpacked, dtype).reshape(rows, width, page.samplesperpixel)
        values = values.astype(page.dtype, copy=False)
        if page.predictor != PREDICTED:
            return values
        import imagecodecs

        differences: NDArray[np.generic] = imagecodecs.delta_decode(values, axis=1)
        return differences
