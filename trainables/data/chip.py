"""Chips cut from scenes: where each lies, when it was taken, and how much of it clouds, shadow and snow cover."""

from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

COVERS = ("cloud", "shadow", "snow", "nodata")


@dataclass(frozen=True, slots=True)
class Chip:
    """Place and date of a chip, and the share of its pixels that each cover has; None where nothing says it."""

    scene: str
    tile: str
    """The tile of Sentinel-2's grid; the scene's name where it has none."""
    date: str
    """YYYY-MM-DD; empty where nothing says it."""
    crs: str
    """As an authority's code or WKT; empty without coordinates."""
    transform: tuple[float, ...]
    """The six numbers of an affine, from columns and rows of the chip to the CRS."""
    side: int
    """In pixels."""
    longitude: float | None
    """Of the centre, in degrees."""
    latitude: float | None
    cloud: float | None
    shadow: float | None
    snow: float | None
    nodata: float | None

    @property
    def centre(self) -> tuple[float, float]:
        """The centre in units of the CRS."""
        a, b, c, d, e, f = self.transform
        half = self.side / 2.0
        return a * half + b * half + c, d * half + e * half + f

    @property
    def place(self) -> str:
        """The ground that the chip covers, alike for all dates."""
        _, _, left, _, _, top = self.transform
        return f"{self.crs or self.scene} {left:.3f} {top:.3f}"

    @property
    def ground_side(self) -> float:
        """Length of a side in units of the CRS."""
        return self.side * abs(self.transform[0])


CHIP_TYPE = pa.struct(
    [
        *((name, pa.string()) for name in ("scene", "tile", "date", "crs")),
        ("transform", pa.list_(pa.float64())),
        ("side", pa.int32()),
        *((name, pa.float64()) for name in ("longitude", "latitude", *COVERS)),
    ]
)
"""The column of a store's index."""


def written(chips: list[Chip | None]) -> Any:
    """Return chips as the index keeps them."""
    return pa.array([None if chip is None else asdict(chip) for chip in chips], CHIP_TYPE)


def read(column: Any) -> list[Chip]:
    """Return the chips of a column that has one in each row."""
    return [Chip(**{**fields, "transform": tuple(fields["transform"])}) for fields in column.to_pylist()]
