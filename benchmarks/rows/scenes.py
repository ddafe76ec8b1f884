"""Speed of cutting chips from scenes, beside rasterio alone reading the same windows."""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import rasterio
from rasterio.windows import Window

from benchmarks.harness.mosaic import BANDS, SIDE, PatchMosaic
from sweep.maps.scene_source import read_scenes
from trainables.data.preparing.prepare import prepare

PATCHES_A_SIDE = {"GeoTIFF": 90, ".SAFE": 45}
"""Patches per side: a GeoTIFF of 10,800 pixels per side, like a Sentinel-2 tile, and JPEG 2000 of 5,400, slow to write.
"""


@dataclass(frozen=True)
class ChipRate:
    """Chips per second into a store, and windows per second read by rasterio alone, for one file format."""

    kind: str
    chips: int
    ours: float
    alone: float


def chip_rates(sample: Path, root: Path) -> Iterator[ChipRate]:
    """Measure a tiled GeoTIFF and a JPEG 2000 product.

    rasterio alone is timed before and after, since a machine's speed drifts.
    """
    for kind, side in PATCHES_A_SIDE.items():
        mosaic, folder = PatchMosaic.packed(sample, side), root / f"scenes of {kind}"
        folder.mkdir()
        files = _written(mosaic, kind, folder)
        before = _windows_a_second(files, side)
        options: dict[str, Any] = {"chip_size": SIDE, "splits": "random", "pixels": "thesis"}
        name = kind.strip(".").lower()
        start = time.perf_counter()
        info = prepare("scenes", source=folder, root=root / "stores", store_name=name, reader=read_scenes, **options)
        ours = info.images / (time.perf_counter() - start)
        yield ChipRate(kind, info.images, ours, (before + _windows_a_second(files, side)) / 2)


def _written(mosaic: PatchMosaic, kind: str, folder: Path) -> list[Path]:
    if kind == "GeoTIFF":
        return [mosaic.write_geotiff(folder / "scene.tif")]
    product = mosaic.write_product(folder)
    return [next(product.rglob(f"*_{band}_10m.jp2")) for band in BANDS]


def _windows_a_second(files: Sequence[Path], side: int) -> float:
    """Read every window of every file in file order; each core reads one strip of the scene."""
    cores = len(os.sched_getaffinity(0))
    lines = [range(side * core // cores, side * (core + 1) // cores) for core in range(cores)]
    start = time.perf_counter()
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(partial(_read, files, side), lines))
    return side**2 / (time.perf_counter() - start)


def _read(files: Sequence[Path], side: int, lines: Sequence[int]) -> None:
    opened = [rasterio.open(file) for file in files]
    for line in lines:
        for column in range(side):
            for file in opened:
                file.read(window=Window(column * SIDE, line * SIDE, SIDE, SIDE))
    for file in opened:
        file.close()
