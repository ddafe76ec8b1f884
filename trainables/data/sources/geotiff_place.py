"""Georeferencing of a GeoTIFF from its own tags: CRS, transform, and the centre's longitude and latitude."""

import io
import math

from trainables.data.chip import Chip
from trainables.data.sources.decode import explained
from trainables.data.sources.source import File

SEMI_MAJOR, FLATTENING = 6_378_137.0, 1.0 / 298.257223563
"""Semi-major axis in metres and flattening of the WGS 84 ellipsoid."""
SCALE, FALSE_EASTING, FALSE_NORTHING = 0.9996, 500_000.0, 10_000_000.0
"""Scale and offsets in metres of UTM; the false northing is that of southern zones."""
WGS_84 = 4326
NORTH, SOUTH = 32600, 32700
"""EPSG codes of UTM zones on WGS 84, northern and southern, before the number of the zone (1 to 60)."""
TRANSFORMATION, PIXEL_IS_POINT = "ModelTransformation", 2


def geotiff_chip(file: File, name: str) -> Chip | None:
    """Return the place of a square GeoTIFF; None if it has none.

    Longitude and latitude are known for degrees and UTM zones on WGS 84; they are None with other coordinate systems.

    Args:
        file: File on disk or out of an archive.
        name: Name of the scene; a chip of this file is a scene of its own.

    Raises:
        BadInputError: The file's tags are damaged.
    """
    return explained(file, lambda content: _chip(content, name))


def _chip(content: bytes, name: str) -> Chip | None:
    import tifffile  # not at the top: trials import the sources, and need no GeoTIFF

    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        page = tiff.pages[0].aspage()
        tags, side = page.geotiff_tags or {}, int(page.imagewidth)
    code = int(tags.get("ProjectedCSTypeGeoKey") or tags.get("GeographicTypeGeoKey") or 0)
    transform = _transform(tags)
    if transform is None or not code:
        return None
    chip = Chip(name, name, "", f"EPSG:{code}", transform, side, None, None, None, None, None, None)
    longitude, latitude = _degrees(code, *chip.centre)
    return Chip(name, name, "", chip.crs, transform, side, longitude, latitude, None, None, None, None)


def _transform(tags: dict[str, object]) -> tuple[float, ...] | None:
    """Return the affine transform (six coefficients) from columns and rows, with corners of pixels, to coordinates."""
    matrix, scale, tie = (tags.get(key) for key in (TRANSFORMATION, "ModelPixelScale", "ModelTiepoint"))
    if matrix is not None:
        (a, b, _, c), (d, e, _, f) = (tuple(map(float, row)) for row in list(matrix)[:2])  # type: ignore[call-overload]
    elif scale is not None and tie is not None:
        right, down = list(map(float, scale))[:2]  # type: ignore[call-overload]
        column, row, _, x, y, _ = list(map(float, tie))[:6]  # type: ignore[call-overload]
        a, b, c, d, e, f = right, 0.0, x - column * right, 0.0, -down, y + row * down
    else:
        return None
    if tags.get("GTRasterTypeGeoKey") == PIXEL_IS_POINT:
        c, f = c - (a + b) / 2.0, f - (d + e) / 2.0
    return a, b, c, d, e, f


def _degrees(code: int, x: float, y: float) -> tuple[float | None, float | None]:
    if code == WGS_84:
        return x, y
    for base, shift in ((NORTH, 0.0), (SOUTH, FALSE_NORTHING)):
        if base < code <= base + 60:
            return utm_degrees(code - base, x, y - shift)
    return None, None


def utm_degrees(zone: int, easting: float, northing: float) -> tuple[float, float]:
    """Return longitude and latitude in degrees of a point of a UTM zone on WGS 84.

    Krueger's series to the third power of the third flattening, good to a millimetre within a zone.

    Args:
        zone: Number of the zone, 1 to 60.
        easting: Metres, with the false easting of 500 km.
        northing: Metres from the equator, negative in the south.
    """
    n = FLATTENING / (2.0 - FLATTENING)
    radius = SCALE * SEMI_MAJOR / (1.0 + n) * (1.0 + n**2 / 4.0 + n**4 / 64.0)
    to_sphere = (n / 2 - 2 * n**2 / 3 + 37 * n**3 / 96, n**2 / 48 + n**3 / 15, 17 * n**3 / 480)
    to_ellipsoid = (2 * n - 2 * n**2 / 3 - 2 * n**3, 7 * n**2 / 3 - 8 * n**3 / 5, 56 * n**3 / 15)
    xi, eta = northing / radius, (easting - FALSE_EASTING) / radius
    terms = [(2 * j, own) for j, own in enumerate(to_sphere, 1)]
    up = xi - sum(own * math.sin(j * xi) * math.cosh(j * eta) for j, own in terms)
    right = eta - sum(own * math.cos(j * xi) * math.sinh(j * eta) for j, own in terms)
    conformal = math.asin(math.sin(up) / math.cosh(right))
    latitude = conformal + sum(own * math.sin(2 * j * conformal) for j, own in enumerate(to_ellipsoid, 1))
    longitude = math.radians(6 * zone - 183) + math.atan2(math.sinh(right), math.cos(up))
    return math.degrees(longitude), math.degrees(latitude)
