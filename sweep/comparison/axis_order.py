"""Natural order of the values of an axis."""

import math
from typing import Any


def is_number(value: Any) -> bool:
    """Whether an axis' value is a number, and not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def axis_order(value: Any, axis: str | None) -> tuple[bool, tuple[float, ...], str]:
    """Return the key by which values ascend: numbers and ranges first, then text; sets of bands by size, all last."""
    if axis == "bands":
        return True, (float(len(value)) or math.inf,), str(value)
    parts = value if isinstance(value, list | tuple) else [value]
    if all(map(is_number, parts)):
        return False, tuple(map(float, parts)), ""
    return True, (), str(value)
