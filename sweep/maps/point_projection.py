"""Projection of longitudes and latitudes to the CRS of chips."""

from collections.abc import Sequence

import numpy as np

from sweep.maps.raster_file import closed_raster, explained_raster
from trainables.data.preparing.field_points import Floats


def projected(crs: str, longitudes: Sequence[float], latitudes: Sequence[float]) -> tuple[Floats, Floats]:
    """Return the coordinates of points in a CRS.

    Args:
        crs: Authority code or WKT of the CRS.
        longitudes: Longitudes (n,) in degrees on WGS 84.
        latitudes: Latitudes (n,) in degrees.

    Returns:
        Coordinates across and down, (n,) each, in units of the CRS.

    Raises:
        BadInputError: The points can't be projected to the CRS.
    """
    from rasterio._err import CPLE_BaseError  # raised by `transform`, and not a RasterioError
    from rasterio.warp import transform

    with closed_raster(), explained_raster(crs):
        try:
            across, down = transform("EPSG:4326", crs, longitudes, latitudes)
        except CPLE_BaseError as error:
            raise ValueError(str(error)) from error
    return np.asarray(across, dtype=np.float64), np.asarray(down, dtype=np.float64)
