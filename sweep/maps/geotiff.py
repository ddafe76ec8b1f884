"""Writing of a map row by row, then as Cloud Optimized GeoTIFF, and the number of pixels of each class."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.maps.ground_resolution import GroundResolution
from sweep.maps.map_classes import NODATA, MapClasses
from sweep.maps.raster_file import ALONE
from sweep.maps.scene import Scene
from sweep.maps.windows import Mask, Values

BLOCK = 256
"""Side of the file's tiles: rows are written so many at a time, as a tile that is written twice is packed twice."""
COG = {
    "COMPRESS": "DEFLATE",
    "LEVEL": "6",
    "PREDICTOR": "YES",
    "BLOCKSIZE": str(BLOCK),
    "BIGTIFF": "IF_SAFER",
    "OVERVIEWS": "IGNORE_EXISTING",
    "OVERVIEW_RESAMPLING": "NEAREST",
}
"""Overviews take every second pixel: means of class numbers say nothing, and the bands agree."""


class MapWriter:
    """Takes finished rows from the top down and writes them as float32 bands: probability, class, and of each class.

    All bands of a GeoTIFF are of one type. Floats keep a probability what it is, without a factor that readers forget;
    class numbers lose nothing.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._waiting: list[NDArray[np.float32]] = []
        self._written = 0

    def add(self, probability: Values, classes: NDArray[np.uint8], each: Values, valid: Mask) -> None:
        """Add rows (H, W), of `each` class (K, H, W); pixels that aren't valid become NODATA in all bands."""
        bands = np.concatenate([probability[None], classes[None].astype(np.float32), each])
        self._waiting.append(np.where(valid, bands, np.float32(NODATA)))
        ready = sum(part.shape[1] for part in self._waiting)
        if ready >= BLOCK:
            self._write(ready // BLOCK * BLOCK)

    def finish(self) -> None:
        """Write the rows that are left."""
        self._write(sum(part.shape[1] for part in self._waiting))

    def _write(self, rows: int) -> None:
        everything = np.concatenate(self._waiting, axis=1)
        window = ((self._written, self._written + rows), (0, everything.shape[2]))
        self._dataset.write(everything[:, :rows], window=window)
        self._written += rows
        self._waiting = [everything[:, rows:]]


@contextmanager
def map_writer(path: Path, scene: Scene, classes: MapClasses, tags: Mapping[str, str]) -> Iterator[MapWriter]:
    """Give what writes a map with a scene's size, CRS and transform as a plain GeoTIFF, which `write_cog` takes.

    OSError where it can't be written.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    shape = {"driver": "GTiff", "count": 2 + len(classes.each), "dtype": "float32"}
    size = {"height": scene.height, "width": scene.width}
    place = {"crs": scene.crs, "transform": scene.transform, "nodata": float(NODATA)}
    packing = {"compress": "deflate", "predictor": 3, "zlevel": 1, "interleave": "band", "BIGTIFF": "IF_SAFER"}
    tiles = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}
    with _explained(), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        dataset = rasterio.open(path, "w", **shape, **size, **place, **packing, **tiles)
    with _explained(), dataset:
        _describe(dataset, classes, tags)
        writer = MapWriter(dataset)
        yield writer
        writer.finish()


def write_cog(plain: Path, path: Path) -> None:
    """Write a map as Cloud Optimized GeoTIFF with overviews; OSError where it can't be written."""
    import rasterio.shutil
    from rasterio.errors import NotGeoreferencedWarning

    with _explained(), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
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


def _describe(dataset: Any, classes: MapClasses, tags: Mapping[str, str]) -> None:
    of = classes.positive or "the most probable class"
    dataset.set_band_description(1, f"probability of {of}")
    dataset.set_band_description(2, "class")
    for band, name in enumerate(classes.each, 3):
        dataset.set_band_description(band, f"probability of the class {name}")
    dataset.update_tags(**tags)
    dataset.update_tags(2, **{f"class_{number}": name for number, name in enumerate(classes.names)})


def read_small(path: Path, most: int) -> tuple[Values, NDArray[np.uint8]]:
    """Return probability and class of a written map with at most `most` pixels a side; nodata is NODATA."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, driver="GTiff", **ALONE) as dataset:
            scale = max(1.0, max(dataset.shape) / most)
            shape = (2, *(max(1, round(side / scale)) for side in dataset.shape))
            probability, classes = dataset.read((1, 2), out_shape=shape)
    return probability, classes.astype(np.uint8)


class ClassAreas:
    """Counts pixels and area of each class, row by row."""

    def __init__(self, classes: MapClasses, ground: GroundResolution) -> None:
        self._names, self._ground = classes.names, ground
        self._row = 0
        self.pixels = np.zeros(len(classes.names), dtype=np.int64)
        self.hectares = np.zeros(len(classes.names))
        self.probability = 0.0
        """Summed over valid pixels."""

    def add(self, probability: Values, classes: NDArray[np.uint8], valid: Mask) -> None:
        """Count rows (H, W), which come from the top down."""
        counts = np.stack([((classes == number) & valid).sum(axis=1) for number in range(len(self._names))])
        self.pixels += counts.sum(axis=1)
        if self._ground.row_hectares is not None:
            self.hectares += counts @ self._ground.row_hectares[self._row : self._row + len(valid)]
        self.probability += float(probability[valid].sum(dtype=np.float64))
        self._row += len(valid)

    def described(self) -> dict[str, Any]:
        """Return pixels, share of what is valid, hectares and square kilometres of each class and of all."""
        known = self._ground.row_hectares is not None
        amounts = self.hectares if known else self.pixels.astype(np.float64)
        whole = max(float(amounts.sum()), 1e-300)
        area = [_area(float(value)) if known else _area(None) for value in self.hectares]
        classes = {
            name: {"pixels": int(self.pixels[k]), "share": float(amounts[k]) / whole, **area[k]}
            for k, name in enumerate(self._names)
        }
        total = int(self.pixels.sum())
        return {
            "valid": {"pixels": total, **_area(float(self.hectares.sum()) if known else None)},
            "classes": classes,
            "mean_probability": self.probability / max(total, 1),
        }


def _area(hectares: float | None) -> dict[str, float | None]:
    return {"hectares": hectares, "square_kilometres": None if hectares is None else hectares / 100.0}
