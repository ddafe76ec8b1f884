"""Ground resolution: size and area of a scene's pixels, from its coordinate system; pure."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SQUARE_METRES = 10_000.0
"""Square metres per hectare."""
EQUATOR, ECCENTRICITY = 6_378_137.0, 0.0818191908426215
"""WGS 84: semi-major axis in metres, and first eccentricity."""


@dataclass(frozen=True)
class GroundResolution:
    """Pixel sizes on the ground; None if the scene has no coordinate system."""

    metres: tuple[float, float] | None
    """Width and height of a pixel; at the scene's centre if they vary."""
    row_hectares: NDArray[np.float64] | None
    """Area of one pixel in each row, (H,)."""

    @property
    def side(self) -> float | None:
        """Side in metres of a square with a pixel's area."""
        return None if self.metres is None else float(np.sqrt(self.metres[0] * self.metres[1]))

    @property
    def is_square(self) -> bool:
        """Whether pixels are square within 5 %."""
        return self.metres is None or abs(self.metres[0] / self.metres[1] - 1.0) < 0.05


def area(hectares: float | None) -> dict[str, float | None]:
    """Return an area for a map's JSON file, in hectares and square kilometres; null if unknown."""
    return {"hectares": hectares, "square_kilometres": None if hectares is None else hectares / 100.0}


def ground(crs: Any, transform: Any, height: int, width: int) -> GroundResolution:
    """Return the ground resolution of a scene.

    In a projected CRS the area is the projection's; in degrees it is that of the WGS 84 ellipsoid between two
    parallels.

    Args:
        crs: CRS of rasterio, or None.
        transform: Affine transform from columns and rows to the CRS.
        height: Rows of the scene.
        width: Columns of the scene.
    """
    if crs is None or not (crs.is_projected or crs.is_geographic):
        return GroundResolution(None, None)
    if crs.is_geographic:
        return _degrees(transform, height)
    unit = float(crs.linear_units_factor[1])
    across = float(np.hypot(transform.a, transform.d)) * unit
    down = float(np.hypot(transform.b, transform.e)) * unit
    area = abs(transform.a * transform.e - transform.b * transform.d) * unit**2
    return GroundResolution((across, down), np.full(height, area / SQUARE_METRES))


def _degrees(transform: Any, height: int) -> GroundResolution:
    if transform.b or transform.d:  # a row is no parallel then
        return GroundResolution(None, None)
    edges = np.radians(transform.f + transform.e * np.arange(height + 1))
    step = abs(np.radians(transform.a))
    areas = step * np.abs(np.diff(_zone(edges)))
    middle = float(np.radians(transform.f + transform.e * height / 2))
    shrink = 1.0 - (ECCENTRICITY * np.sin(middle)) ** 2
    across = float(step * EQUATOR * np.cos(middle) / np.sqrt(shrink))
    down = float(abs(np.radians(transform.e)) * EQUATOR * (1.0 - ECCENTRICITY**2) / shrink**1.5)
    return GroundResolution((across, down), areas / SQUARE_METRES)


def _zone(latitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ellipsoid's area from the equator to each latitude, in square metres per radian of longitude.

    Snyder, Map Projections: A Working Manual (USGS 1395), equation 3-12.
    """
    sine = np.sin(latitudes)
    scaled = ECCENTRICITY * sine
    zone: NDArray[np.float64] = (
        EQUATOR**2 / 2 * (1.0 - ECCENTRICITY**2) * (sine / (1.0 - scaled**2) + np.arctanh(scaled) / ECCENTRICITY)
    )
    return zone
