"""Number of images that a share of them stands for."""

import math
from fractions import Fraction


def share_count(share: float, images: int | Fraction) -> int:
    """Return the smallest whole number of images that is at least `share` of them.

    The share counts as the decimal that was written: 0.07 of 100 is 7, although 0.07 * 100 is 7.000000000000001.

    >>> share_count(0.07, 100), share_count(0.01, 101)
    (7, 2)
    """
    return math.ceil(Fraction(str(share)) * images)
