"""Chip grid of a scene: positions of its chips, acquisition date, and each chip's cover (cloud, shadow, snow)."""

import datetime
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.maps.band_files import band_files, has_metadata, other_scene, product_of
from sweep.maps.channel_names import opaque_channels, own_names
from sweep.maps.ground_resolution import ground
from sweep.maps.open_scene import open_scene
from sweep.maps.other_products import OtherProduct, hls_date
from sweep.maps.raster_file import explained_raster, open_raster
from sweep.maps.scene import Scene
from sweep.maps.scene_classes import COVER_CLASSES, cover_file
from sweep.maps.scene_files import is_band_scene, scene_files, scene_of
from trainables.data.chip import COVERS, Chip
from trainables.data.preparing.linear_scale import FLOATS
from trainables.data.sources.chip_choice import ChipChoice
from trainables.data.sources.source import digest_of
from trainables.errors import BadInputError

DATE = re.compile(
    r"(?<!\d)((?:19|20)\d\d)-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])(?:T?[0-2]\d[0-5]\d[0-5]\d)?(?!\d)", re.ASCII
)
"""Date as 20230613 or 2023-06-13, which a time may follow; other forms aren't read, since they may be a position."""
SENSED = re.compile(r"^S2[A-D]_OPER_.*_V((?:19|20)\d\d)(\d\d)(\d\d)T")
"""Acquisition date in product names until 2016, which begin with the date of processing."""
TILE = re.compile(r"(?:^|[_.])(T\d\d[A-Z]{3})(?=_|\.|$)")
COG_TILE = re.compile(r"^S2[A-D]_(\d\d[A-Z]{3})_\d{8}_\d+_L\w\w$")
"""Folder of bands in sentinel-cogs of the Registry of Open Data on AWS (Element 84): S2B_52SFA_20220126_0_L2A."""
OFFSETS_SINCE = "2022-01-25"
"""Date of the first Sentinel-2 images with an offset (baseline 04.00)."""
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
            rows, columns = (tuple(range(0, most - side + 1, choice.step)) for most in (scene.height, scene.width))
            other = other_scene(path)
            classified = _classified(path, scene, rows, columns, side)
            nodata = None if scene.can_lack_data else np.zeros((len(rows), len(columns)))
            if classified is not None:
                by_class = classified.pop("nodata")
                nodata = nodata if other or scene.dtype == FLOATS else by_class
            name = path.stem if path.is_file() or path.suffix.upper() == ".SAFE" else path.name
            name = other.scene if other else name
            date = other.date if other else _date(path, name, scene)
            stated = {band.stated for band in scene.channels} if other is None else {other.product.scale}
            return cls(
                path=path,
                name=name,
                product=other.product if other else None,
                date=date,
                tile=other.tile if other else _tile(path, name),
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
                offset_unknown=not other and (not date or date >= OFFSETS_SINCE) and _lacks_metadata(path),
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


def _lacks_metadata(path: Path) -> bool:
    """Whether a scene is Sentinel-2's bands without the metadata that would state an offset."""
    return is_band_scene(path) and not has_metadata(path)


def _tile(path: Path, name: str) -> str:
    """Return the tile in the name of a scene or of its bands; the scene's name without one."""
    if cog := COG_TILE.match(name.upper()):
        return f"T{cog[1]}"
    found = next(filter(None, (TILE.search(one.upper()) for one in (name, _bands_name(path)))), None)
    return found[1] if found else name


def _date(path: Path, name: str, scene: Scene) -> str:
    """Return the date in the name of a scene or of its bands, otherwise in its TIFFTAG_DATETIME; empty without any."""
    found = SENSED.search(product_of(path).name)
    dates = ["-".join(found.groups())] if found else dates_in(name) or dates_in(_bands_name(path)) or [hls_date(name)]
    if not any(dates) and path.is_file():
        tag = str(scene.channels[0].dataset.tags().get("TIFFTAG_DATETIME", ""))
        dates = dates_in(tag[:10].replace(":", "-"))
    return dates[0] if dates else ""


def _bands_name(path: Path) -> str:
    """Return the scene that the names of its bands tell; empty for a raster file, and if they tell none."""
    if not is_band_scene(path):
        return ""
    return next((scene_of(file.name) for _, _, file in band_files(path)), "")


def dates_in(name: str) -> list[str]:
    """Return the dates in a name in their order, as YYYY-MM-DD; days that no month has are none."""
    found = []
    for match in DATE.finditer(name):
        with suppress(ValueError):
            found.append(datetime.date(*map(int, match.groups())).isoformat())
    return found


def _state(path: Path) -> str:
    """Return a digest of the sizes and times of a scene's files, which changes with them."""
    files = scene_files(path) if is_band_scene(path) else [path]
    return digest_of(
        *(f"{one.relative_to(path.parent)} {one.stat().st_size} {one.stat().st_mtime_ns}" for one in files)
    )
