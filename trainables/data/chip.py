"""Chips cut from scenes: place, acquisition date, and share covered by cloud, shadow and snow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pyarrow as pa

SQUARE = 1e-6
"""Relative difference of a pixel's width and height up to which it counts as square."""
COVERS = ("cloud", "shadow", "snow", "nodata")


@dataclass(frozen=True, slots=True)
class Chip:
    """Place, date and cover of a chip; a cover is a share of its pixels, None if unknown."""

    scene: str
    tile: str
    """Sentinel-2 tile, or the scene's name if there is no tile."""
    date: str
    """Acquisition date as YYYY-MM-DD; empty if unknown."""
    crs: str
    """Coordinate reference system as an authority code or WKT; empty without georeferencing."""
    transform: tuple[float, ...]
    """Affine transform (six coefficients) from the chip's columns and rows to CRS coordinates."""
    side: int
    """Side in pixels."""
    longitude: float | None
    """Longitude of the centre in degrees."""
    latitude: float | None
    cloud: float | None
    shadow: float | None
    snow: float | None
    nodata: float | None

    def counted(self, nodata: float) -> "Chip":
        """Return the chip with its share of nodata; `dataclasses.replace` takes four times as long."""
        place = self.scene, self.tile, self.date, self.crs, self.transform, self.side, self.longitude, self.latitude
        return Chip(*place, self.cloud, self.shadow, self.snow, nodata)

    @property
    def centre(self) -> tuple[float, float]:
        """Coordinates of the centre in units of the CRS."""
        a, b, c, d, e, f = self.transform
        half = self.side / 2.0
        return a * half + b * half + c, d * half + e * half + f

    @property
    def place(self) -> str:
        """Identifier of the covered ground, the same for all dates."""
        _, _, left, _, _, top = self.transform
        digits = _digits(self._pixel)
        return f"{self.crs or self.scene} {left:.{digits}f} {top:.{digits}f}"

    @property
    def footprint(self) -> str:
        """Identifier of the covered ground with its extent, which differs between resolutions.

        Grids that aren't north-up with square pixels have all of their edges in it.
        """
        digits = _digits(self._pixel)
        if self._is_north_up:
            return f"{self.place} {self.ground_side:.{digits}f}"
        return " ".join([self.place, *(f"{part:.{digits}f}" for edge in self.edges for part in edge)])

    @property
    def edges(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Vectors along the upper and the left edge, in units of the CRS."""
        a, b, _, d, e, _ = self.transform
        return (self.side * a, self.side * d), (self.side * b, self.side * e)

    @property
    def ground_side(self) -> float:
        """Length of a side in units of the CRS."""
        return self.side * self._pixel

    @property
    def _is_north_up(self) -> bool:
        a, b, _, d, e, _ = self.transform
        return b == d == 0.0 and a > 0.0 and math.isclose(a, -e, rel_tol=SQUARE)

    @property
    def _pixel(self) -> float:
        """Side of a pixel in units of the CRS."""
        return math.hypot(self.transform[0], self.transform[3])


@lru_cache
def _digits(pixel: float) -> int:
    """Return the decimal places that tell coordinates apart to a hundredth of a pixel, also in degrees; at least 3."""
    return max(3, math.ceil(-math.log10(pixel)) + 2) if pixel > 0.0 else 3


CHIP_TYPE = pa.struct(
    [
        *((name, pa.string()) for name in ("scene", "tile", "date", "crs")),
        ("transform", pa.list_(pa.float64())),
        ("side", pa.int32()),
        *((name, pa.float64()) for name in ("longitude", "latitude", *COVERS)),
    ]
)
"""Arrow type of the chip column in a store's index."""


def written(chips: Sequence[Chip]) -> Any:
    """Return chips as an Arrow array of CHIP_TYPE."""
    columns = [pa.array([getattr(chip, own.name) for chip in chips], own.type) for own in CHIP_TYPE]
    return pa.StructArray.from_arrays(columns, fields=list(CHIP_TYPE))


def facts_of(column: Any) -> list[Any]:
    """Return the facts of each chip of a column by name, None for a null; field by field, which takes half the time."""
    if column.null_count:
        return list(column.to_pylist())
    names = [own.name for own in column.type]
    values = zip(*(own.to_pylist() for own in column.flatten()), strict=True)
    return [dict(zip(names, facts, strict=True)) for facts in values]


def read(column: Any) -> list[Chip]:
    """Return the chips of a column without nulls."""
    return [Chip(**{**facts, "transform": tuple(facts["transform"])}) for facts in facts_of(column)]
