"""Opening of a foreign raster file alone: files that it refers to, beside it or on the network, are not opened."""

import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainables.errors import BadInputError
from trainables.unpacked_limit import check_unpacked

DRIVERS = {".tif": "GTiff", ".tiff": "GTiff", ".jp2": "JP2OpenJPEG"}
"""What may be opened, by suffix: formats that are made of other files or addresses aren't among them."""
CACHE_BYTES = 256 * 2**20
"""Of decoded blocks (rasterio takes bytes): a row of JPEG 2000 tiles of a Sentinel-2 scene, three bands, has 70 MiB."""
BLOCK_BYTES = 2**30
"""Most of one block (tile or strip), which is unpacked whole: a Sentinel-2 band in one strip has 240 MB."""
MOST_BANDS = 1024
CLOSED = {
    "GDAL_PAM_ENABLED": "NO",  # .aux.xml
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # .ovr, .msk, .tfw and metadata beside the file
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "/none",  # /vsicurl/ and its relatives
    "GDAL_HTTP_MAX_RETRY": "0",
}
"""GDAL's settings while foreign files are open."""
ALONE = {"OVERVIEW_LEVEL": "NONE"}
"""An open option: no overviews, since a tag of the file (OVERVIEW_FILE) can name any file or address as one."""


@contextmanager
def closed_raster() -> Iterator[None]:
    """Keep GDAL and PROJ, for whatever is opened within, from other files and from the network."""
    os.environ["PROJ_NETWORK"] = "OFF"  # read when PROJ is first used
    import rasterio

    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, **CLOSED):
        yield


def open_raster(path: Path) -> Any:
    """Return a rasterio dataset, opened within `closed_raster`.

    Raises BadInputError for a suffix that isn't one of DRIVERS, and for a file that would unpack to more than it may.
    """
    dataset = _opened(path, **ALONE)
    try:
        _check_sizes(path, dataset)
    except BaseException:
        dataset.close()
        raise
    return dataset


def band_names(path: Path) -> tuple[str | None, ...]:
    """Return what a file calls its bands, which a dataset without overviews doesn't say; opened and closed again."""
    with _opened(path) as dataset:
        names: tuple[str | None, ...] = dataset.descriptions
    return names


def _opened(path: Path, **options: str) -> Any:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    driver = DRIVERS.get(path.suffix.lower())
    if driver is None:
        raise BadInputError(f"{path}: is none of {', '.join(DRIVERS)}")
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
