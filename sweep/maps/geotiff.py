"""GeoTIFF output: a map written row by row, converted to a Cloud Optimized GeoTIFF."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.maps.map_layer import MapLayer
from sweep.maps.raster_file import ALONE
from sweep.maps.scene import Scene
from sweep.maps.windows import Mask, Values

BLOCK = 256
"""Side of the file's tiles in pixels; rows are written in such groups, since writing a tile twice compresses it twice.
"""
COG = {
    "COMPRESS": "DEFLATE",
    "LEVEL": "1",  # of 44 bands a level of 6 takes 1.7 times as long, and saves 7 % of the file
    "PREDICTOR": "YES",
    "NUM_THREADS": "ALL_CPUS",
    "BLOCKSIZE": str(BLOCK),
    "BIGTIFF": "IF_SAFER",
    "OVERVIEWS": "IGNORE_EXISTING",
    "OVERVIEW_RESAMPLING": "NEAREST",
}
"""Options of the Cloud Optimized GeoTIFF; overviews sample the nearest pixel, since means of class numbers are invalid.
"""
COPY_CACHE_BYTES = 64 * 2**20
"""GDAL's cache while a map is translated: tiles are read once, and the threads that pack them hold more of their own.
"""


class MapWriter:
    """Takes finished rows from the top down and writes a layer's bands.

    All bands of a GeoTIFF have one type. Floats store probabilities without a scale factor, which readers forget, and
    class numbers exactly.
    """

    def __init__(self, dataset: Any, layer: MapLayer) -> None:
        self._dataset, self._nodata = dataset, np.dtype(layer.dtype).type(layer.nodata)
        self._waiting: list[NDArray[np.generic]] = []
        self._written = 0

    def add(self, bands: Values, valid: Mask) -> None:
        """Append rows; invalid pixels become nodata in all bands.

        Args:
            bands: Values (B, H, W).
            valid: Valid pixels (H, W).
        """
        self._waiting.append(np.where(valid, bands, self._nodata))
        ready = sum(part.shape[1] for part in self._waiting)
        if ready >= BLOCK:
            self._write(ready // BLOCK * BLOCK)

    def finish(self) -> None:
        """Write the remaining rows."""
        self._write(sum(part.shape[1] for part in self._waiting))

    def _write(self, rows: int) -> None:
        everything = np.concatenate(self._waiting, axis=1)
        window = ((self._written, self._written + rows), (0, everything.shape[2]))
        self._dataset.write(everything[:, :rows], window=window)
        self._written += rows
        self._waiting = [everything[:, rows:]]


@contextmanager
def map_writer(path: Path, scene: Scene, layer: MapLayer, tags: Mapping[str, str]) -> Iterator[MapWriter]:
    """Yield the writer of a plain GeoTIFF with a scene's size, CRS and transform, the input of `write_cog`.

    Args:
        path: File to write.
        scene: Scene that is mapped.
        layer: Bands of the map.
        tags: Metadata tags of the file.

    Raises:
        OSError: The file can't be written.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    shape = {"driver": "GTiff", "count": len(layer.descriptions), "dtype": layer.dtype}
    size = {"height": scene.height, "width": scene.width}
    place = {"crs": scene.crs, "transform": scene.transform, "nodata": layer.nodata}
    packing = {"compress": "deflate", "predictor": 3, "zlevel": 1, "interleave": "band", "BIGTIFF": "IF_SAFER"}
    tiles = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "num_threads": "ALL_CPUS"}
    with _explained(), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        dataset = rasterio.open(path, "w", **shape, **size, **place, **packing, **tiles)
    with _explained(), dataset:
        _describe(dataset, layer, tags)
        writer = MapWriter(dataset, layer)
        yield writer
        writer.finish()


def write_cog(plain: Path, path: Path) -> None:
    """Convert a plain GeoTIFF to a Cloud Optimized GeoTIFF with overviews.

    Raises:
        OSError: The file can't be written.
    """
    import rasterio
    import rasterio.shutil
    from rasterio.errors import NotGeoreferencedWarning

    with _explained(), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.Env(GDAL_CACHEMAX=COPY_CACHE_BYTES):
            rasterio.shutil.copy(plain, path, driver="COG", **COG)


@contextmanager
def _explained() -> Iterator[None]:
    from rasterio._err import CPLE_BaseError  # what rasterio.shutil lets through
    from rasterio.errors import RasterioError

    try:
        yield
    except (RasterioError, CPLE_BaseError, OSError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise OSError(reason) from error


def _describe(dataset: Any, layer: MapLayer, tags: Mapping[str, str]) -> None:
    for band, description in enumerate(layer.descriptions, 1):
        dataset.set_band_description(band, description)
    dataset.update_tags(**tags)
    for band, own in layer.band_tags.items():
        dataset.update_tags(band, **own)


def read_small(path: Path, most: int) -> Values:
    """Return a map's first two bands, or its only one, (B, H, W), reduced to at most `most` pixels per side."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, driver="GTiff", **ALONE) as dataset:
            scale = max(1.0, max(dataset.shape) / most)
            shown = dataset.indexes[:2]
            shape = (len(shown), *(max(1, round(side / scale)) for side in dataset.shape))
            bands: Values = dataset.read(shown, out_shape=shape)
    return bands
