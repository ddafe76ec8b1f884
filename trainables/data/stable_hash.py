"""A number in [0, 1) for each image, from its name alone: subsets and splits that adding images never moves."""

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


def stable_fraction(names: Sequence[str], *, salt: str = VALIDATION_SALT) -> NDArray[np.float64]:
    """Return a (N,) array in [0, 1): sha256 of "<salt>:<base name>", its first 8 bytes as a fraction of 2^64.

    Each purpose has its own salt, so that the choices are independent: with one hash for all, the quarter kept by
    `fraction < 0.25` would be split 100:0 by the next rule that asks for `fraction < 0.25`.
    """
    hashes = (hashlib.sha256(f"{salt}:{name.rsplit('/', 1)[-1]}".encode()).digest()[:8] for name in names)
    # 53 of the 64 bits are what float64 holds; rounding all 64 could give 1.0.
    return np.fromiter((int.from_bytes(first, "big") >> 11 for first in hashes), np.float64, len(names)) * 2.0**-53


def split_names(names: Sequence[str], test_share: float) -> list[str]:
    """Return "test" for the share of `names` that the stable hash puts there, "train" for the others."""
    return ["test" if value < test_share else "train" for value in stable_fraction(names, salt=TEST_SALT).tolist()]


def stratified_split(names: Sequence[str], labels: Sequence[int], test_share: float) -> list[str]:
    """Return "test" for `test_share` of the images of each class (rounded), those of the smallest stable hash."""
    fractions, classes = stable_fraction(names, salt=TEST_SALT), np.asarray(labels)
    tested = np.zeros(len(names), dtype=np.bool_)
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        tested[members[np.argsort(fractions[members], kind="stable")][: round(test_share * len(members))]] = True
    return ["test" if chosen else "train" for chosen in tested.tolist()]
