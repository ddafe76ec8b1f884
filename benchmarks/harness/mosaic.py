"""Scenes assembled from real patches: those of one tile and date in BigEarthNet's sample.

`python -m benchmarks.harness.mosaic SAMPLE FOLDER` writes the input of docs/scenes.md: products/ and two tables.
"""

import csv
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin

from trainables.data.class_names import AGRICULTURE_43

PATCHES = "BigEarthNet-v1.0/S2A_MSIL2A_20170613T101032_*"
TILE, MOMENT, CRS = "T34VER", "20170613T101032", "EPSG:32634"
BANDS = ("B04", "B03", "B02")
METRES, SIDE = 10, 120
NORTHERN_LINES = 44
JP2 = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES"}
GEOTIFF = {"driver": "GTiff", "tiled": True, "compress": "deflate", "nodata": 0}
Place = tuple[Path, int, int]
"""Patch with its row and column in a grid of patches."""
TURNS = 8


@dataclass(frozen=True)
class PatchMosaic:
    """Grid of patches with the position of its upper left corner; empty cells are nodata (0)."""

    places: tuple[Place, ...]
    left: float
    top: float

    @classmethod
    def as_they_lie(cls, sample: Path) -> Self:
        """Return the mosaic of every patch at its position on the ground."""
        corners = [(patch, *_corner(patch)) for patch in _patches(sample)]
        left, top = min(x for _, x, _ in corners), max(y for _, _, y in corners)
        step = METRES * SIDE
        return cls(
            tuple((patch, round((top - y) / step), round((x - left) / step)) for patch, x, y in corners), left, top
        )

    @classmethod
    def packed(cls, sample: Path, side: int) -> Self:
        """Return a square without gaps, of `side` patches per side, in which patches repeat rotated and mirrored."""
        patches = _patches(sample)
        cells = range(side * side)
        places = tuple((patches[cell % len(patches)], *divmod(cell, side)) for cell in cells)
        return cls(places, *_corner(patches[0]))

    def halves(self, line: int) -> tuple[Self, Self]:
        """Return the part north of a row of the grid, and the rest."""
        north = tuple(place for place in self.places if place[1] < line)
        south = tuple((patch, own - line, column) for patch, own, column in self.places if own >= line)
        return type(self)(north, self.left, self.top), type(self)(south, self.left, self.top - line * METRES * SIDE)

    def band(self, name: str) -> NDArray[np.uint16]:
        """Return one band of the whole scene, (H, W)."""
        lines, columns = (max(place[axis] for place in self.places) + 1 for axis in (1, 2))
        used: Counter[Path] = Counter()
        values = np.zeros((lines, SIDE, columns, SIDE), np.uint16)
        for patch, line, column in self.places:
            with rasterio.open(patch / f"{patch.name}_{name}.tif") as file:
                values[line, :, column] = _turned(file.read(1), used[patch])
            used[patch] += 1
        return values.reshape(lines * SIDE, columns * SIDE)

    def write_product(self, folder: Path) -> Path:
        """Write a level 2A product: lossless JPEG 2000 bands, and an SCL of vegetation and nodata."""
        product = folder / f"S2A_MSIL2A_{MOMENT}_N0205_R022_{TILE}_{MOMENT}.SAFE"
        images = product / "GRANULE" / f"L2A_{TILE}" / "IMG_DATA"
        for name in BANDS:
            self._write(images / "R10m" / f"{TILE}_{MOMENT}_{name}_10m.jp2", {name: self.band(name)}, METRES, JP2)
        classes = np.where(self.band("B04")[::2, ::2] > 0, 4, 0).astype(np.uint8)
        self._write(images / "R20m" / f"{TILE}_{MOMENT}_SCL_20m.jp2", {"SCL": classes}, 2 * METRES, JP2)
        (product / "MTD_MSIL2A.xml").write_text("<PROCESSING_BASELINE>02.05</PROCESSING_BASELINE>")
        return product

    def write_geotiff(self, path: Path) -> Path:
        """Write all bands as one tiled GeoTIFF."""
        return self._write(path, {name: self.band(name) for name in BANDS}, METRES, GEOTIFF)

    def _write(self, path: Path, bands: dict[str, NDArray[Any]], metres: int, driver: dict[str, Any]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.stack(list(bands.values()))
        shape = dict(zip(("count", "height", "width"), values.shape, strict=True))
        place = {"crs": CRS, "transform": from_origin(self.left, self.top, metres, metres)}
        with rasterio.open(path, "w", dtype=values.dtype, **shape, **place, **driver) as file:
            file.write(values)
            if len(bands) > 1:
                file.descriptions = tuple(bands)
        return path


def write_labels(path: Path, sample: Path, scenes: Iterable[tuple[str, PatchMosaic]]) -> Path:
    """Write a table of the chips' labels, farmland or other, from the sample's list."""
    farmland = {row["patch"]: "farmland" if row["farmland"] == "1" else "other" for row in _manifest(sample)}
    return _write_table(path, "label", farmland, scenes)


def write_shares(path: Path, sample: Path, scenes: Iterable[tuple[str, PatchMosaic]]) -> Path:
    """Write a table of a number for each chip: the share of its patch's labels that are agricultural."""
    shares = {}
    for row in _manifest(sample):
        labels = row["labels"].split("|")
        shares[row["patch"]] = f"{sum(label in AGRICULTURE_43 for label in labels) / len(labels):.4f}"
    return _write_table(path, "share", shares, scenes)


def _manifest(sample: Path) -> list[dict[str, str]]:
    with (sample / "manifest.csv").open() as listed:
        return list(csv.DictReader(listed))


def _write_table(path: Path, column: str, values: Mapping[str, str], scenes: Iterable[tuple[str, PatchMosaic]]) -> Path:
    with path.open("w", newline="") as written:
        table = csv.writer(written)
        table.writerow(["path", column])
        for scene, mosaic in scenes:
            for patch, line, place in mosaic.places:
                table.writerow([f"{scene}/{line * SIDE:05d}_{place * SIDE:05d}", values[patch.name]])
    return path


def _patches(sample: Path) -> list[Path]:
    return sorted(sample.glob(PATCHES))


def _turned(values: NDArray[np.uint16], turn: int) -> NDArray[np.uint16]:
    """Return the values in one of TURNS orientations, the first unchanged; a repeated image would be a leak."""
    turned = np.rot90(values, turn % 4)
    return turned[:, ::-1] if turn % TURNS >= 4 else turned


def _corner(patch: Path) -> tuple[float, float]:
    with rasterio.open(patch / f"{patch.name}_B04.tif") as file:
        return file.bounds.left, file.bounds.top


def main() -> None:
    """Write the north as a product, the south as a GeoTIFF, and the labels of both as a table."""
    sample, folder = map(Path, sys.argv[1:])
    north, south = PatchMosaic.as_they_lie(sample).halves(NORTHERN_LINES)
    product = north.write_product(folder / "products")
    geotiff = south.write_geotiff(folder / "products" / f"mosaic_south_{MOMENT[:8]}.tif")
    scenes = [(product.stem, north), (geotiff.stem, south)]
    write_labels(folder / "farmland.csv", sample, scenes)
    write_shares(folder / "share.csv", sample, scenes)


if __name__ == "__main__":
    main()
