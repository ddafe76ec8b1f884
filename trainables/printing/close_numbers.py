"""Numbers as text, with as many digits as tell them apart from others of their range."""

import math

FEWEST, MOST = 4, 17
"""Significant digits of a number; with 17 every float64 is told apart."""
WHOLE = 7
"""Digits before the point up to which a number is written without an exponent."""


def in_range(value: float, low: float, high: float) -> str:
    """Return a number of the range from `low` to `high` as text: 12.35, or 1000000012.3 if the range is that narrow."""
    return f"{value:.{_digits(low, high)}g}"


def range_text(low: float, high: float) -> str:
    """Return a range as text: 2 to 22.8."""
    return f"{in_range(low, low, high)} to {in_range(high, low, high)}"


def _digits(low: float, high: float) -> int:
    largest, width = max(abs(low), abs(high)), high - low
    if not 0.0 < largest < math.inf:
        return FEWEST
    size = math.log10(largest)
    apart = FEWEST - 1 + math.ceil(size - math.log10(width)) if 0.0 < width < math.inf else FEWEST
    return min(MOST, max(FEWEST, apart, min(WHOLE, math.floor(size) + 1)))
