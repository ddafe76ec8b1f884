"""Stable hash of an image's name in [0, 1): subsets and splits don't change when images are added."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SUBSET_SALT = "subset"
"""Which images a fraction keeps (`--fraction`)."""
TEST_SALT = "test"
"""Which images are tested on, where a data set has no official split."""
VALIDATION_SALT = "validation"
"""Which train images a trial holds back for selection."""
PLACE_SALT = "place"
"""Which places are tested on, where splits are grouped."""
LABEL_SALT = "label"
"""Whose labels a label budget buys."""
PERCENTILE_SALT = "percentiles"
"""Over which images percentiles are taken."""
SALTS = (SUBSET_SALT, VALIDATION_SALT, LABEL_SALT)
"""Those that trials cut by: kept with the rows, as half a million hashes take seconds."""


def stable_fraction(names: Sequence[str], *, salt: str = VALIDATION_SALT) -> NDArray[np.float64]:
    """Return a (N,) array in [0, 1): sha256 of "<salt>:<name>", its first 8 bytes as a fraction of 2^64.

    Each purpose has its own salt, so that the choices are independent: with one hash for all, the quarter kept by
    `fraction < 0.25` would be split 100:0 by the next rule that asks for `fraction < 0.25`.
    """
    hashes = (hashlib.sha256(f"{salt}:{name}".encode()).digest()[:8] for name in names)
    # 53 of the 64 bits are what float64 holds; rounding all 64 could give 1.0.
    return np.fromiter((int.from_bytes(first, "big") >> 11 for first in hashes), np.float64, len(names)) * 2.0**-53
