"""Speed of cutting chips from scenes, beside rasterio alone reading the same windows."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import rasterio
from rasterio.transform import Affine
from rasterio.windows import Window

from benchmarks.harness.mosaic import BANDS, SIDE, PatchMosaic
from sweep.maps.scene_source import read_scenes
from trainables.data.preparing.prepare import prepare

PATCHES_A_SIDE = {"GeoTIFF": 90, ".SAFE": 45}
"""Patches per side: a GeoTIFF of 10,800 pixels per side, like a Sentinel-2 tile, and JPEG 2000 of 5,400, slow to write.
"""
POOL = 4
"""Scenes of a pool, in which start and end have a small share."""


@dataclass(frozen=True)
class ChipRate:
    """Chips per second into a store, and windows per second read by rasterio alone, for one file format."""

    kind: str
    chips: int
    ours: float
    alone: float


def chip_rates(sample: Path, root: Path) -> Iterator[ChipRate]:
    """Measure a tiled GeoTIFF, a pool of POOL such scenes, and a JPEG 2000 product."""
    for kind, side in PATCHES_A_SIDE.items():
        mosaic, folder = PatchMosaic.packed(sample, side), root / f"scenes of {kind}"
        folder.mkdir()
        scenes = [_written(mosaic, kind, folder)]
        yield _rate(f"a {kind} scene", folder, scenes, side)
        if kind == "GeoTIFF":
            scenes += [[_copied_further_east(scenes[0][0], number)] for number in range(1, POOL)]
            yield _rate(f"{POOL} {kind} scenes", folder, scenes, side)


def _rate(kind: str, folder: Path, scenes: Sequence[Sequence[Path]], side: int) -> ChipRate:
    """Measure the second of two stores of a folder of scenes: for the first, the workers' libraries are loaded.

    rasterio alone is timed before and after, since a machine's speed drifts.
    """
    _store(folder)
    before = _windows_a_second(scenes, side)
    chips, seconds = _store(folder)
    return ChipRate(kind, chips, chips / seconds, (before + _windows_a_second(scenes, side)) / 2)


def _store(folder: Path) -> tuple[int, float]:
    """Prepare a store of a folder of scenes, and return its number of chips and the seconds that it took."""
    options: dict[str, Any] = {"chip_size": SIDE, "splits": "random", "pixels": "thesis"}
    with tempfile.TemporaryDirectory(dir=folder.parent) as stores:
        start = time.perf_counter()
        info = prepare("scenes", source=folder, root=Path(stores), reader=read_scenes, **options)
        return info.images, time.perf_counter() - start


def _written(mosaic: PatchMosaic, kind: str, folder: Path) -> list[Path]:
    if kind == "GeoTIFF":
        return [mosaic.write_geotiff(folder / "scene.tif")]
    product = mosaic.write_product(folder)
    return [next(product.rglob(f"*_{band}_10m.jp2")) for band in BANDS]


def _copied_further_east(scene: Path, number: int) -> Path:
    """Return a copy of a scene that lies `number` widths further east."""
    copy = Path(shutil.copy(scene, scene.with_stem(f"{scene.stem}_{number}")))
    with rasterio.open(copy, "r+") as file:
        a, b, left, *down = tuple(file.transform)[:6]
        file.transform = Affine(a, b, left + number * file.width * a, *down)
    return copy


def _windows_a_second(scenes: Sequence[Sequence[Path]], side: int) -> float:
    """Read every window of every scene's files in file order; each core reads one strip of a scene."""
    cores = len(os.sched_getaffinity(0))
    lines = [range(side * core // cores, side * (core + 1) // cores) for core in range(cores)]
    start = time.perf_counter()
    with ThreadPoolExecutor(cores) as pool:
        for files in scenes:
            list(pool.map(partial(_read, files, side), lines))
    return len(scenes) * side**2 / (time.perf_counter() - start)


def _read(files: Sequence[Path], side: int, lines: Sequence[int]) -> None:
    opened = [rasterio.open(file) for file in files]
    for line in lines:
        for column in range(side):
            for file in opened:
                file.read(window=Window(column * SIDE, line * SIDE, SIDE, SIDE))
    for file in opened:
        file.close()
