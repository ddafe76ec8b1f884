"""Satellite scene, read a few rows at a time: one GeoTIFF or JPEG 2000 file, or a folder with one file per band.

Importing this module is cheap; opening a scene needs rasterio.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.maps.band_files import band_files, band_offsets, finest_files, refuse_other_products
from sweep.maps.channel_names import chosen_channels
from sweep.maps.raster_file import DRIVERS, closed_raster, explained_raster, open_raster
from sweep.maps.scene_values import as_floats, check_values, kind_of, mark_empty, read_type
from sweep.maps.windows import Mask
from trainables.data.class_names import RGB_BANDS
from trainables.data.preparing.linear_scale import FLOATS
from trainables.data.sources.tiff_file import enlarged_page
from trainables.errors import BadInputError

MARGIN = 2
"""Margin of coarse pixels around a window, for bicubic interpolation."""
SENTINEL_NODATA = 0
"""Nodata value in Sentinel-2's product specification; its JPEG 2000 files don't contain it."""


@dataclass(frozen=True)
class _Band:
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
    channels: tuple[_Band, ...]
    names: tuple[str, ...]
    """Sentinel-2 band of each channel; empty if the channels are others."""
    masked: Any = None
    """Dataset whose mask or alpha channel defines the valid pixels; None without one."""
    grid: Any = None
    """Dataset that defines the scene's pixel grid."""
    described: bool = True
    """Whether the files say which band each channel is; if not, the requested bands are taken by position."""

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
    def _coarsest(self) -> list[_Band]:
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


@contextmanager
def open_scene(
    source: Path,
    bands: Sequence[str],
    channels: int,
    *,
    offset: int | None = None,
    nodata: float | None = None,
    unstated: float | None = None,
) -> Iterator[Scene]:
    """Open a scene with a model's channels.

    Args:
        source: Product, folder of bands, or raster file.
        bands: Sentinel-2 band of each channel; empty: the channels of the file.
        channels: Number of channels.
        offset: Offset added to every value; None: that of the product's metadata, otherwise 0.
        nodata: Nodata value; None: the files' own.
        unstated: Nodata value of files that state none.

    Raises:
        BadInputError: No scene, a missing band, or bands with different pixel grids.
    """
    with ExitStack() as stack:
        stack.enter_context(closed_raster())
        yield enter_scene(stack, source, bands, channels, offset=offset, nodata=nodata, unstated=unstated)


def enter_scene(
    stack: ExitStack,
    source: Path,
    bands: Sequence[str],
    channels: int,
    *,
    offset: int | None = None,
    nodata: float | None = None,
    unstated: float | None = None,
) -> Scene:
    """Return a scene that stays open as long as `stack`; like `open_scene`, for callers within `closed_raster`."""
    if source.is_dir():
        return _of_folder(stack, source, bands, offset=offset, nodata=nodata, unstated=unstated)
    return _of_file(stack, source, bands, channels, offset=offset or 0, nodata=nodata, unstated=unstated)


def is_scene(source: Path) -> bool:
    """Whether a path looks like a scene (a raster file, or a folder with band files), without opening it."""
    if source.is_dir():
        return next(band_files(source), None) is not None
    return source.suffix.lower() in DRIVERS


def _open(stack: ExitStack, path: Path) -> Any:
    with explained_raster(str(path)):
        dataset = stack.enter_context(open_raster(path))
    _refuse_unusable(path, dataset)
    return dataset


def _refuse_unusable(path: Path, dataset: Any) -> None:
    check_values(path, dataset.dtypes)
    if dataset.crs is None and (dataset.gcps[0] or dataset.rpcs is not None):
        raise BadInputError(
            f"{path}: is placed by ground control points or RPCs, without a regular grid; warp it with gdalwarp first"
        )


def _of_file(
    stack: ExitStack,
    source: Path,
    bands: Sequence[str],
    channels: int,
    *,
    offset: int,
    nodata: float | None,
    unstated: float | None,
) -> Scene:
    from rasterio.enums import ColorInterp, MaskFlags

    if not source.is_file():
        raise BadInputError(f"{source}: no such file or folder")
    if source.suffix.lower() not in DRIVERS:
        raise BadInputError(f"{source}: isn't one of {', '.join(DRIVERS)}")
    dataset = _open(stack, source)
    if ColorInterp.palette in dataset.colorinterp:
        raise BadInputError(
            f"{source}: has a palette, so its values are numbers of colours or classes; give a scene of measured values"
        )
    opaque = [index for index, kind in enumerate(dataset.colorinterp, 1) if kind != ColorInterp.alpha]
    with explained_raster(str(source)):
        chosen = chosen_channels(source, bands, opaque)
    described = chosen is not None or not bands
    if chosen is None and len(opaque) == channels:
        chosen = opaque
    if chosen is None:
        wanted = f"{channels} ({', '.join(bands)})" if bands else str(channels)
        more = (
            "give the folder that holds all bands" if len(opaque) == 1 else "leave out others, or name them in the file"
        )
        raise BadInputError(f"{source}: has {len(opaque)} bands, the model takes {wanted}; {more}")
    masked = nodata is None and MaskFlags.per_dataset in dataset.mask_flag_enums[chosen[0] - 1]
    if nodata is None and not masked and len(opaque) < dataset.count:  # GDAL reads opacity of unsigned types alone
        raise BadInputError(
            f"{source}: has an opacity channel of {dataset.dtypes[0]}, which can't be read as a mask; mark pixels "
            "without data by a value (gdalwarp -dstnodata), or name one with --nodata"
        )
    value = dataset.nodatavals[chosen[0] - 1] if nodata is None else nodata  # a file has one
    value = unstated if value is None and not masked else value
    read = tuple(_Band(dataset, index, 1, offset, value) for index in chosen)
    return replace(_scene(str(source), dataset, read, tuple(bands), dataset if masked else None), described=described)


def _of_folder(
    stack: ExitStack,
    source: Path,
    bands: Sequence[str],
    *,
    offset: int | None,
    nodata: float | None,
    unstated: float | None,
) -> Scene:
    if not bands:
        raise BadInputError(
            f"{source}: is a folder of bands, but this model doesn't name its bands; give one GeoTIFF with its channels"
        )
    found = finest_files(source)
    if missing := [band for band in bands if band not in found]:
        refuse_other_products(source)
        raise BadInputError(f"{source}: has no file of {', '.join(missing)}; it has {', '.join(found) or 'no band'}")
    datasets = {band: _open(stack, found[band]) for band in bands}
    finest = max(datasets.values(), key=lambda one: one.width)
    added = band_offsets(source) if offset is None else {}
    read = []
    for band, dataset in datasets.items():
        own = dataset.nodata if nodata is None else nodata
        repeat = _repeat(found[band], dataset, finest)
        if kind_of(dataset.dtypes[0]) != kind_of(finest.dtypes[0]):
            raise BadInputError(
                f"{found[band]}: has values of {dataset.dtypes[0]}, other bands of {finest.dtypes[0]}; give one type"
            )
        value = added.get(band, 0) if offset is None else offset
        usual = SENTINEL_NODATA if unstated is None and read_type(dataset.dtypes[0]) != FLOATS else unstated
        read.append(_Band(dataset, 1, repeat, value, usual if own is None else own))
    return _scene(str(source), finest, tuple(read), tuple(bands), None)


def _scene(location: str, grid: Any, channels: tuple[_Band, ...], names: tuple[str, ...], masked: Any) -> Scene:
    return Scene(
        location=location,
        height=grid.height,
        width=grid.width,
        crs=grid.crs,
        transform=grid.transform,
        dtype=read_type(channels[0].dtype),
        measured=channels[0].dtype,
        channels=channels,
        names=names,
        masked=masked,
        grid=grid,
    )


def enter_band(stack: ExitStack, path: Path, scene: Scene) -> _Band:
    """Return a further band on the scene's pixel grid, open as long as `stack`; BadInputError for another grid."""
    dataset = _open(stack, path)
    return _Band(dataset, 1, _repeat(path, dataset, scene.grid))


def _repeat(path: Path, dataset: Any, finest: Any) -> int:
    """Return the number of pixels of the finest band per band pixel, in each direction."""
    repeat = int(finest.width // max(dataset.width, 1))
    alike = (dataset.width * repeat, dataset.height * repeat) == (finest.width, finest.height)
    near = np.allclose(tuple(dataset.bounds), tuple(finest.bounds), atol=abs(finest.transform.a) / 2)
    if not alike or not near or dataset.crs != finest.crs:
        raise BadInputError(f"{path}: doesn't share the pixel grid of {finest.name}; give bands of one scene")
    return repeat


def colours(scene: Scene) -> list[int]:
    """Return the indices of the red, green and blue channels, as far as known."""
    if set(RGB_BANDS) <= set(scene.names):
        return [scene.names.index(band) for band in RGB_BANDS]
    return [0, 1, 2] if len(scene.channels) >= 3 else [0, 0, 0]
