"""Chip grid of a scene: positions of its chips, acquisition date, and each chip's cover (cloud, shadow, snow)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.maps.band_files import other_scene
from sweep.maps.channel_names import opaque_channels, own_names
from sweep.maps.ground_resolution import ground
from sweep.maps.open_scene import open_scene
from sweep.maps.other_products import OtherProduct
from sweep.maps.raster_file import explained_raster, open_raster
from sweep.maps.scene import Scene
from sweep.maps.scene_classes import COVER_CLASSES, cover_file
from sweep.maps.scene_files import is_band_scene, scene_files
from sweep.maps.scene_names import date_of, dates_in, lacks_offset, name_of, tile_of
from trainables.data.chip import COVERS, Chip
from trainables.data.preparing.linear_scale import FLOATS
from trainables.data.sources.chip_choice import ChipChoice
from trainables.data.sources.source import digest_of
from trainables.errors import BadInputError

WGS_84 = "EPSG:4326"
AS_THEY_ARE = (1.0, 0.0)
"""Scale and offset of values that need none."""
Shares = dict[str, NDArray[np.float64]]
"""Share of each chip, (rows, columns), by cover."""


@dataclass(frozen=True)
class SceneGrid:
    """Grid of chips in a scene, with facts about the whole scene."""

    path: Path
    name: str
    product: OtherProduct | None
    """Kind of product, if it is Landsat's or HLS'."""
    date: str
    tile: str
    crs: str
    transform: Any
    """Affine transform of the scene."""
    channels: int
    dtype: str
    """Type of the values as read."""
    measured: str
    """Type of the values in the files."""
    nodata_value: float | None
    """Value of pixels without data; None if none is known."""
    size: tuple[int, int]
    """Height and width in pixels."""
    metres: float | None
    """Side of a pixel on the ground; None if unknown."""
    marked: bool
    """Whether pixels without data are marked, by a value or a mask."""
    described: bool
    """Whether the files say which band each channel is."""
    stated: tuple[tuple[float, float], ...]
    """Different scales and offsets of the values that the files or their product state, (1, 0) for none."""
    names: tuple[str, ...]
    """Names of the bands."""
    coarse: tuple[str, ...]
    """Bands with larger pixels than the finest band."""
    offsets: tuple[int, ...]
    offset_unknown: bool
    """Whether values of Sentinel-2 may have an offset that no metadata states: bands since 2022, or without a date."""
    rows: tuple[int, ...]
    """First row and column of the chips, in pixels."""
    columns: tuple[int, ...]
    covers: Shares | None
    """Shares of cloud, shadow and snow from the SCL; None without SCL."""
    nodata: NDArray[np.float64] | None
    """Share of nodata of each chip; None if it is counted later, when the chips are read."""
    centres: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    """Longitude and latitude of the chips' centres, in degrees; None without coordinates."""
    state: str

    @classmethod
    def of(cls, path: Path, bands: tuple[str, ...], choice: ChipChoice) -> "SceneGrid":
        """Return the grid of a scene, with the cover of each chip from the SCL.

        Args:
            path: Product, folder of bands, or raster file.
            bands: Bands to read; empty: all.
            choice: Side, stride and limits of the chips.

        Raises:
            BadInputError: The scene can't be opened, or lacks a band.
        """
        channels, own = _channels(path, bands)
        with open_scene(path, bands, channels, nodata=choice.nodata) as scene:
            side = choice.chip_size
            other = other_scene(path)
            first = _first(scene, choice.step) if other and other.product.shifts else (0, 0)
            rows, columns = (
                tuple(range(start, most - side + 1, choice.step))
                for start, most in zip(first, (scene.height, scene.width), strict=True)
            )
            classified = _classified(path, scene, rows, columns, side)
            nodata = None if scene.can_lack_data else np.zeros((len(rows), len(columns)))
            if classified is not None:
                by_class = classified.pop("nodata")
                nodata = nodata if other or scene.dtype == FLOATS else by_class
            stated = {band.stated for band in scene.channels} if other is None else {other.product.scale}
            return cls(
                path=path,
                name=name_of(path),
                product=other.product if other else None,
                date=_date(path, scene),
                tile=tile_of(path),
                crs=_written_crs(scene.crs),
                transform=scene.transform,
                channels=channels,
                dtype=scene.dtype,
                measured=scene.measured,
                nodata_value=scene.channels[0].nodata,
                size=(scene.height, scene.width),
                metres=ground(scene.crs, scene.transform, scene.height, scene.width).side,
                marked=scene.is_marked,
                described=scene.described,
                stated=tuple(sorted(stated)),
                names=bands or own or tuple(f"channel_{number}" for number in range(1, channels + 1)),
                coarse=tuple(name for name, band in zip(scene.names, scene.channels, strict=False) if band.repeat > 1),
                offsets=tuple(sorted({band.offset for band in scene.channels})),
                offset_unknown=lacks_offset(path),
                rows=rows,
                columns=columns,
                covers=classified,
                nodata=nodata,
                centres=_centres(scene, rows, columns, side),
                state=_state(path),
            )

    @property
    def is_scaled(self) -> bool:
        """Whether the scene states a scale or offset of its values."""
        return self.stated != (AS_THEY_ARE,)

    def counted(self, bands: tuple[str, ...], choice: ChipChoice) -> "SceneGrid":
        """Return the grid with each chip's share of nodata, by one pass over the scene, a row of chips at a time."""
        if self.nodata is not None:
            return self
        side = choice.chip_size
        with open_scene(self.path, bands, self.channels, nodata=choice.nodata) as scene:
            lines = (scene.lacking((row, side), (0, scene.width)) for row in self.rows)
            shares = [shares_of(empty, self.columns, side) for empty in lines]
        return replace(self, nodata=np.array(shares).reshape(len(self.rows), len(self.columns)))

    def may_share_places(self, other: "SceneGrid", side: int) -> bool:
        """Whether a chip of another scene can have the same place and date: the extents of their chips overlap."""
        if (self.date or self.name, self.crs) != (other.date or other.name, other.crs):
            return False
        own, theirs = self._extent(side), other._extent(side)
        return bool(np.all(np.minimum(own[1], theirs[1]) > np.maximum(own[0], theirs[0])))

    def _extent(self, side: int) -> NDArray[np.float64]:
        """Return the minimum and maximum coordinates of the chips, (2, 2); an empty extent without chips."""
        if not self.rows or not self.columns:
            return np.array([[0.0, 0.0], [0.0, 0.0]])
        ends = [(column, row) for column in _ends(self.columns, side) for row in _ends(self.rows, side)]
        corners = np.array([self.transform * end for end in ends])
        return np.array([corners.min(axis=0), corners.max(axis=0)])


def scene_chips(grid: SceneGrid, choice: ChipChoice) -> Iterator[tuple[int, int, Chip]]:
    """Yield first row, first column and facts of each chip."""
    a, b, left, d, e, top = tuple(grid.transform)[:6]
    scene = grid.name, grid.tile, grid.date, grid.crs
    covers = [None] * 3 if grid.covers is None else [grid.covers[name] for name in COVERS[:3]]
    for i, row in enumerate(grid.rows):
        known = [
            [None] * len(grid.columns) if values is None else values[i].tolist()
            for values in (*(grid.centres or (None, None)), *covers, grid.nodata)
        ]
        for column, *facts in zip(grid.columns, *known, strict=True):
            corner = (a, b, a * column + b * row + left, d, e, d * column + e * row + top)
            yield row, column, Chip(*scene, corner, choice.chip_size, *facts)


def _first(scene: Scene, step: int) -> tuple[int, int]:
    """Return the first row and column of chips on a grid of `step` pixels that all scenes of a CRS share."""
    place = scene.transform
    pixels = (math.floor(start / size + 1e-6) for start, size in ((place.f, place.e), (place.c, place.a)))
    row, column = (-number % step for number in pixels)
    return row, column


def _channels(path: Path, bands: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """Return the number of channels to read, and the file's names for them if no bands are requested."""
    if bands or is_band_scene(path):
        return len(bands), ()
    channels = opaque_channels(path)
    return len(channels), own_names(path, channels)


def _classified(path: Path, scene: Scene, rows: tuple[int, ...], columns: tuple[int, ...], side: int) -> Shares | None:
    """Return each chip's share of each cover, by cover; None for a scene without SCL."""
    cover = cover_file(path)
    if cover is None:
        return None
    file = cover.path
    shares = {name: np.zeros((len(rows), len(columns))) for name in COVER_CLASSES}
    with explained_raster(str(file)), open_raster(file) as classes:
        repeat = scene.width // max(classes.width, 1)
        if (classes.width * repeat, classes.height * repeat) != (scene.width, scene.height):
            raise BadInputError(f"{file}: doesn't share the pixel grid of {scene.location}; fetch the product again")
        for i, row in enumerate(rows):
            first, last = row // repeat, -(-(row + side) // repeat)
            strip = np.repeat(classes.read(1, window=((first, last), (0, classes.width))), repeat, axis=0)
            strip = np.repeat(strip[row - first * repeat :][:side], repeat, axis=1)
            for name, values in shares.items():
                values[i] = shares_of(cover.covered(strip, name), columns, side)
    return shares


def _ends(starts: tuple[int, ...], side: int) -> tuple[int, int]:
    return starts[0], starts[-1] + side


def shares_of(flags: NDArray[np.bool_], columns: tuple[int, ...], side: int) -> NDArray[np.float64]:
    """Return the share of true pixels of each square of a strip (side, W); squares start at `columns`."""
    sums, starts = true_pixels(flags), np.array(columns, dtype=np.int64)
    shares: NDArray[np.float64] = (sums[starts + side] - sums[starts]) / float(side * side)
    return shares


def true_pixels(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the number of true pixels before each column of a strip (H, W) and in all of it, (W + 1,)."""
    sums = np.zeros(flags.shape[1] + 1, dtype=np.int64)
    if flags.any():
        np.cumsum(flags.sum(axis=0), out=sums[1:])
    return sums


def _centres(
    scene: Scene, rows: tuple[int, ...], columns: tuple[int, ...], side: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    if scene.crs is None:
        return None
    from rasterio._err import CPLE_BaseError  # raised by `transform`, and not a RasterioError
    from rasterio.errors import RasterioError
    from rasterio.warp import transform

    down, across = np.meshgrid(np.array(rows) + side / 2, np.array(columns) + side / 2, indexing="ij")
    x, y = scene.transform * (across.ravel(), down.ravel())
    try:
        longitude, latitude = transform(scene.crs, WGS_84, x, y)
    except (RasterioError, CPLE_BaseError):  # a local grid, whose place on the Earth isn't known
        return None
    return np.array(longitude).reshape(down.shape), np.array(latitude).reshape(down.shape)


def _written_crs(crs: Any) -> str:
    return "" if crs is None else str(crs.to_string())


def _date(path: Path, scene: Scene) -> str:
    """Return the date in the names of a scene, otherwise in its TIFFTAG_DATETIME; empty without either."""
    tag = str(scene.channels[0].dataset.tags().get("TIFFTAG_DATETIME", "")) if path.is_file() else ""
    return date_of(path) or next(iter(dates_in(tag[:10].replace(":", "-"))), "")


def _state(path: Path) -> str:
    """Return a digest of the sizes and times of a scene's files, which changes with them."""
    files = scene_files(path) if is_band_scene(path) else [path]
    return digest_of(
        *(f"{one.relative_to(path.parent)} {one.stat().st_size} {one.stat().st_mtime_ns}" for one in files)
    )
