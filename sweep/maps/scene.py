"""Satellite scene, read a few rows at a time: one GeoTIFF or JPEG 2000 file, or a folder with one file per band.

Importing this module is cheap; opening a scene needs rasterio.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.maps.raster_file import explained_raster
from sweep.maps.scene_values import as_floats, mark_empty, read_type
from sweep.maps.windows import Mask
from trainables.data.class_names import RGB_BANDS
from trainables.data.preparing.linear_scale import FLOATS
from trainables.data.sources.tiff_file import enlarged_page

MARGIN = 2
"""Margin of coarse pixels around a window, for bicubic interpolation."""


@dataclass(frozen=True)
class Band:
    """Band of one channel: its file, resolution and offset."""

    dataset: Any
    index: int
    repeat: int = 1
    """Number of scene pixels per band pixel in each direction."""
    offset: int = 0
    """Offset added to every value."""
    nodata: float | None = None

    @property
    def dtype(self) -> str:
        """Type of the values in the file."""
        return str(self.dataset.dtypes[self.index - 1])

    @property
    def stated(self) -> tuple[float, float]:
        """Scale and offset of the values that the file states."""
        return float(self.dataset.scales[self.index - 1]), float(self.dataset.offsets[self.index - 1])

    @property
    def block_rows(self) -> int:
        """Number of scene pixels per block of the file (tile or strip) in vertical direction."""
        return int(self.dataset.block_shapes[self.index - 1][0]) * self.repeat

    @property
    def block_row_bytes(self) -> int:
        """Unpacked size of the blocks beside each other across the file."""
        height, width = self.dataset.block_shapes[self.index - 1]
        across = -(-self.dataset.width // width) * width
        return int(height * across * np.dtype(self.dtype).itemsize)

    def read(self, top: int, rows: int) -> NDArray[np.generic]:
        """Return raw values (rows, W)."""
        return self.read_window((top, rows), (0, self.dataset.width * self.repeat))

    def read_window(self, down: tuple[int, int], across: tuple[int, int], rule: str = "nearest") -> NDArray[np.generic]:
        """Return values of a window without offset, given per direction by its first pixel and its length.

        Coarser bands are enlarged by `rule` (one of RESAMPLING), with a margin of surrounding pixels.
        """
        margin = 0 if rule == "nearest" or self.repeat == 1 else MARGIN
        (first, last), (left, right) = (
            (max(start // self.repeat - margin, 0), min(-(-(start + length) // self.repeat) + margin, most))
            for (start, length), most in zip((down, across), (self.dataset.height, self.dataset.width), strict=True)
        )
        with explained_raster(str(self.dataset.name)):  # of several files the one that is damaged
            values: NDArray[np.generic] = self.dataset.read(self.index, window=((first, last), (left, right)))
        if read_type(self.dtype) == FLOATS:
            values = as_floats(values, self.nodata)
        if self.repeat == 1:
            return values
        enlarged = np.repeat(np.repeat(values, self.repeat, axis=0), self.repeat, axis=1)
        if margin:
            smooth = enlarged_page(values[..., None], (enlarged.shape[0], enlarged.shape[1]), rule)[..., 0]
            beside = np.isnan(smooth) if smooth.dtype == FLOATS else None  # of a pixel without data
            enlarged = smooth if beside is None else np.where(beside, enlarged, smooth)
        enlarged = enlarged[down[0] - first * self.repeat :, across[0] - left * self.repeat :]
        return enlarged[: down[1], : across[1]]


@dataclass(frozen=True)
class Scene:
    """Open scene; a pixel is valid unless all of its channels are nodata.

    Signed and floating-point values are read as float32, with NaN for nodata; a pixel is valid if no channel is NaN.
    """

    location: str
    height: int
    width: int
    crs: Any
    """CRS of rasterio, or None."""
    transform: Any
    """Affine transform from columns and rows to the CRS."""
    dtype: str
    """Type of the values as read: uint8, uint16 or float32."""
    measured: str
    """Type of the values in the files."""
    channels: tuple[Band, ...]
    names: tuple[str, ...]
    """Sentinel-2 band of each channel; empty if the channels are others."""
    masked: Any = None
    """Dataset whose mask or alpha channel defines the valid pixels; None without one."""
    grid: Any = None
    """Dataset that defines the scene's pixel grid."""
    described: bool = True
    """Whether the files say which band each channel is; if not, the requested bands are taken by position."""
    offset_stated: bool = False
    """Whether the product or the caller states the offset of the values, 0 included; it is added already."""

    def rows(self, top: int, rows: int) -> tuple[NDArray[np.generic], Mask]:
        """Return the values (rows, W, C) and the valid pixels (rows, W) of `rows` rows from row `top` on.

        Raises:
            BadInputError: The file is damaged there.
        """
        if self.dtype == FLOATS:
            values = self.window((top, rows), (0, self.width), "nearest")
            return values, ~np.isnan(values).any(axis=-1)
        with explained_raster(self.location):
            raw = [band.read(top, rows) for band in self.channels]
            mask = None if self.masked is None else self._masked((top, rows), (0, self.width))
        return self._stacked(raw, mask)

    def window(self, down: tuple[int, int], across: tuple[int, int], rule: str) -> NDArray[np.generic]:
        """Return the values (H, W, C) of a window, each direction given as its first pixel and its length.

        Coarser bands are enlarged by `rule`. BadInputError as `rows`.
        """
        with explained_raster(self.location):
            if self.dtype == FLOATS:
                return self._floats(down, across, rule)
            if self._is_one_grid:
                return self._read_at_once(down, across)
            raw = [band.read_window(down, across, rule) for band in self.channels]
        return np.stack([_moved(values, band.offset) for band, values in zip(self.channels, raw, strict=True)], axis=-1)

    @property
    def _is_one_grid(self) -> bool:
        """Whether all channels are bands of one file, whose values are taken as they are."""
        first = self.channels[0].dataset
        return all(band.dataset is first and band.repeat == 1 and not band.offset for band in self.channels)

    def _read_at_once(self, down: tuple[int, int], across: tuple[int, int]) -> NDArray[np.generic]:
        """Return the values (H, W, C) of a window, which rasterio writes in this order: no copy of each band."""
        values = np.empty((down[1], across[1], len(self.channels)), dtype=self.dtype)
        area = tuple((start, start + length) for start, length in (down, across))
        indices = [band.index for band in self.channels]
        self.channels[0].dataset.read(indices, window=area, out=values.transpose(2, 0, 1))
        return values

    def _floats(self, down: tuple[int, int], across: tuple[int, int], rule: str) -> NDArray[np.float32]:
        """Return the values (H, W, C) of a window as float32, with NaN in channels or pixels without data."""
        values = np.empty((down[1], across[1], len(self.channels)), dtype=np.float32)
        for channel, band in enumerate(self.channels):
            values[..., channel] = band.read_window(down, across, rule)
        if self.channels[0].nodata == 0:
            mark_empty(values)
        if any(band.offset for band in self.channels):
            values += np.array([band.offset for band in self.channels], dtype=np.float32)
        if self.masked is not None:
            values[~self._masked(down, across)] = np.nan
        return values

    def _masked(self, down: tuple[int, int], across: tuple[int, int]) -> Mask:
        """Return which pixels (H, W) of a window the file's mask or alpha channel calls valid."""
        area = tuple((start, start + length) for start, length in (down, across))
        valid: Mask = self.masked.dataset_mask(window=area) > 0
        return valid

    def row_cache_bytes(self, rows: int) -> int:
        """Return the bytes of the blocks that a strip of `rows` rows touches, and of one row of blocks more.

        A cache of this size holds them until the next strip; a larger one only takes memory, which takes time.
        """
        return sum(band.block_row_bytes * (rows // band.block_rows + 3) for band in self.channels)

    @property
    def is_marked(self) -> bool:
        """Whether the file says which pixels are nodata: by its mask, or by a value of the coarsest bands."""
        return self.masked is not None or all(band.nodata is not None for band in self._coarsest)

    @property
    def can_lack_data(self) -> bool:
        """Whether a pixel can be nodata, as the file says or because it is NaN."""
        return self.dtype == FLOATS or self.is_marked

    def lacking(self, down: tuple[int, int], across: tuple[int, int]) -> Mask:
        """Return which pixels (H, W) of a window are nodata in all of the coarsest bands, the cheapest to read.

        Of float32 values, NaN in any band counts.
        """
        if self.dtype == FLOATS:
            missing: Mask = np.isnan(self.window(down, across, "nearest")).any(axis=-1)
            return missing
        with explained_raster(self.location):
            if self.masked is not None:
                return ~self._masked(down, across)
            first, *others = self._coarsest
            lacking = np.asarray(first.read_window(down, across) == first.nodata)
            for band in others:
                if not lacking.any():
                    break
                lacking &= band.read_window(down, across) == band.nodata
            return lacking

    @property
    def shows_nodata(self) -> bool:
        """Whether the values of `window` are those of one file, so that they show which pixels are nodata."""
        return self.masked is None and self.dtype != FLOATS and self._is_one_grid

    def nodata_pixels(self, values: NDArray[np.generic]) -> int:
        """Return the number of pixels that are nodata in all channels, of values (H, W, C) that show it."""
        known = [band.nodata for band in self.channels if band.nodata is not None]
        if len(known) < len(self.channels):
            return 0
        whole = [int(value) if float(value).is_integer() else value for value in known]  # integers compare fast
        found = values == (whole[0] if len(set(whole)) == 1 else np.array(whole))
        return int(np.count_nonzero(found.all(axis=-1))) if found.any() else 0

    @property
    def _coarsest(self) -> list[Band]:
        most = max(band.repeat for band in self.channels)
        return [band for band in self.channels if band.repeat == most]

    def _stacked(self, raw: Sequence[NDArray[np.generic]], mask: Mask | None) -> tuple[NDArray[np.generic], Mask]:
        valid = np.zeros(raw[0].shape, dtype=bool)
        for band, values in zip(self.channels, raw, strict=True):
            valid |= np.ones_like(valid) if band.nodata is None else values != band.nodata
        moved = [_moved(values, band.offset) for band, values in zip(self.channels, raw, strict=True)]
        return np.stack(moved, axis=-1), valid if mask is None else valid & mask


def _moved(values: NDArray[Any], offset: int) -> NDArray[np.generic]:
    if not offset:
        return values
    return np.clip(values.astype(np.int32) + offset, 0, np.iinfo(values.dtype).max).astype(values.dtype)


def colours(scene: Scene) -> list[int]:
    """Return the indices of the red, green and blue channels, as far as known."""
    if set(RGB_BANDS) <= set(scene.names):
        return [scene.names.index(band) for band in RGB_BANDS]
    return [0, 1, 2] if len(scene.channels) >= 3 else [0, 0, 0]
