"""Values of scenes: which types are read, and signed and floating-point ones as float32 with NaN for missing data."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.preparing.linear_scale import FLOATS
from trainables.errors import BadInputError

UNSIGNED = ("uint8", "uint16")
"""Types that are read and stored as they are."""
MARKS = (-9999.0, -32768.0, float(np.finfo(np.float32).min))
"""Values that often stand for missing data."""


def check_values(path: Path, names: tuple[str, ...]) -> None:
    """Raise BadInputError if a file's bands have complex values."""
    if any(np.dtype(name).kind not in "iuf" for name in names):
        raise BadInputError(
            f"{path}: has complex values; give amplitudes or intensities (gdal_translate, gdal_calc.py)"
        )


def read_type(name: str) -> str:
    """Return the type as which values of a type are read: unsigned 8 and 16 bits as they are, others as float32."""
    return name if name in UNSIGNED else FLOATS


def kind_of(name: str) -> str:
    """Return the kind of a type's values: uint8, uint16, floats, or integers of other types; a pool has one kind."""
    if name in UNSIGNED:
        return name
    return "floats" if np.dtype(name).kind == "f" else "integers"


def as_floats(values: NDArray[Any], nodata: float | None) -> NDArray[np.float32]:
    """Return values as float32, with NaN for nodata, NaN and infinite values.

    A nodata value of 0 isn't applied here, since 0 is also a dark value: it marks a pixel that is 0 in all bands.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # values and marks beyond float32
        floats: NDArray[np.float32] = values.astype(np.float32)
        if nodata:
            floats[values == nodata] = np.nan
    floats[np.isinf(floats)] = np.nan
    return floats


def mark_empty(values: NDArray[np.float32]) -> None:
    """Set pixels that are 0 in all bands of a window (H, W, C) to NaN, in place."""
    values[(values == 0.0).all(axis=-1)] = np.nan


def unstated_mark(values: NDArray[np.generic]) -> float | None:
    """Return a value in a window that often stands for missing data; None if there is none."""
    return next((mark for mark in MARKS if (values == mark).any()), None)
