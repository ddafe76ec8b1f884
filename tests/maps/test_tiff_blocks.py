"""A GeoTIFF's blocks give the values that GDAL gives, for each way to pack them, or leave the file to GDAL."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile

from sweep.maps.open_scene import open_scene
from sweep.maps.tiff_blocks import TiffBlocks
from tests.support.scenes import Pixels, write_scene

HEIGHT, WIDTH = 70, 90
WINDOWS = [((0, 30), (0, 90)), ((10, 40), (25, 50)), ((20, 1), (89, 1)), ((33, 37), (1, 60)), ((0, 70), (0, 90))]
TILES = {"tiled": True, "blockxsize": 32, "blockysize": 16}


def noise(channels: int, dtype: str) -> Pixels:
    return np.random.default_rng(5).integers(1, 250, (HEIGHT, WIDTH, channels)).astype(dtype)


@contextmanager
def blocks_of(path: Path, bands: tuple[str, ...] = ()) -> Iterator[TiffBlocks | None]:
    with rasterio.open(path) as file:
        channels = len(bands) or file.count
    with ExitStack() as stack, open_scene(path, bands, channels) as scene:
        yield TiffBlocks.open(stack, path, scene)


@pytest.mark.parametrize(
    ("channels", "dtype", "packing"),
    [
        (3, "uint16", {"compress": "deflate", **TILES}),
        (3, "uint16", {"compress": "deflate", "predictor": 2, **TILES}),
        (1, "uint16", {"compress": "deflate", "predictor": 2}),
        (12, "uint16", {"compress": "lzw", "predictor": 2, "blockysize": 16}),
        (3, "uint8", {"compress": "lzw", **TILES}),
        (2, "uint16", {"compress": "deflate", "ENDIANNESS": "BIG", "predictor": 2}),
        (3, "uint16", {"compress": "deflate", "BIGTIFF": "YES", "blockysize": 33}),
    ],
)
def test_windows_are_those_of_gdal(tmp_path: Path, channels: int, dtype: str, packing: dict[str, Any]) -> None:
    values = noise(channels, dtype)
    path = write_scene(tmp_path / "scene.tif", values, interleave="pixel", **packing)
    with blocks_of(path) as blocks:
        assert blocks is not None
        for down, across in WINDOWS:
            found = blocks.window(down, across)
            assert found is not None
            assert found.dtype == dtype
            expected = values[down[0] : sum(down), across[0] : sum(across)]
            np.testing.assert_array_equal(found, expected)


def test_bands_are_taken_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    values = noise(4, "uint16")
    path = write_scene(tmp_path / "scene.tif", values, compress="deflate", interleave="pixel")
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("B02", "B03", "B04", "B08")
    with blocks_of(path, ("B08", "B02")) as blocks:
        assert blocks is not None
        np.testing.assert_array_equal(blocks.window((0, 9), (3, 50)), values[:9, 3:53, [3, 0]])


@pytest.mark.parametrize(
    "packing",
    [
        {},
        {"compress": "zstd"},
        {"compress": "jpeg", "photometric": "ycbcr", **TILES},
        {"compress": "deflate", "interleave": "band"},
        {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES"},
    ],
)
def test_other_files_are_left_to_gdal(tmp_path: Path, packing: dict[str, Any]) -> None:
    path = tmp_path / ("scene.jp2" if "driver" in packing else "scene.tif")
    packing = {"interleave": "pixel"} | packing if "driver" not in packing else packing
    with blocks_of(write_scene(path, noise(3, "uint8"), **packing)) as blocks:
        assert blocks is None


def test_an_empty_block_is_left_to_gdal(tmp_path: Path) -> None:
    values = noise(3, "uint16")
    values[:16, :32] = 0
    path = write_scene(
        tmp_path / "scene.tif", values, compress="deflate", interleave="pixel", SPARSE_OK=True, nodata=0, **TILES
    )
    with blocks_of(path) as blocks:
        assert blocks is not None
        assert blocks.window((0, 16), (0, 32)) is None
        np.testing.assert_array_equal(blocks.window((16, 20), (32, 20)), values[16:36, 32:52])


@pytest.mark.parametrize("packing", ["deflate", "lzw"])
def test_a_damaged_or_larger_block_is_left_to_gdal(tmp_path: Path, packing: str) -> None:
    path = write_scene(tmp_path / "scene.tif", noise(3, "uint16"), compress=packing, interleave="pixel", **TILES)
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages[0].dataoffsets[0], tiff.pages[0].databytecounts[0]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(count // 2))
    with blocks_of(path) as blocks:
        assert blocks is not None
        assert blocks.window((0, 16), (0, 32)) is None


def test_blocks_above_the_window_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_scene(tmp_path / "scene.tif", noise(3, "uint16"), compress="deflate", interleave="pixel", **TILES)
    read: list[int] = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda file, count, at: read.append(at) or real(file, count, at))
    with blocks_of(path) as blocks:
        assert blocks is not None
        for row in range(0, 60, 10):
            for column in range(0, 90, 10):
                blocks.window((row, 10), (column, 10))
    assert len(read) == len(set(read)) == 12  # each of 4 x 3 tiles once
    assert len(blocks._blocks) <= 6
