"""GeoTIFF output: a map written row by row, converted to a Cloud Optimized GeoTIFF, and the area of each class."""

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
"""Side of the file's tiles in pixels; rows are written in such groups, since writing a tile twice compresses it twice.
"""
COG = {
    "COMPRESS": "DEFLATE",
    "LEVEL": "6",
    "PREDICTOR": "YES",
    "BLOCKSIZE": str(BLOCK),
    "BIGTIFF": "IF_SAFER",
    "OVERVIEWS": "IGNORE_EXISTING",
    "OVERVIEW_RESAMPLING": "NEAREST",
}
"""Options of the Cloud Optimized GeoTIFF; overviews sample the nearest pixel, since means of class numbers are invalid.
"""


class MapWriter:
    """Writer of finished rows from the top down, as float32 bands: probability, class, and optionally each class.

    All bands of a GeoTIFF have one type. Floats store probabilities without a scale factor, which readers forget, and
    class numbers exactly.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._waiting: list[NDArray[np.float32]] = []
        self._written = 0

    def add(self, probability: Values, classes: NDArray[np.uint8], each: Values, valid: Mask) -> None:
        """Append rows; invalid pixels become NODATA in all bands.

        Args:
            probability: Probabilities (H, W).
            classes: Class numbers (H, W), uint8.
            each: Probabilities of each class (K, H, W).
            valid: Valid pixels (H, W).
        """
        bands = np.concatenate([probability[None], classes[None].astype(np.float32), each])
        self._waiting.append(np.where(valid, bands, np.float32(NODATA)))
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
def map_writer(path: Path, scene: Scene, classes: MapClasses, tags: Mapping[str, str]) -> Iterator[MapWriter]:
    """Yield the writer of a plain GeoTIFF with a scene's size, CRS and transform, the input of `write_cog`.

    Args:
        path: File to write.
        scene: Scene that is mapped.
        classes: Classes of the map.
        tags: Metadata tags of the file.

    Raises:
        OSError: The file can't be written.
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
    """Convert a plain GeoTIFF to a Cloud Optimized GeoTIFF with overviews.

    Raises:
        OSError: The file can't be written.
    """
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
    """Return a map's probabilities and classes, (H, W) each, reduced to at most `most` pixels per side.

    Nodata pixels have the value NODATA.
    """
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
    """Pixel counts and areas of the classes of a map, accumulated row by row."""

    def __init__(self, classes: MapClasses, ground: GroundResolution) -> None:
        self._names, self._ground = classes.names, ground
        self._row = 0
        self.pixels = np.zeros(len(classes.names), dtype=np.int64)
        self.hectares = np.zeros(len(classes.names))
        self.probability = 0.0
        """Sum over valid pixels."""

    def add(self, probability: Values, classes: NDArray[np.uint8], valid: Mask) -> None:
        """Count the next rows (H, W), from the top down."""
        counts = np.stack([((classes == number) & valid).sum(axis=1) for number in range(len(self._names))])
        self.pixels += counts.sum(axis=1)
        if self._ground.row_hectares is not None:
            self.hectares += counts @ self._ground.row_hectares[self._row : self._row + len(valid)]
        self.probability += float(probability[valid].sum(dtype=np.float64))
        self._row += len(valid)

    def described(self) -> dict[str, Any]:
        """Return pixels, share of the valid area, hectares and square kilometres of each class and in total."""
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
