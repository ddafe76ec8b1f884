"""Opening of a satellite scene: the files of its bands, their nodata values and offsets, and one pixel grid."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sweep.maps.band_files import (
    band_files,
    band_offsets,
    finest_files,
    has_metadata,
    other_scene,
    refuse_other_products,
)
from sweep.maps.channel_names import chosen_channels
from sweep.maps.other_products import OtherFile
from sweep.maps.raster_file import DRIVERS, closed_raster, explained_raster, no_raster, open_raster
from sweep.maps.scene import Band, Scene
from sweep.maps.scene_files import is_band_scene, scene_files
from sweep.maps.scene_values import check_values, kind_of, read_type
from trainables.data.preparing.linear_scale import FLOATS
from trainables.errors import BadInputError

SENTINEL_NODATA = 0
"""Nodata value in Sentinel-2's product specification; its JPEG 2000 files don't contain it."""


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
        source: Product, folder of bands, raster file, or the beginning of the names of a scene's bands.
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
    if is_band_scene(source):
        return _of_bands(stack, source, bands, offset=offset, nodata=nodata, unstated=unstated)
    return _of_file(stack, source, bands, channels, offset=offset, nodata=nodata, unstated=unstated)


def is_scene(source: Path) -> bool:
    """Whether a path looks like a scene (a raster file, or band files), without opening it."""
    if is_band_scene(source):
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
    offset: int | None,
    nodata: float | None,
    unstated: float | None,
) -> Scene:
    from rasterio.enums import ColorInterp, MaskFlags

    if not source.is_file():
        raise BadInputError(f"{source}: no such file or folder")
    if source.suffix.lower() not in DRIVERS:
        raise no_raster(source)
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
            "give the folder that holds all bands, without files of other kinds"
            if len(opaque) == 1
            else "leave out others, or name them in the file"
        )
        raise BadInputError(f"{source}: has {len(opaque)} bands, and {wanted} are read; {more}")
    masked = nodata is None and MaskFlags.per_dataset in dataset.mask_flag_enums[chosen[0] - 1]
    if nodata is None and not masked and len(opaque) < dataset.count:  # GDAL reads opacity of unsigned types alone
        raise BadInputError(
            f"{source}: has an opacity channel of {dataset.dtypes[0]}, which can't be read as a mask; mark pixels "
            "without data by a value (gdalwarp -dstnodata), or name one with --nodata"
        )
    value = dataset.nodatavals[chosen[0] - 1] if nodata is None else nodata  # a file has one
    value = unstated if value is None and not masked else value
    read = tuple(Band(dataset, index, 1, offset or 0, value) for index in chosen)
    scene = _scene(str(source), dataset, read, tuple(bands), dataset if masked else None)
    return replace(scene, described=described, offset_stated=offset is not None)


def _of_bands(
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
    found, other = finest_files(source), other_scene(source)
    common = {} if other is None else other.product.common
    if missing := [band for band in bands if common.get(band, band) not in found]:
        refuse_other_products(scene_files(source))
        raise BadInputError(
            f"{source}: has no file of {', '.join(missing)}; it has {', '.join(found) or 'no band'}; fetch it again, "
            "or take bands that it has"
        )
    files = {band: found[common.get(band, band)] for band in bands}
    datasets = {band: _open(stack, files[band]) for band in bands}
    finest = max(datasets.values(), key=lambda one: one.width)
    added = band_offsets(source) if offset is None else {}
    read = []
    for band, dataset in datasets.items():
        own = dataset.nodata if nodata is None else nodata
        repeat = _repeat(files[band], dataset, finest)
        if kind_of(dataset.dtypes[0]) != kind_of(finest.dtypes[0]):
            raise BadInputError(
                f"{files[band]}: has values of {dataset.dtypes[0]}, other bands of {finest.dtypes[0]}; give one type"
            )
        value = _offset(source, band, added) if offset is None else offset
        usual = _usual_nodata(other, dataset) if unstated is None else unstated
        read.append(Band(dataset, 1, repeat, value, usual if own is None else own))
    scene = _scene(str(source), finest, tuple(read), tuple(bands), None)
    return replace(scene, offset_stated=offset is not None or has_metadata(source))


def _usual_nodata(other: OtherFile | None, dataset: Any) -> float | None:
    """Return the nodata value in the specification of a scene's product; None for other values than the product's."""
    if other is not None:
        return other.product.fill
    return SENTINEL_NODATA if read_type(dataset.dtypes[0]) != FLOATS else None


def _offset(source: Path, band: str, added: Mapping[str, int]) -> int:
    """Return a band's offset among those of the metadata; BadInputError if only its own is missing."""
    if added and band not in added:
        raise BadInputError(f"{source}: its metadata lacks the offset of {band}, and has others; fetch it again")
    return added.get(band, 0)


def _scene(location: str, grid: Any, channels: tuple[Band, ...], names: tuple[str, ...], masked: Any) -> Scene:
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


def enter_band(stack: ExitStack, path: Path, scene: Scene) -> Band:
    """Return a further band on the scene's pixel grid, open as long as `stack`; BadInputError for another grid."""
    dataset = _open(stack, path)
    return Band(dataset, 1, _repeat(path, dataset, scene.grid))


def _repeat(path: Path, dataset: Any, finest: Any) -> int:
    """Return the number of pixels of the finest band per band pixel, in each direction."""
    repeat = int(finest.width // max(dataset.width, 1))
    alike = (dataset.width * repeat, dataset.height * repeat) == (finest.width, finest.height)
    near = np.allclose(tuple(dataset.bounds), tuple(finest.bounds), atol=abs(finest.transform.a) / 2)
    if not alike or not near or dataset.crs != finest.crs:
        raise BadInputError(f"{path}: doesn't share the pixel grid of {finest.name}; give bands of one scene")
    return repeat
