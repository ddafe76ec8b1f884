"""Isolated opening of untrusted raster files: GDAL reads no other file and no network address that they refer to."""

import importlib.util
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sweep.maps.jpeg2000 import check_complete
from trainables.errors import BadInputError
from trainables.files.unpacked_limit import check_unpacked

JPEG_2000 = "JP2OpenJPEG"
DRIVERS = {".tif": "GTiff", ".tiff": "GTiff", ".jp2": JPEG_2000}
"""GDAL drivers by suffix; formats that consist of other files or addresses are excluded."""
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".7z", ".rar")
"""Suffixes of archives, which aren't read."""
CACHE_BYTES = 256 * 2**20
"""Maximum size of GDAL's cache of decoded blocks; three Sentinel-2 bands have 70 MiB per row of JPEG 2000 tiles."""
BLOCK_BYTES = 2**30
"""Maximum size of a block (tile or strip), which is decoded whole; a Sentinel-2 band in one strip has 240 MB."""
MOST_BANDS = 1024
CLOSED = {
    "GDAL_PAM_ENABLED": "NO",  # .aux.xml
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # .ovr, .msk, .tfw and metadata beside the file
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "/none",  # /vsicurl/ and its relatives
    "GDAL_HTTP_MAX_RETRY": "0",
}
"""Settings of GDAL while untrusted files are open."""
ALONE = {"OVERVIEW_LEVEL": "NONE"}
"""Open option that disables overviews, since a file's OVERVIEW_FILE tag can name any file or address."""


def require_rasterio(purpose: str) -> None:
    """Raise BadInputError with the installation command if rasterio isn't installed."""
    if importlib.util.find_spec("rasterio") is None:
        raise BadInputError(f"rasterio: isn't installed and is needed for {purpose}: pip install 'sweep-service[maps]'")


@contextmanager
def closed_raster(cache_bytes: int = CACHE_BYTES) -> Iterator[None]:
    """Restrict GDAL and PROJ to the opened files (no side files, no network) and a cache of at most CACHE_BYTES."""
    os.environ["PROJ_NETWORK"] = "OFF"  # read when PROJ is first used
    import rasterio

    with rasterio.Env(GDAL_CACHEMAX=min(cache_bytes, CACHE_BYTES), **CLOSED):
        yield


@contextmanager
def explained_raster(location: str) -> Iterator[None]:
    """Turn GDAL's errors into BadInputError of one line with the file's name."""
    from rasterio.errors import RasterioError

    try:
        yield
    except BadInputError:
        raise
    except (RasterioError, OSError, ValueError, MemoryError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadInputError(f"{location}: can't be read ({reason}); fetch it again") from error


def open_raster(path: Path) -> Any:
    """Return an open rasterio dataset; call it within `closed_raster`.

    Raises:
        BadInputError: A suffix that isn't in DRIVERS, a file that was cut, or a block that exceeds the size limit.
    """
    if DRIVERS.get(path.suffix.lower()) == JPEG_2000 and path.is_file():
        check_complete(path)
    dataset = _opened(path, **ALONE)
    try:
        _check_sizes(path, dataset)
    except BaseException:
        dataset.close()
        raise
    return dataset


def no_raster(path: Path) -> BadInputError:
    """Return the error for a file that isn't read, by its suffix."""
    if path.suffix.lower() in ARCHIVES:
        return BadInputError(f"{path}: is an archive; unpack it first")
    return BadInputError(f"{path}: isn't one of {', '.join(DRIVERS)}")


def band_names(path: Path) -> tuple[str | None, ...]:
    """Return a file's band descriptions, which datasets of `open_raster` lack; the file is closed again."""
    with _opened(path) as dataset:
        names: tuple[str | None, ...] = dataset.descriptions
    return names


def _opened(path: Path, **options: str) -> Any:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    driver = DRIVERS.get(path.suffix.lower())
    if driver is None:
        raise no_raster(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # the map says so itself
        # An absolute path has no scheme, whatever the file is called.
        return rasterio.open(path.absolute(), driver=driver, **options)


def _check_sizes(path: Path, dataset: Any) -> None:
    if dataset.count > MOST_BANDS:
        raise BadInputError(f"{path}: has {dataset.count:,} bands, the limit is {MOST_BANDS:,}")
    widths = [_item_bytes(name) for name in dataset.dtypes]
    blocks = zip(dataset.block_shapes, widths, strict=True)
    block = max(math.prod(shape) * width for shape, width in blocks)
    if block > BLOCK_BYTES:
        raise BadInputError(
            f"{path}: has blocks of {block:,} bytes, the limit is {BLOCK_BYTES:,}: write it in tiles (gdal_translate "
            "-co TILED=YES)"
        )
    try:
        check_unpacked(dataset.height * dataset.width * sum(widths), path.stat().st_size)
    except ValueError as error:
        raise BadInputError(f"{path}: {error}") from error


def _item_bytes(name: str) -> int:
    import numpy as np

    return int(np.dtype(name).itemsize)
