"""Chips cut from scenes: place, acquisition date, and share covered by cloud, shadow and snow."""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

SQUARE = 1e-6
"""Relative difference of a pixel's width and height up to which it counts as square."""
COVERS = ("cloud", "shadow", "snow", "nodata")


class Chip(NamedTuple):
    """Place, date and cover of a chip; a cover is a share of its pixels, None if unknown.

    A tuple in the order of CHIP_TYPE, which is made and written much faster than a data class.
    """

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
        """Return the chip with its share of nodata; `_replace` takes three times as long."""
        return Chip(*self[:-1], nodata)

    @property
    def centre(self) -> tuple[float, float]:
        """Coordinates of the centre in units of the CRS."""
        a, b, c, d, e, f = self.transform
        half = self.side / 2.0
        return a * half + b * half + c, d * half + e * half + f

    @property
    def place(self) -> str:
        """Identifier of the covered ground, the same for all dates."""
        a, _, left, d, _, top = self.transform
        digits = _digits(math.hypot(a, d))
        return f"{self.crs or self.scene} {_coordinate(left, digits)} {_coordinate(top, digits)}"

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


@lru_cache(maxsize=2**16)
def _coordinate(value: float, digits: int) -> str:
    """Return a coordinate as text; the chips of a row or column share one."""
    return f"{value:.{digits}f}"


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
    facts = list(zip(*chips, strict=True)) or [()] * CHIP_TYPE.num_fields
    columns = [
        _transforms(values) if own.name == "transform" else pa.array(values, own.type)
        for own, values in zip(CHIP_TYPE, facts, strict=True)
    ]
    return pa.StructArray.from_arrays(columns, fields=list(CHIP_TYPE))


def _transforms(transforms: Sequence[tuple[float, ...]]) -> Any:
    """Return transforms as an Arrow array of lists, in a sixth of the time that `pa.array` takes."""
    ends = np.cumsum([0, *map(len, transforms)], dtype=np.int32)
    return pa.ListArray.from_arrays(ends, np.fromiter(chain.from_iterable(transforms), np.float64))


def read(column: Any) -> list[Chip]:
    """Return the chips of a column without nulls."""
    facts = [own.to_pylist() for own in column.flatten()]
    facts[Chip._fields.index("transform")] = map(tuple, facts[Chip._fields.index("transform")])
    return list(map(Chip, *facts))
